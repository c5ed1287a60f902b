"""derive.torch: derivatives of every kind and order, by torch's own checkers, and torch.func."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch_reference
from entries import OF_VECTORS, WITH_AXES
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils._pytree import tree_leaves

import derive
import derive.torch as dt
from derive import pipeline
from derive.cell import Cell
from derive.kernel.signature import Sizes
from derive.torch.engine import engine_of
from derive.torch.running import sequence

SIZES = {"I": 2, "H": 3, "P": 2}
STEPS, ROWS = 3, 2
LENGTHS = torch.tensor([2, 3])

STOPS = """cell stops
input x: I
state h: H
a  = W @ x + U @ h
h' = tanh(a * stop_gradient(a**2)) + b
output h'
"""
#: stop_gradient: their derivative is not that of the function, as differences see it.
STOPPED = ("phased_lstm", "skip_lstm", "lif")


class Case:
    """A cell, and tensors for a call of it."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.cell = Cell.parse(name) if "\n" in name else derive.cells.from_spec(name)
        self.engine = engine_of(self.cell.to_text(), 1)
        self.random = torch.Generator().manual_seed(seed)
        self.params = [self.draw(shape) for shape in self.engine.params]
        self.x = [self.draw(shape, STEPS, ROWS) for shape in self.engine.inputs]
        self.states = [self.draw(shape, ROWS) for shape in self.engine.states]

    def draw(self, shape: Any, *before: int) -> Any:
        axes = (*before, *(SIZES.get(d, 2 if isinstance(d, str) else d) for d in shape))
        return torch.empty(axes, dtype=torch.float64).uniform_(-1, 1, generator=self.random)

    @property
    def tensors(self) -> list[Any]:
        return [*self.params, *self.x, *self.states]

    def split(self, tensors: Any) -> tuple[Any, Any, Any]:
        p, x = len(self.params), len(self.x)
        return tensors[:p], tensors[p : p + x], tensors[p + x :]

    def run(self, *tensors: Any, lengths: Any = LENGTHS, reverse: bool = True) -> tuple[Any, ...]:
        return tuple(sequence(self.engine.key, *self.split(tensors), lengths, reverse))

    def output(self, params: Any, x: Any, states: Any) -> Any:
        return sequence(self.engine.key, params, [x], states)[0]

    def loss(self, params: Any, x: Any, states: Any) -> Any:
        return (self.output(params, x, states) ** 2).sum()


def leaves(case: Case) -> list[Any]:
    return [tensor.clone().requires_grad_() for tensor in case.tensors]


def same(one: Any, other: Any, bound: float = 1e-12) -> bool:
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(a.shape == b.shape and bool((a - b).abs().max() <= bound) for a, b in pairs)


# --- by torch's checkers --------------------------------------------------------------------


def check_by_torch(name: str, lengths: Any, reverse: bool) -> None:
    case = Case(name)

    def run(*tensors: Any) -> Any:
        return case.run(*tensors, lengths=lengths, reverse=reverse)

    given = leaves(case)
    assert gradcheck(run, given, check_forward_ad=True)
    assert gradgradcheck(run, given, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_gradcheck_and_gradgradcheck_in_both_modes(name: str) -> None:
    check_by_torch(name, LENGTHS, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in OF_VECTORS if n not in STOPPED])
def test_gradcheck_and_gradgradcheck_of_every_cell(name: str) -> None:
    for lengths, reverse in itertools.product((None, LENGTHS), (False, True)):
        check_by_torch(name, lengths, reverse)


