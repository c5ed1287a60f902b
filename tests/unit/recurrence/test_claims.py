"""Every claim about every cell agrees with numbers of the interpreter, and wrong claims do not."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import axes_cells
import pytest
import random_cells
from hypothesis import HealthCheck, Phase, given, seed, settings
from structure_checks import Point, refuted

import derive
from derive.errors import DeriveError
from derive.fuzz.axes_grammar import cells_with_axes
from derive.fuzz.grammar import Drawn, cells
from derive.inspect.facts.structure import Structure
from derive.recurrence import Recurrence, jacobian, linear
from derive.recurrence.jacobian import Kind, Pattern
from derive.recurrence.linear import Degree
from derive.symbolic.interval import Interval

NAMES = (*derive.cells.names(), *axes_cells.CELLS)


def cell_called(name: str) -> derive.Cell:
    if name in axes_cells.CELLS and name not in derive.cells.names():
        return derive.Cell.parse(axes_cells.CELLS[name][0])
    return derive.cells.from_spec(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_number_contradicts_what_is_claimed_of_a_cell(name: str) -> None:
    cell = cell_called(name)
    found = derive.structure(cell)
    assert refuted(cell, found=found) == []
    assert {claim.topic for claim in found.claims} >= {"linear", "transition", "bound", "inverse"}


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_no_number_contradicts_what_is_claimed_of_random_cells(first: int) -> None:
    for number in range(first, first + 10):
        cell = derive.Cell.parse(random_cells.text(number))
        found = derive.structure(cell)
        assert refuted(cell, number, found) == []
        assert found.claims


def fuzzed(drawn: Drawn) -> None:
    try:
        cell = derive.Cell.parse(drawn.declared)
    except DeriveError:
        return  # some texts say nothing that is a number
    found = derive.structure(cell)
    assert found.claims
    assert refuted(cell, found=found) == [], drawn.declared


HOW: dict[str, Any] = {"deadline": None, "database": None, "phases": [Phase.generate],
                       "suppress_health_check": list(HealthCheck)}  # fmt: skip


@seed(20)
@settings(max_examples=60, **HOW)
@given(cells())
def test_no_number_contradicts_what_is_claimed_of_fuzzed_cells(drawn: Drawn) -> None:
    fuzzed(drawn)


@seed(22)
@settings(max_examples=40, **HOW)
@given(cells_with_axes())
def test_no_number_contradicts_what_is_claimed_of_fuzzed_cells_with_axes(drawn: Drawn) -> None:
    fuzzed(drawn)


@pytest.mark.slow
@seed(23)
@settings(max_examples=1000, **HOW)
@given(cells_with_axes())
def test_no_number_contradicts_what_is_claimed_of_many_fuzzed_cells_with_axes(
    drawn: Drawn,
) -> None:
    fuzzed(drawn)


def test_what_is_left_of_an_axis_of_length_1_is_one_number() -> None:
    cell = derive.Cell.parse(
        "cell one\nstate B: 1 x P\nparam g: P\ns = mean(B)\nB' = B * tanh(s) + 0 * g\noutput B'"
    )
    assert refuted(cell) == []


@pytest.mark.slow
@seed(21)
@settings(max_examples=3000, **HOW)
@given(cells())
def test_no_number_contradicts_what_is_claimed_of_many_fuzzed_cells(drawn: Drawn) -> None:
    fuzzed(drawn)


# --- wrong claims are noticed ---------------------------------------------------------------------


class Wrong(Structure):
    """A Structure of which parts were replaced."""


def wrong(cell: derive.Cell, **parts: Any) -> Structure:
    found = Wrong(cell)
    for name, value in parts.items():
        found.__dict__[name] = value
    return found


def changed(found: Structure, **parts: Any) -> Recurrence:
    return replace(found.recurrence, **parts)


def complaints(cell: derive.Cell, **parts: Any) -> str:
    return "; ".join(refuted(cell, found=wrong(cell, **parts)))


def test_a_recurrence_that_is_not_linear_is_noticed() -> None:
    cell = derive.cells.gru()
    found = derive.structure(cell)
    for field in ("own", "together", "in_parts"):
        said = complaints(cell, recurrence=changed(found, **{field: {"h": Degree.AFFINE}}))
        assert "h' is not affine in h" in said or (field == "in_parts" and "affine" in said)
    said = complaints(cell, recurrence=changed(found, own={"h": Degree.CONSTANT}))
    assert "h' depends on h" in said


@pytest.mark.parametrize(
    ("spec", "pattern", "said"),
    [
        ("gru", Pattern(Kind.DIAGONAL), "is not diagonal"),
        ("gru", Pattern(Kind.ZERO), "is not zero"),
        ("gru", Pattern(Kind.LOW_RANK, (), "1"), "has a higher rank than 1"),
        ("gru", Pattern(Kind.PLUS_LOW_RANK, (), "1"), "has a higher rank than 1"),
        ("gru", Pattern(Kind.REPEATED), "reads several"),
        ("min_gru", Pattern(Kind.IDENTITY), "is not the identity"),
        ("block_gru", Pattern(Kind.DENSE, (0, 1)), "is not block-diagonal"),
        ("gated_delta", Pattern(Kind.DIAGONAL), "is not diagonal"),
    ],
)
def test_a_wrong_pattern_is_noticed(spec: str, pattern: Pattern, said: str) -> None:
    cell = cell_called(spec)
    (state,) = cell.step.states
    rec = changed(derive.structure(cell), patterns={(state, state): pattern})
    assert said in complaints(cell, recurrence=rec)


def test_a_bound_that_is_too_narrow_is_noticed() -> None:
    cell = derive.cells.gru()
    bounds = derive.structure(cell).bounds
    half = Interval(Fraction(-1, 2), Fraction(1, 2))
    said = complaints(cell, bounds=replace(bounds, kept={"h": half}))
    assert "h leaves" in said and "on its way" in said
    cell = derive.cells.lstm()
    bounds = derive.structure(cell).bounds
    bounds.free.known["o"] = half
    assert "o leaves" in complaints(cell, bounds=bounds)


def test_a_wrong_inverse_is_noticed() -> None:
    cell = derive.cells.min_gru()
    inverse = derive.structure(cell).inverse
    assert inverse is not None
    (one,) = inverse.solved
    program = one.program
    last = replace(program.equations[-1], expr=one.value * 2)
    double = replace(one, program=replace(program, equations=(*program.equations[:-1], last)))
    said = complaints(cell, inverse=replace(inverse, solved=(double,)))
    assert "the inverse of h is" in said


def test_coefficients_that_read_an_input_are_noticed() -> None:
    cell = derive.cells.min_gru()
    rec = changed(derive.structure(cell), varying=())
    assert "an input that is not named" in complaints(cell, recurrence=rec)


def test_a_stabiliser_that_changes_outputs_is_noticed() -> None:
    cell = derive.Cell.parse(axes_cells.CELLS["slstm"][0])  # which divides by n' + 1
    (one,) = derive.structure(cell).stabilisers
    assert one.clash is not None
    said = complaints(cell, stabilisers=(replace(one, clash=None, scaled=("c", "n")),))
    assert re.search("h_next depends on how m' is chosen", said)


def test_a_clock_that_an_input_moves_is_noticed() -> None:
    cell = derive.cells.gru()
    rec = changed(derive.structure(cell), clocks=("h",))
    assert "h depends on the inputs" in complaints(cell, recurrence=rec)


def test_arrays_that_leave_the_numbers_are_noticed() -> None:
    cell = derive.Cell.parse("cell e\ninput x: H\nstate h: H\nh' = exp(30 * x + 0 * h)\noutput h'")
    found = derive.structure(cell)
    (hazard,) = found.hazards
    never = type(hazard.verdict)("never")
    assert "h_next leaves the numbers" in complaints(
        cell, hazards=(replace(hazard, verdict=never),)
    )


# --- rules without which a claim would be wrong ---------------------------------------------------


def test_a_derivative_of_zero_does_not_make_a_step_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """floor has the derivative 0 everywhere, and is not affine; the schedule knows that too."""
    from derive.pipeline import schedule

    text = "cell f\ninput x: H\nstate h: H\nh' = floor(h) + x\noutput h'"
    cell = derive.Cell.parse(text)
    assert not derive.structure(cell).linear and not schedule(cell).forward.linear
    stopped = derive.Cell.parse(text.replace("floor", "stop_gradient"))
    assert derive.structure(stopped).linear and schedule(stopped).forward.linear


def test_terms_beyond_the_limit_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of one term claims become weaker, and stay right."""
    monkeypatch.setattr(jacobian, "_MOST", 1)
    for name in ("lstm", "gated_delta", "block_gru", "multiplicative_lstm", "slstm", "min_gru"):
        assert refuted(cell_called(name)) == []
    (pattern,) = derive.structure(cell_called("block_gru")).recurrence.patterns.values()
    assert pattern == Pattern(Kind.DENSE, (0,))


