"""derive.tangent: the cell of directional derivatives, over whole sequences, to the third order."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import strange_cells
import torch
import torch_reference
from entries import OF_VECTORS

import derive
from derive.cell import Cell
from derive.derivative import forward, reverse_step, tangent_step
from derive.errors import InternalError
from derive.language import from_step
from derive.program import Array, Map, Matmul, Sum, interpret
from derive.symbolic import functions

SIZES = {"I": 3, "H": 4, "P": 2}
STEPS, ROWS = 4, 3
LENGTHS = np.array([3, 0, 4])

#: Functions whose derivatives no text can name, kinks, reductions, constants, shared arrays.
ODD = """cell odd
input x: I
state h: H, c: H
param p: H, u: 1
a  = W @ x + U.T @ h + p
s  = gelu(a) + silu(c) + erf(h)
m  = maximum(a, mean(c)) * minimum(h, 0.5) + clip(c, -0.3, 0.4) + abs(h)**1.5
n  = layer_norm(s) / sqrt(1 + m**2) + softplus(u * p)
k  = 0 * n + 1
v  = U @ k
h' = where(a < c, tanh(n), log1p(exp(-n))) + 0.1 * v
c' = elu(a) + stop_gradient(a) * c + sum(softsign(p))
output h', n, p, k, c
"""


def draw(random: Any, shapes: Any, *before: int) -> dict[str, Any]:
    return {
        name: random.uniform(
            -1, 1, (*before, *(SIZES.get(d, 2 if isinstance(d, str) else d) for d in shape))
        )
        for name, shape in shapes.items()
    }


def drawn(random: Any, cell: Cell) -> tuple[dict[str, Any], ...]:
    """Parameters, inputs and states."""
    return (
        draw(random, cell.params),
        draw(random, cell.inputs, STEPS, ROWS),
        draw(random, cell.states, ROWS),
    )


def weights(random: Any, cell: Cell) -> tuple[dict[str, Any], ...]:
    """Cotangents of outputs and of last states."""
    return draw(random, cell.outputs, STEPS, ROWS), draw(random, cell.states, ROWS)


def paired(names: Any, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(names, (*one.values(), *other.values()), strict=True))


def leaves(groups: Any) -> list[dict[str, Any]]:
    return [{n: torch.tensor(a, requires_grad=True) for n, a in group.items()} for group in groups]


def every(groups: Any) -> list[Any]:
    return [value for group in groups for value in group.values()]


def slopes(loss: Any, by: list[Any], **how: Any) -> list[Any]:
    found = torch.autograd.grad(loss, by, allow_unused=True, create_graph=True, **how)
    return [torch.zeros_like(v) if a is None else a for a, v in zip(found, by, strict=True)]


def halves(group: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    values = list(group.values())
    return values[: len(values) // 2], values[len(values) // 2 :]


def worst(got: list[Any], wanted: list[Any]) -> float:
    errors = [0.0]
    for one, other in zip(got, wanted, strict=True):
        other = other.detach().numpy()
        assert one.shape == other.shape
        scale = max(1.0, float(np.max(np.abs(other), initial=0)))
        errors.append(float(np.max(np.abs(one - other), initial=0)) / scale)
        assert not np.isnan(errors[-1])
    return max(errors)


def padded(group: dict[str, Any], lengths: Any) -> dict[str, Any]:
    """Copies with NaN past the end of each row."""
    copies = {name: array.copy() for name, array in group.items()}
    for row, length in enumerate([] if lengths is None else lengths):
        for array in copies.values():
            array[length:, row] = np.nan
    return copies


def check_against_torch(
    cell: Cell, target: str, lengths: Any, reverse: bool, remat: str | None = None
) -> None:
    """jvp, double backward and Hessian-vector products of a sequence, by one tangent kernel."""
    random = np.random.default_rng(0)
    at, along = drawn(random, cell), drawn(random, cell)
    d, t_d = weights(random, cell), weights(random, cell)
    given, cotangents = leaves(at), leaves(d)
    outputs, last = torch_reference.run(cell, *given, lengths=lengths, reverse=reverse)
    results = [*outputs.values(), *last.values()]
    loss = sum((a * b).sum() for a, b in zip(results, every(cotangents), strict=True))
    first = slopes(loss, every(given))
    moved = sum((a * torch.tensor(b)).sum() for a, b in zip(first, every(along), strict=True))
    second = slopes(moved, [*every(given), *every(cotangents)])
    count = len(every(given))

    tangent = derive.tangent(cell)
    kernel = derive.compile(tangent, target, "float64")
    params, inputs, states = (
        paired(names, *groups)
        for names, groups in zip(
            (tangent.params, tangent.inputs, tangent.states), zip(at, along, strict=True),
            strict=True,
        )
    )  # fmt: skip
    run = kernel.forward(params, padded(inputs, lengths), states, lengths, reverse, remat=remat)
    (y, t_y), (s, t_s) = halves(run.outputs), halves(run.states)
    assert worst(y + s, results) < 1e-13
    assert worst(t_y + t_s, second[count:]) < 1e-13  # the jvp

    def pulled(d_primal: Any, d_tangent: Any) -> tuple[list[Any], list[Any]]:
        grads = kernel.backward(
            run,
            padded(paired(tangent.outputs, d_primal[0], d_tangent[0]), lengths),
            paired(tangent.states, d_primal[1], d_tangent[1]),
        )
        pairs = [halves(group) for group in (grads.params, grads.inputs, grads.states)]
        return [a for one, _ in pairs for a in one], [a for _, other in pairs for a in other]

    zero = tuple({name: 0 * array for name, array in group.items()} for group in d)
    doubled, once = pulled(zero, d)
    assert worst(doubled, second[:count]) < 1e-12  # double backward
    assert worst(once, first) < 1e-13  # J' d: the plain gradient
    also = sum((a * torch.tensor(b)).sum() for a, b in zip(results, every(t_d), strict=True))
    whole = [a + b for a, b in zip(second[:count], slopes(also, every(given)), strict=True)]
    assert worst(pulled(t_d, d)[0], whole) < 1e-12  # forward over reverse, d moving too


SAMPLE = ("lstm", "phased_lstm", "lstm_layer_norm_ba2016", "slim_form_3")


@pytest.mark.parametrize("name", SAMPLE)
def test_jvp_double_backward_and_hessian_products_agree_with_torch(name: str) -> None:
    check_against_torch(derive.cells.from_spec(name), "numpy", LENGTHS, True)


def test_odd_functions_have_second_derivatives_too() -> None:
    check_against_torch(Cell.parse(ODD), "numpy", None, False, "time")


def test_a_tangent_compiles_to_c() -> None:
    check_against_torch(derive.cells.gru(), "c", LENGTHS, True, "time")


@pytest.mark.slow
def test_odd_functions_have_second_derivatives_in_c() -> None:
    check_against_torch(Cell.parse(ODD), "c", LENGTHS, False)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", OF_VECTORS)
def test_every_cell_has_second_derivatives_over_time(name: str, target: str) -> None:
    cell = derive.cells.from_spec(name)
    ways = itertools.product((None, LENGTHS), (False, True), (None, "time"))
    for lengths, reverse, remat in ways:
        check_against_torch(cell, target, lengths, reverse, remat)


def check_third_order(cell: Cell, target: str) -> None:
    """The gradient of a second directional derivative, of a sequence with lengths."""
    random = np.random.default_rng(1)
    at, one, two = (drawn(random, cell) for _ in range(3))
    none = tuple({n: 0 * a for n, a in group.items()} for group in at)
    d = weights(random, cell)
    given = leaves(at)
    outputs, last = torch_reference.run(cell, *given, lengths=LENGTHS, reverse=True)
    results = [*outputs.values(), *last.values()]
    loss: Any = sum((a * torch.tensor(b)).sum() for a, b in zip(results, every(d), strict=True))
    for along in (one, two):
        found = slopes(loss, every(given))
        loss = sum((a * torch.tensor(b)).sum() for a, b in zip(found, every(along), strict=True))
    wanted = slopes(loss, every(given))

    twice = derive.tangent(derive.tangent(cell))
    kernel = derive.compile(twice, target, "float64")
    groups = zip(at, one, two, none, strict=True)
    params, inputs, states = (
        dict(zip(names, every(group), strict=True))
        for names, group in zip((twice.params, twice.inputs, twice.states), groups, strict=True)
    )
    run = kernel.forward(params, inputs, states, LENGTHS, True)
    quarter = [-len(group) // 4 for group in (twice.outputs, twice.states)]
    d_y = dict(zip(list(twice.outputs)[quarter[0] :], d[0].values(), strict=True))
    d_s = dict(zip(list(twice.states)[quarter[1] :], d[1].values(), strict=True))
    grads = kernel.backward(run, d_y, d_s)
    got = [
        array
        for group in (grads.params, grads.inputs, grads.states)
        for array in list(group.values())[: len(group) // 4]
    ]
    assert worst(got, wanted) < 1e-11


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_tangent_of_a_tangent_gives_the_third_order(name: str) -> None:
    check_third_order(derive.cells.from_spec(name), "numpy")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", OF_VECTORS)
def test_every_cell_has_third_derivatives_over_time(name: str, target: str) -> None:
    check_third_order(derive.cells.from_spec(name), target)


def test_the_jvp_is_the_limit_of_differences() -> None:
    cell = derive.cells.from_spec("cfn")
    random = np.random.default_rng(2)
    at, along = drawn(random, cell), drawn(random, cell)
    plain = derive.compile(cell, "numpy", "float64")
    tangent = derive.tangent(cell)
    groups = (tangent.params, tangent.inputs, tangent.states)
    moving = zip(groups, at, along, strict=True)
    run = derive.compile(tangent, "numpy", "float64").forward(*(paired(*m) for m in moving))
    step = 2.0**-18

    def moved(by: float) -> Any:
        sides = zip(at, along, strict=True)
        return plain.forward(*({n: g[n] + by * t[n] for n in g} for g, t in sides)).output

    wanted = (moved(step) - moved(-step)) / (2 * step)
    got = list(run.outputs.values())[1]
    assert np.max(np.abs(got - wanted)) < 1e-9


# --- as a cell ------------------------------------------------------------------------------


def check_text(name: str) -> None:
    tangent = derive.tangent(derive.cells.from_spec(name))
    for cell in (tangent, derive.tangent(tangent)):
        again = Cell.parse(cell.to_text())
        assert again == cell
        assert again.params.keys() == cell.params.keys()


def test_a_tangent_is_a_cell_whose_text_reads_back() -> None:
    for name in ("rnn", "lstm", "min_lstm", "phased_lstm", "slim_form_3"):
        check_text(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_VECTORS)
def test_the_tangent_of_every_cell_reads_back(name: str) -> None:
    check_text(name)


def test_the_tangent_reads_as_a_person_would_write_it() -> None:
    text = derive.tangent(derive.cells.rnn()).to_text()
    assert text == (
        "cell   rnn_tangent\n"
        "doc    What rnn computes, and its directional derivative: t_v is the tangent of v.\n"
        "input  x: I, t_x: I\n"
        "state  h: H, t_h: H\n"
        "param  W: H x I\nparam  U: H x H\nparam  b: H\n"
        "param  t_W: H x I\nparam  t_U: H x H\nparam  t_b: H\n"
        "\n"
        "h'    = tanh(W @ x + U @ h + b)\n"
        "t_a_h = t_W @ x + W @ t_x + t_U @ h + U @ t_h + t_b\n"
        "t_h'  = (1 - h'**2) * t_a_h\n"
        "\n"
        "output h', t_h'\n"
    )


def shape_of(array: Array, sizes: dict[str, int], rows: int) -> tuple[int, ...]:
    shape = tuple(sizes[d] if isinstance(d, str) else d for d in array.shape)
    return (rows, *shape) if array.per_row else shape


def check_program(cell: Cell) -> None:
    """The cell read from text computes what the forward Program of the step does."""
    tangent, step = derive.tangent(cell), cell.step
    derivative = forward(step.program)
    dims = {*step.program.dims(), *tangent.step.program.dims()}
    sizes = {dim: 2 + k % 3 for k, dim in enumerate(sorted(dims))}
    table, seeds = derivative.program.table(), dict(derivative.seeds)
    random = np.random.default_rng(0)
    values = {
        name: random.uniform(-2, 2, shape_of(table[name], sizes, 3))
        for name in derivative.program.inputs
    }
    given: dict[str, Any] = {}
    for group, names in (
        (step.params, tangent.step.params),
        (step.inputs, tangent.step.inputs),
        (step.states, tangent.step.states),
    ):
        by_name = {name: values[name] for name in group}
        given |= paired(names, by_name, {name: values[seeds[name]] for name in group})
    with np.errstate(all="ignore"):
        one = interpret(derivative.program, values, rows=3, sizes=sizes)
        two = interpret(tangent.step.program, given, rows=3, sizes=sizes)
    for group, names in (
        (step.next_states, tangent.step.next_states),
        (step.outputs, tangent.step.outputs),
    ):
        both = (*group, *(derivative.name(name) for name in group))
        for name, mine in zip(both, names, strict=True):
            np.testing.assert_allclose(two[mine], one[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", strange_cells.CELLS)
def test_the_text_computes_what_the_derived_program_does(name: str) -> None:
    cell = Cell.parse(strange_cells.CELLS[name])
    check_program(cell)
    check_program(derive.tangent(cell))


def test_names_that_are_taken_get_a_number_and_states_keep_their_primes() -> None:
    cell = Cell.parse(
        "cell taken\ninput x: H, t_x: H\nstate h: H, t_h: H\nconst t_c = 2\nparam t_b: H, b: H\n"
        "t_a = t_c * x * b + t_b\nh' = t_a * h + t_h\nt_h' = h + t_x\noutput t_a, h'\n"
    )
    tangent = derive.tangent(cell)
    assert list(tangent.inputs) == ["x", "t_x", "t_x_2", "t_t_x"]
    assert list(tangent.states) == ["h", "t_h", "t_h_2", "t_t_h"]
    assert list(tangent.params) == ["t_b", "b", "t_t_b", "t_b_2"]
    assert list(tangent.outputs) == ["t_a", "h_next", "t_t_a", "t_h_2_next"]
    check_program(cell)
    check_program(tangent)


def test_kinks_keep_their_conventions() -> None:
    cell = Cell.parse(
        "cell kinks\ninput x: H\nstate h: H\n"
        "m = maximum(x, h)\nh' = relu(x) + abs(x) + clip(x, -1, 0) + floor(x)\noutput m, h'\n"
    )
    tangent = derive.tangent(cell)
    zero, one = np.zeros((1, 1, 2)), np.ones((1, 1, 2))
    run = derive.compile(tangent, "numpy", "float64").forward(
        {}, {"x": zero, "t_x": 4 * one}, {"h": zero[0], "t_h": 2 * one[0]}
    )
    assert np.all(run.outputs["t_m"] == 3)  # half of each
    assert np.all(run.outputs["t_h_next"] == 4)  # of clip alone: 1 at its bound


def test_what_is_stopped_is_a_constant_in_the_second_derivative_too() -> None:
    cell = Cell.parse("cell s\ninput x: 1\nstate h: 1\nh' = stop_gradient(x**2) * x\noutput h'\n")
    tangent = derive.tangent(cell)
    kernel = derive.compile(tangent, "numpy", "float64")
    x = np.full((1, 1, 1), 3.0)
    run = kernel.forward({}, {"x": x, "t_x": np.ones_like(x)})
    assert run.outputs["t_h_next"] == 9
    grads = kernel.backward(run, {"t_h_next": np.ones_like(x)})
    assert grads.inputs["x"] == 0  # as torch's detach, and not 2 x


@pytest.mark.parametrize("format", ["text", "latex", "html", "json"])
def test_show_prints_the_tangent_and_the_second_derivative(format: str) -> None:
    from derive.inspect import show

    shown = show(derive.cells.rnn(), ("tangent", "second"), format)
    marks = {
        "text": ("t_h_next = (1 - h_next**2) * t_a_h", "d_t_a_h    = d_t_h_next * (1 - h_next**2)"),
        "latex": ("tangent", "second derivative"),
        "html": ("Tangent", "Second derivative"),
        "json": ('"tangent"', '"second"'),
    }[format]
    assert all(mark in shown for mark in marks), shown[:3000]


# --- what no cell says ----------------------------------------------------------------------


def test_a_step_that_no_text_can_say_is_refused() -> None:
    cell = Cell.parse(
        "cell one\ninput x: I\nstate h: H\nv = mean(h)\nh' = tanh(W @ x) * v\noutput h'\n"
    )
    step = tangent_step(cell.step)
    gradient = reverse_step(cell.step)
    whole = replace(
        cell.step,
        program=replace(gradient.program, inputs=()),
        params=(*cell.step.params, *gradient.output_seeds, *gradient.state_seeds),
    )
    with pytest.raises(InternalError, match="no cell says such a product"):
        from_step.declaration(whole, "wrong")
    program = step.program
    some = program.equations[0].out
    out = replace(program.table()[some], name="z")

    def added(equation: Map | Matmul | Sum, array: Array = out) -> Any:
        wrong = replace(
            program,
            arrays=(*program.arrays, array),
            equations=(*program.equations, equation),
        )
        return replace(step, program=wrong)

    with pytest.raises(InternalError, match="no cell says such a sum"):
        from_step.declaration(added(Sum("z", "h"), replace(out, per_row=False)), "wrong")
    with pytest.raises(InternalError, match="a width stands in its equation"):
        from_step.declaration(added(Map("z", functions.size("H"))), "wrong")
    with pytest.raises(InternalError, match="where these axes lie"):
        moved = Map("z", functions.symbol("h"), (("h", (0,)),))
        from_step.declaration(added(moved), "wrong")
    with pytest.raises(InternalError, match="nothing else is as wide"):
        odd = replace(out, shape=("Q",))
        from_step.declaration(added(Map("z", functions.ONE), odd), "wrong")