def check_with_axes(name: str, lengths: Any, reverse: bool) -> None:
    """By whole tensors: an axis may be a sum of widths, a fixed array has no gradient."""
    cell, random = derive.cells.from_spec(name), torch.Generator().manual_seed(0)
    sizes = Sizes(STEPS, ROWS, dict.fromkeys(pipeline.signature(cell).dims(), 2))

    def draw(axes: Any, *before: int) -> Any:
        shape = (*before, *sizes.shape(axes))
        return torch.empty(shape, dtype=torch.float64).uniform_(-1, 1, generator=random)

    checked = cell.checked
    params = {name: draw(axes) for name, axes in cell.params.items()}
    fixed = {name: params.pop(name) for name in checked.fixed}
    x = {
        name: draw(axes, *((ROWS,) if name in checked.once else (STEPS, ROWS)))
        for name, axes in cell.inputs.items()
    }
    states = {name: draw(axes, ROWS) for name, axes in cell.states.items()}

    def run(*tensors: Any) -> Any:
        given = iter(tensors)
        p, own, s = (dict(zip(group, given, strict=False)) for group in (params, x, states))
        outputs, last = dt.run(cell, {**p, **fixed}, own, s, lengths=lengths, reverse=reverse)
        return *outputs.values(), *last.values()

    groups = (*params.values(), *x.values(), *states.values())
    leaves = [tensor.requires_grad_() for tensor in groups]
    assert gradcheck(run, leaves, check_forward_ad=True)
    assert gradgradcheck(run, leaves, check_fwd_over_rev=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WITH_AXES.difference(STOPPED)))
def test_gradcheck_and_gradgradcheck_of_every_cell_with_axes(name: str) -> None:
    check_with_axes(name, LENGTHS, True)
    check_with_axes(name, None, False)


def test_gradcheck_and_gradgradcheck_with_axes() -> None:
    check_with_axes("hgrn2", LENGTHS, True)


def test_layers_and_directions_pass_gradgradcheck() -> None:
    rnn = dt.RNN(derive.cells.rnn(), 2, 2, num_layers=2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    names = list(dict(rnn.named_parameters()))[:4]

    def run(x: Any, *params: Any) -> Any:
        return torch.func.functional_call(rnn, dict(zip(names, params, strict=True)), (x,))

    given = (x, *(rnn.get_parameter(name).detach().requires_grad_() for name in names))
    assert gradcheck(lambda *t: run(*t)[0], given, check_forward_ad=True)
    assert gradgradcheck(lambda *t: run(*t)[0], given, check_fwd_over_rev=True)


def test_a_stopped_gradient_is_torchs_detach() -> None:
    case = Case(STOPS)
    given = leaves(case)

    def second(results: Any) -> Any:
        loss = sum((value**2).sum() for value in results)
        first = torch.autograd.grad(loss, given, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), given)

    ours = second(case.run(*given))
    params, x, states = case.split(given)
    names = case.cell.params, case.cell.inputs, case.cell.states
    groups = (
        dict(zip(group, v, strict=True))
        for group, v in zip(names, (params, x, states), strict=True)
    )
    outputs, last = torch_reference.run(case.cell, *groups, lengths=LENGTHS, reverse=True)
    theirs = second((*outputs.values(), *last.values()))
    assert all(
        (a - b).abs().max() <= 1e-11 * b.abs().max() for a, b in zip(ours, theirs, strict=True)
    )


# --- torch.func -----------------------------------------------------------------------------


def test_jvp_and_vjp_are_each_others_transpose() -> None:
    case = Case("lstm")
    moved = [torch.randn_like(p) for p in case.params]
    y, t_y = jvp(lambda p: case.output(p, case.x[0], case.states), (case.params,), (moved,))
    _, pull = vjp(lambda p: case.output(p, case.x[0], case.states), case.params)
    d_y = torch.randn_like(y)
    pulled = sum((a * b).sum() for a, b in zip(pull(d_y)[0], moved, strict=True))
    assert abs((d_y * t_y).sum() - pulled) < 1e-12
    assert t_y.abs().max() > 0.01


def test_jacobians_of_both_modes_agree() -> None:
    case = Case("lstm")
    for number in (0, 1):
        ahead = jacfwd(case.output, argnums=number)(case.params, case.x[0], case.states)
        back = jacrev(case.output, argnums=number)(case.params, case.x[0], case.states)
        assert same(ahead, back)