@pytest.mark.parametrize("name", NAMES)
def test_the_schedule_and_the_structure_agree(name: str) -> None:
    from derive.pipeline import schedule

    cell = cell_called(name)
    plan, rec = schedule(cell).forward, derive.structure(cell).recurrence
    assert not plan.linear or (rec.linear and rec.elementwise)
    assert not plan.elementwise or rec.elementwise
    assert (
        plan.linear == (rec.linear and rec.elementwise)
        or len(cell.step.states) > 1
        or cell.checked.shapes
    )


def test_points_have_sizes_that_tell_axes_apart() -> None:
    point = Point(cell_called("mlstm"), 0)
    assert len({point.sizes[dim] for dim in "NDK"}) == 3


def test_coefficients_of_an_affine_expression() -> None:
    from sympy import symbols

    from derive.symbolic import functions

    h, x, z = (functions.symbol(name) for name in "hxz")
    both = frozenset((h,))
    assert linear.coefficients((1 - z) * h + z * x, both) == ({h: 1 - z}, z * x)
    assert linear.coefficients((h + x) ** 2 - h**2, both) == ({h: 2 * x}, x**2)
    assert linear.coefficients(h * functions.tanh(h), both) is None
    assert linear.coefficients(functions.where(functions.less(x, z), h, x), both) == (
        {h: functions.where(functions.less(x, z), functions.ONE, functions.ZERO)},
        functions.where(functions.less(x, z), functions.ZERO, x),
    )
    assert linear.coefficients(h - h + x, frozenset((symbols("y"),))) == ({}, x)


