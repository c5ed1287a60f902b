"""Numbers to interpret with: the tables hold the same functions and agree with each other."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

from derive.cell import Cell
from derive.derivative import forward, reverse
from derive.program import Program, interpret
from derive.symbolic import functions
from derive.symbolic.closed_set import TABLE
from derive.symbolic.evaluate import MPMATH, NUMPY, Algebra
from derive.symbolic.oracle import ORACLE
from derive.verification.rounding import BOUNDED, Bounded

STEP = 2.0**-100


def points(name: str) -> list[Any]:
    """Arguments of `name`, saturated and tiny ones among them; none on a kink."""
    values = np.array([-30.2, -4.1, -1.2, -0.3, -1e-9, 1e-9, 0.4, 1.7, 3.6, 25.3])
    if name == "log":
        values = abs(values)
    if name == "log1p":
        values = np.maximum(values, -0.9)
    arity = functions.RULES[name].arity
    if name == "clip":
        return [values, -0.5, 2.0]
    if name == "where":
        return [np.arange(10) % 2.0, values, values[::-1].copy()]
    return [values, *(np.roll(values, k) for k in range(1, arity))]


def test_every_algebra_knows_every_function() -> None:
    assert set(NUMPY.functions) == set(functions.RULES)
    assert set(MPMATH.functions) == set(functions.RULES)
    assert set(BOUNDED.functions) == set(functions.RULES)
    assert set(ORACLE) == set(TABLE)


@pytest.mark.parametrize("name", functions.RULES)
def test_numpy_and_mpmath_agree(name: str) -> None:
    args = points(name)
    with mpmath.workdps(40):
        precise = MPMATH.functions[name](*(MPMATH.array(arg) for arg in args))
        wanted = np.array([float(v) for v in np.atleast_1d(precise)])
    with np.errstate(all="ignore"):
        got = NUMPY.functions[name](*args)
    size = abs(wanted)
    if (inner := functions.RULES[name].rounding) is not None:  # these round v^2, or subtract
        size = np.maximum(size, inner(NUMPY.functions, args[0]))
    assert np.all(abs(got - wanted) <= 1e-15 * size)


ANALYTIC = [name for name in functions.RULES if name not in ("stop_gradient", "gated")]


@pytest.mark.parametrize("name", ANALYTIC)
def test_a_complex_step_gives_the_slope_of_every_function(name: str) -> None:
    args = points(name)
    for at in range(functions.RULES[name].arity):
        if (name == "clip" and at) or (name == "where" and not at):
            continue
        stepped = [arg + 1j * STEP if k == at else arg for k, arg in enumerate(args)]
        with np.errstate(all="ignore"):
            got = np.imag(NUMPY.functions[name](*stepped)) / STEP
        for j, slope in enumerate(got):

            def precise(u: Any, j: int = j, at: int = at) -> Any:
                here = [np.atleast_1d(arg)[j if np.ndim(arg) else 0] for arg in args]
                here[at] = u
                return np.atleast_1d(MPMATH.functions[name](*(MPMATH.array(v) for v in here)))[0]

            with mpmath.workdps(60):
                wanted = float(mpmath.diff(precise, mpmath.mpf(args[at][j]), h="1e-20"))
            size = 1e-13 * abs(wanted) + 1e-15 * max(1, abs(args[at][j]))
            assert abs(slope - wanted) <= size, (name, args[at][j])


@pytest.mark.parametrize("at", [1e-18, -1e-10, 1e-5, -0.5, 3.0])
def test_log1p_of_a_complex_step_is_right_in_relative_terms(at: float) -> None:
    stepped = NUMPY.functions["log1p"](np.array([at + 2.0**-100 * 1j]))
    assert abs(stepped.real[0] / math.log1p(at) - 1) < 1e-15
    assert abs(stepped.imag[0] * 2.0**100 * (1 + at) - 1) < 1e-15


def test_stop_gradient_hides_from_the_complex_step() -> None:
    assert np.imag(NUMPY.functions["stop_gradient"](np.array([1 + 1j * STEP]))) == 0


@pytest.mark.parametrize("exponent", ["2", "3", "-1", "-2", "0.5", "-0.5", "1.7"])
def test_powers_agree(exponent: str) -> None:
    p = functions.number(exponent)
    values = np.array([0.2, 1.0, 3.7])
    with mpmath.workdps(40):
        wanted = [float(v) for v in MPMATH.power(MPMATH.array(values), p)]
    assert np.allclose(NUMPY.power(values, p), wanted, rtol=4e-16)
    slope = np.imag(NUMPY.power(values + 1j * STEP, p)) / STEP
    assert np.allclose(slope, float(p) * values ** (float(p) - 1), rtol=2e-15)


def test_numbers_are_exact_until_they_are_asked_for() -> None:
    with mpmath.workdps(50):
        tenth = MPMATH.number(functions.number("0.1"))
        assert abs(tenth * 10 - 1) < mpmath.mpf(10) ** -49
        assert abs(MPMATH.number(sympy.pi) - mpmath.pi) < mpmath.mpf(10) ** -48
    assert NUMPY.number(functions.number("0.1")) == 0.1


@pytest.mark.parametrize("algebra", [NUMPY, MPMATH])
def test_an_unknown_function_is_an_error(algebra: Any) -> None:
    unknown = functions.sympy.Function("unknown")(functions.symbol("a"))
    with pytest.raises(functions.UnknownNode, match="unknown"):
        algebra.evaluate(unknown, {"a": np.ones(1)}, {})


def test_the_running_error_bound_holds() -> None:
    """A long expression in float32 arithmetic stays within its bound, and not far within."""
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(20, 30)).astype(np.float32) for _ in range(2))
    m = random.normal(size=(30, 30)).astype(np.float32)
    single = np.tanh((a * b + a) @ m) * np.float32(0.1) - (a @ m) ** 2
    low, high = (functions.number(t) for t in ("0.1", "2"))
    A, B = BOUNDED.array(a), BOUNDED.array(b)
    product = BOUNDED.matmul(A * B + A, BOUNDED.array(m))
    square = BOUNDED.power(BOUNDED.matmul(A, BOUNDED.array(m)), high)
    bounded = BOUNDED.functions["tanh"](product) * BOUNDED.number(low) + -1.0 * square
    off = abs(single - bounded.value) / 2.0**-24
    assert np.all(off <= bounded.error)
    assert np.max(off / bounded.error) > 0.003


def test_a_running_error_bound_follows_the_branch_taken() -> None:
    chosen = BOUNDED.functions["where"](
        np.array([1.0, 0.0]), np.array([1.0, np.nan]), np.array([np.inf, 2.0])
    )
    assert np.array_equal(chosen.value, [1, 2]) and np.array_equal(chosen.error, [0, 0])


def test_zeros_and_ones_do_not_round() -> None:
    exact = BOUNDED.array(np.array([0.1])) * 1.0 + np.array([0.0])
    assert exact.error.item() == 0


# --- sums of what all rows share --------------------------------------------------------------

#: {name: (parameters, an expression of them alone)}; each multiplies the state.
REDUCTIONS = {
    "sum": ("u: H", "sum(u)"),
    "mean": ("u: H", "mean(u) * u"),
    "layer_norm": ("u: H", "layer_norm(u)"),
    "softmax": ("u: H", "exp(u) / sum(exp(u))"),
    "norm": ("u: H", "u / sqrt(sum(u * u))"),
    "width 1": ("u: 1", "sum(u) + mean(u) * layer_norm(u)"),
    "fixed width": ("u: 3, v: H", "sum(u) * layer_norm(u - mean(v)) * 0.1 + 0 * u"),
    "a product": ("u: P, A: H x P", "sum(A @ u) + mean(A.T @ (A @ u))"),
    "a sum of sums": ("u: H, v: P", "sum(sum(u) * v) * u"),
}
SIZES = {"H": 4, "P": 3}
ROWS = 2


def differentiated(name: str) -> dict[str, Program]:
    """The step of a cell that reduces a parameter, and its derivatives."""
    params, expression = REDUCTIONS[name]
    width = 3 if name == "fixed width" else "H"
    step = Cell.parse(
        f"cell c\ninput x: 1\nstate h: {width}\nparam {params}\n"
        f"h' = tanh(h * ({expression}) + x)\noutput h'"
    ).step
    pulled = reverse(step.program).program
    return {
        "values": step.program,
        "reverse": pulled,
        "forward": forward(step.program).program,
        "forward over reverse": forward(pulled).program,
        "reverse over reverse": reverse(pulled).program,
    }


def given_to(program: Program) -> dict[str, Any]:
    random = np.random.default_rng(3)
    table = program.table()
    found = {}
    for name in program.inputs:
        lengths = [SIZES[d] if isinstance(d, str) else d for d in table[name].shape]
        found[name] = random.uniform(-1, 1, (ROWS, *lengths) if table[name].per_row else lengths)
    return found


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_algebra_reduces_parameters_and_differentiates_that(name: str) -> None:
    for what, program in differentiated(name).items():
        given = given_to(program)

        def run(algebra: Algebra, program: Program = program, **other: Any) -> dict[str, Any]:
            arrays = {**given_to(program), **other}
            return interpret(program, arrays, rows=ROWS, sizes=SIZES, algebra=algebra)

        plain, bounded = run(NUMPY), run(BOUNDED)
        complex_ = run(NUMPY, **{n: a + 0j for n, a in given.items()})
        with mpmath.workdps(30):
            precise = run(MPMATH)
        for array in program.outputs:
            wanted = np.array([float(v) for v in precise[array].flat]).reshape(plain[array].shape)
            scale = max(1.0, float(np.max(abs(wanted))))
            assert precise[array].shape == plain[array].shape == bounded[array].shape, what
            assert np.max(abs(plain[array] - wanted)) < 1e-13 * scale, f"{what}: {array}"
            assert np.max(abs(complex_[array] - wanted)) < 1e-13 * scale, f"{what}: {array}"
            error = abs(bounded[array].value - wanted)
            assert np.all(error <= (bounded[array].error + 1) * 2.0**-53), f"{what}: {array}"


def test_the_error_of_an_argument_that_stands_twice_is_carried_on() -> None:
    value = Bounded(np.array([3.0, -2.0]), np.array([0.5, 0.25]))
    for name in ("minimum", "maximum"):
        assert (BOUNDED.functions[name](value, value).error >= value.error).all()