def test_vmap_over_inputs_parameters_and_both_is_a_loop() -> None:
    case = Case("lstm")
    x = torch.stack([torch.randn_like(case.x[0]) for _ in range(4)])
    params = [torch.stack([torch.randn_like(p) for _ in range(4)]) for p in case.params]

    def at(k: int, of_params: bool, of_x: bool) -> Any:
        own = [p[k] for p in params] if of_params else case.params
        return case.output(own, x[k] if of_x else case.x[0], case.states)

    over_x = vmap(case.output, (None, 0, None))(case.params, x, case.states)
    assert torch.equal(over_x, torch.stack([at(k, False, True) for k in range(4)]))
    over_params = vmap(case.output, (0, None, None))(params, case.x[0], case.states)
    assert torch.equal(over_params, torch.stack([at(k, True, False) for k in range(4)]))
    over_both = vmap(case.output, (0, 0, None))(params, x, case.states)
    assert torch.equal(over_both, torch.stack([at(k, True, True) for k in range(4)]))
    turned = vmap(case.output, (None, 2, None), 1)(case.params, x.movedim(0, 2), case.states)
    assert torch.equal(turned.movedim(1, 0), over_x)


def test_vmap_over_no_samples_gives_results_of_none() -> None:
    case = Case("lstm")
    wanted = case.output(case.params, case.x[0], case.states).shape
    x = case.x[0].new_zeros(0, *case.x[0].shape)
    params = [p.new_zeros(0, *p.shape) for p in case.params]
    none = (0, *wanted)
    assert vmap(case.output, (None, 0, None))(case.params, x, case.states).shape == none
    assert vmap(case.output, (0, None, None))(params, case.x[0], case.states).shape == none
    slopes = vmap(grad(case.loss), (None, 0, None))(case.params, x, case.states)
    assert [s.shape for s in slopes] == [(0, *p.shape) for p in case.params]


def test_vmap_over_lengths_is_a_loop() -> None:
    case = Case("lstm")
    lengths = torch.tensor([[1, 3], [0, 2]])

    def run(own: Any) -> Any:
        return sequence(case.engine.key, case.params, case.x, case.states, own, True)[0]

    assert torch.equal(vmap(run)(lengths), torch.stack([run(own) for own in lengths]))


def test_gradients_per_sample_are_those_of_each_sample() -> None:
    case = Case("lstm")
    x = torch.stack([torch.randn_like(case.x[0]) for _ in range(3)])
    for number in (0, 1):
        one = grad(case.loss, argnums=number)
        together = vmap(one, (None, 0, None))(case.params, x, case.states)
        each = [tree_leaves(one(case.params, own, case.states)) for own in x]
        assert same(
            tree_leaves(together), [torch.stack(parts) for parts in zip(*each, strict=True)]
        )


def test_hessians_of_all_ways_agree() -> None:
    case = Case("rnn")
    ways = [
        hessian(case.loss, argnums=1),
        jacrev(jacrev(case.loss, argnums=1), argnums=1),
        jacfwd(jacfwd(case.loss, argnums=1), argnums=1),
        jacrev(jacfwd(case.loss, argnums=1), argnums=1),
    ]
    found = [way(case.params, case.x[0], case.states) for way in ways]
    assert all(same(found[0], other) for other in found[1:])


def test_hessian_vector_products_agree_both_ways() -> None:
    case = Case("lstm")
    moved = [torch.randn_like(p) for p in case.params]

    def slope(params: Any) -> Any:
        return grad(case.loss)(params, case.x[0], case.states)

    ahead = jvp(slope, (case.params,), (moved,))[1]
    back = vjp(slope, case.params)[1](moved)[0]
    over = grad(lambda p: jvp(lambda q: case.loss(q, case.x[0], case.states), (p,), (moved,))[1])(
        case.params
    )
    assert same(ahead, back) and same(ahead, over)


def test_third_derivatives_agree_in_both_modes() -> None:
    case = Case("rnn")

    def loss(x: Any) -> Any:
        return case.loss(case.params, x, case.states)

    assert same(
        jacfwd(hessian(loss))(case.x[0]), jacrev(jacrev(jacrev(loss)))(case.x[0]), bound=1e-11
    )