# --- cells that nobody listed ---------------------------------------------------------------------

#: Lines of a cell with an input x and states, and what is said of it, or must not be.
SAID = {
    "a state that stays as it is is no clock": (
        "state h: H, t: 1\nt' = t\nh' = tanh(W @ x + U @ h) * t\noutput h'",
        ("time invariant",),
        ("runs by itself",),
    ),
    "a state that counts is a clock": (
        "state h: H, t: 1\nt' = t + 1\nh' = h + (W @ x) / t'\noutput h'",
        ("t runs by itself",),
        ("time invariant",),
    ),
    "two states that turn into each other may grow though each factor is at most 1": (
        "state p: H, q: H\np' = p + q + W @ x\nq' = q + p\noutput p'",
        ("no bound of p was found",),
        ("never grows",),
    ),
    "a state that follows another one does not": (
        "state f: H, s: H\nf' = 0.5 * f + W @ x\ns' = 0.99 * s + 0.01 * f'\noutput s'",
        ("each step multiplies s by `0.99`",),
        (),
    ),
    "gates that do not add up to 1, of one pre-activation": (
        "state c: H\na = W @ x + U @ c\nf = sigmoid(a)\ni = 1 - sigmoid(a - 1)\n"
        "c' = f * c + i * tanh(V @ x)\noutput c'",
        ("|c| <= 2.71829 at every step",),
        (),
    ),
    "the same with the shift turned": (
        "state c: H\na = W @ x\nc' = sigmoid(a) * c + sigmoid(-1 - a) * tanh(V @ x)\noutput c'",
        ("|c| <= 1 at every step",),
        ("2.71829",),
    ),
    "a vector of length 1": (
        "state h: H\nu = h + tanh(W @ x)\nh' = u / sqrt(sum(u * u) + 1e-6)\noutput h'",
        ("|h'| <= 1, from any states",),
        (),
    ),
    "a vector of length 1 by its norm": (
        "state h: H\nu = h + tanh(W @ x)\nh' = u / maximum(norm(u), 1e-12)\noutput h'",
        ("|h'| <= 1, from any states",),
        (),
    ),
    "a vector divided by the length of another": (
        "state h: H\nu = h + tanh(W @ x)\nv = h - u\nh' = u / sqrt(sum(v * v) + 1e-6)\noutput h'",
        ("no bound of h was found",),
        ("|h'| <= 1",),
    ),
    "an exponential gate beside a sigmoid": (
        "state c: H, n: H\ni = exp(W @ x)\nf = sigmoid(V @ x)\nc' = f * c + i * tanh(Z @ x)\n"
        "n' = f * n + i\nh = c' / n'\noutput h",
        ("a stabiliser may be added", "m' = maximum(log(f) + m, W @ x)"),
        (),
    ),
    "the same with max(n, 1)": (
        "state c: H, n: H\ni = exp(W @ x)\nf = sigmoid(V @ x)\nc' = f * c + i * tanh(Z @ x)\n"
        "n' = f * n + i\nh = c' / maximum(n', 1)\noutput h",
        ("no running maximum is known",),
        ("may be added",),
    ),
    "a forget gate by exp, an input gate by sigmoid": (
        "state c: H, n: H\ni = sigmoid(W @ x)\nf = exp(V @ x)\nc' = f * c + i * tanh(Z @ x)\n"
        "n' = f * n + i\ny = c' / n'\noutput y",
        ("a stabiliser may be added", "m' = maximum(V @ x + m, 0)"),
        (),
    ),
    "a factor of -1 has a size of 1": (
        "state c: H, n: H\ni = exp(W @ x)\nc' = -c + i * tanh(V @ x)\nn' = -n + i\ny = c' / n'\n"
        "output y",
        ("with `m' = maximum(m, W @ x)`",),
        ("log(-1)",),
    ),
    "an output that is no quotient": (
        "state c: H\ni = exp(W @ x)\nf = sigmoid(V @ x)\nc' = f * c + i * tanh(Z @ x)\n"
        "y = tanh(c')\noutput y",
        ("no running maximum is known",),
        ("may be added",),
    ),
    "a gate that sees the size of a state": (
        "state c: H, n: H\ni = exp(W @ x)\nf = sigmoid(V @ x + R * c / (abs(n) + 1))\n"
        "c' = f * c + i * tanh(Z @ x)\nn' = f * n + i\ny = c' / n'\noutput y",
        ("no running maximum is known",),
        ("may be added",),
    ),
    "a copy of a copy of a state is no clock": (
        "state a: H, h: H\nb = a\na' = b\nh' = tanh(W @ x + a * h)\noutput h'",
        ("time invariant",),
        ("runs by itself",),
    ),
    "a large number": (
        "state h: H\nh' = 1e30 * tanh(W @ x + h)\noutput h'", ("|h'| < 1e+30",), ("00000000",),
    ),
    "a small number": (
        "state h: H\nh' = 1e-17 * tanh(W @ x + h)\noutput h'", ("|h'| < 1e-17",), (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_a_cell(name: str) -> None:
    lines, wanted, unwanted = SAID[name]
    cell = derive.Cell.parse(f"cell said\ninput x: I\n{lines}")
    found = derive.structure(cell)
    said = "\n".join(claim.says for claim in found.claims)
    for part in wanted:
        assert part in said
    for part in unwanted:
        assert part not in said
    for seed_ in range(3):
        assert refuted(cell, seed_, found) == []


def test_growth_that_is_denied_is_noticed() -> None:
    cell = derive.cells.t_rnn()
    found = derive.structure(cell)
    claims = [replace(c, says="what is stored never grows") for c in found.of("bound")]
    wider = derive.Cell.parse(cell.to_text().replace("f * h +", "(1 + f) * h +"))
    said = "; ".join(refuted(wider, found=wrong(wider, claims=tuple(claims))))
    assert "h grows, and is said not to" in said
    claims = [replace(c, says="|h| grows by at most 0.001 a step") for c in claims]
    said = "; ".join(refuted(wider, found=wrong(wider, claims=tuple(claims))))
    assert "h grows by more than 0.001" in said