def test_an_ensemble_of_modules_is_a_loop() -> None:
    models = [dt.LSTM(3, 4, dtype=torch.float64) for _ in range(3)]
    params, buffers = torch.func.stack_module_state(models)  # type: ignore[arg-type]
    x = torch.randn(5, 2, 3, dtype=torch.float64)

    def one(params: Any, buffers: Any, x: Any) -> Any:
        return torch.func.functional_call(models[0], (params, buffers), (x,))[0]

    together = vmap(one, (0, 0, None))(params, buffers, x)
    assert torch.equal(together, torch.stack([model(x)[0] for model in models]))


# --- no silent zero -------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [False, True])
def test_dual_numbers_move_the_output(wanted: bool) -> None:
    rnn = dt.SimpleRNN(2, 3, dtype=torch.float64).requires_grad_(wanted)
    x, t_x = (torch.randn(3, 2, 2, dtype=torch.float64) for _ in range(2))
    step = 1e-6
    differences = (rnn(x + step * t_x)[0] - rnn(x - step * t_x)[0]) / (2 * step)
    with forward_ad.dual_level():
        y, last = rnn(forward_ad.make_dual(x, t_x))
        tangent = forward_ad.unpack_dual(y).tangent
        of_last = forward_ad.unpack_dual(last).tangent
    assert same(tangent.detach(), differences.detach(), 1e-8)
    assert of_last.abs().max() > 0.01
    with torch.no_grad(), forward_ad.dual_level():
        y, _ = rnn(forward_ad.make_dual(x, t_x))
        assert same(forward_ad.unpack_dual(y).tangent, tangent.detach())


@pytest.mark.parametrize("wanted", [False, True])
def test_jvp_of_a_module_is_right(wanted: bool) -> None:
    rnn = dt.RNN(derive.cells.lstm(), 2, 3, dtype=torch.float64).requires_grad_(wanted)
    x, t_x = (torch.randn(3, 2, 2, dtype=torch.float64) for _ in range(2))
    found = jvp(lambda v: rnn(v)[0], (x,), (t_x,))[1]
    whole = jacrev(lambda v: rnn(v)[0])(x)
    assert same(found.detach(), torch.einsum("abcdef,def->abc", whole, t_x).detach())


def test_the_explicit_jvp_is_torchs() -> None:
    cell = derive.cells.lstm()
    case = Case("lstm", 3)
    params = dict(zip(cell.params, case.params, strict=True))
    moved = {name: torch.randn_like(p) for name, p in params.items()}
    t_x, states = torch.randn_like(case.x[0]), dict(zip(cell.states, case.states, strict=True))

    def plain(params: Any, x: Any) -> Any:
        return dt.run(cell, params, x, states, lengths=LENGTHS, reverse=True)

    wanted, t_wanted = jvp(plain, (params, case.x[0]), (moved, t_x))
    found, t_found = dt.jvp(
        cell, params, case.x[0], states, t_params=moved, t_inputs=t_x, lengths=LENGTHS, reverse=True
    )
    assert same(found, wanted, 1e-14) and same(t_found, t_wanted, 1e-14)


def test_a_cell_without_inputs_has_second_derivatives_in_every_way() -> None:
    cell = Cell.parse("cell n\nstate h: H\nparam a: 1\nh' = tanh(a * h) + 1\noutput h'")
    a = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    empty = torch.zeros(3, 2, 0, dtype=torch.float64)
    h.requires_grad_()

    def run(a: Any, h: Any) -> Any:
        return dt.run(cell, {"a": a}, empty, h)[0]["h_next"]

    def operator(a: Any, h: Any) -> Any:
        key = engine_of(cell.to_text(), 1).key
        return torch.ops.derive.forward(key, [a], [empty], [h], None, False, True)[0]

    assert gradgradcheck(run, (a, h)) and gradgradcheck(operator, (a, h))
    total = lambda a: run(a, h.detach()).sum()  # noqa: E731
    both = jacfwd(jacrev(total))(a.detach()), jacrev(jacfwd(total))(a.detach())
    torch.testing.assert_close(*both)
    torch.testing.assert_close(hessian(total)(a.detach()), both[0])
