"""Derivatives of Programs: every function, both modes, derivatives of derivatives, and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mpmath
import numpy as np
import pytest

import derive
from derive.derivative import forward, reverse, reverse_step
from derive.program import Array, Layout, Map, Matmul, Program, Sum, check, interpret, prune
from derive.program.simplify import simplify
from derive.symbolic import functions
from derive.symbolic.evaluate import MPMATH

A, B, C = (functions.symbol(name) for name in "abc")
STEP = 2.0**-100

ELEMENTWISE = {name: rule for name, rule in functions.RULES.items() if name != "stop_gradient"}


def vector(name: str, width: Any = 1, per_row: bool = True) -> Array:
    return Array(name, (width,), per_row)


def single(expr: Any) -> Program:
    names = tuple(dict.fromkeys(s.name for s in sorted(expr.free_symbols, key=str)))
    arrays = tuple(vector(name) for name in (*names, "y"))
    return check(Program(arrays, names, (Map("y", expr),), ("y",)))


def pull(program: Program, given: Mapping[str, Any], seed: Any, rows: int, **sizes: int) -> Any:
    """{input: cotangent}, for the cotangent `seed` of the only output."""
    derivative = reverse(program)
    ((_, name),) = derivative.seeds
    with np.errstate(all="ignore"):
        values = interpret(derivative.program, {**given, name: seed}, rows=rows, sizes=sizes)
    return {of: values[derivative.name(of)] for of in program.inputs}


def push(program: Program, given: Mapping[str, Any], along: Any, rows: int, **sizes: int) -> Any:
    derivative = forward(program)
    seeds = {name: along[of] for of, name in derivative.seeds}
    with np.errstate(all="ignore"):
        values = interpret(derivative.program, {**given, **seeds}, rows=rows, sizes=sizes)
    return {of: values[derivative.name(of)] for of in program.outputs}


# --- every function of the closed set -----------------------------------------------------------

POSITIVE = {"log", "log1p"}


def arguments(name: str, arity: int, k: int) -> list[float]:
    random = np.random.default_rng([k, len(name)])
    values = random.uniform(-4, 4, size=arity)
    if name in POSITIVE:
        values = abs(values) + 0.1
    if name == "clip":
        values = np.array([values[0], -1.25, 1.5])
    if name == "where":
        values[0] = k % 2
    return [float(v) for v in values]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_derivative_of_every_function_agrees_with_mpmath(name: str) -> None:
    rule = functions.RULES[name]
    for k in range(8):
        values = arguments(name, rule.arity, k)
        for at in range(rule.arity):
            if (name == "clip" and at) or (name == "where" and at == 0):
                continue  # bounds are constants, conditions have no gradient
            constants = [functions.number(repr(value)) for value in values]
            expr = rule.head(*constants[:at], A, *constants[at + 1 :])
            got = pull(single(expr), {"a": [[values[at]]]}, np.ones((1, 1)), 1)

            def precise(u: Any, expr: Any = expr) -> Any:
                return MPMATH.evaluate(expr, {"a": np.array([u], dtype=object)}, {}).item()

            with mpmath.workdps(40):
                wanted = mpmath.diff(precise, mpmath.mpf(values[at]))
            assert float(got["a"].item()) == pytest.approx(float(wanted), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("exponent", ["2", "-1", "-2", "0.5", "1.5", "3"])
def test_powers_have_their_derivative(exponent: str) -> None:
    p = functions.number(exponent)
    got = pull(single(A**p), {"a": [[1.7]]}, np.ones((1, 1)), 1)["a"].item()
    assert got == pytest.approx(float(p) * 1.7 ** (float(p) - 1), rel=1e-14)


@pytest.mark.parametrize(
    ("expr", "a", "slope"),
    [
        (functions.relu(A), 0, 0),
        (functions.absolute(A), 0, 0),
        (functions.sign(A), 3, 0),
        (functions.floor(A), 3, 0),
        (functions.clip(A, functions.number("-2"), functions.number("3")), -2, 1),
        (functions.clip(A, functions.number("-2"), functions.number("3")), 3, 1),
        (functions.clip(A, functions.number("-2"), functions.number("3")), 3.0001, 0),
        (functions.maximum(A, functions.ONE), 1, 0.5),
        (functions.minimum(A, functions.ONE), 1, 0.5),
        (functions.hard_tanh(A), 1, 0),
        (functions.hard_tanh(A), -1, 0),
        (functions.hard_sigmoid(A), 3, 0),
        (functions.hard_sigmoid(A), -3, 0),
        (functions.stop_gradient(A), 2, 0),
        (A * functions.stop_gradient(A), 2, 2),
    ],
)
def test_gradients_on_kinks_follow_the_contract(expr: Any, a: float, slope: float) -> None:
    given = {"a": [[a]]}
    assert pull(single(expr), given, np.ones((1, 1)), 1)["a"].item() == slope
    assert push(single(expr), given, {"a": np.ones((1, 1))}, 1)["y"].item() == slope


# --- branches not taken ------------------------------------------------------------------------


def branch(*middle: Any, chosen: str, arrays: tuple[Array, ...]) -> Program:
    """y = where(0 < m, chosen, a), with `middle` in between."""
    last = Map("y", functions.where(functions.less(functions.ZERO, functions.symbol("m")),
                                 functions.symbol(chosen), A))  # fmt: skip
    inputs = tuple(array.name for array in arrays[: len(arrays) - len(middle)])
    return check(Program((*arrays, vector("y", "H")), inputs, (*middle, last), ("y",)))


ROOT = Map("root", A**functions.HALF)
NAMED = branch(ROOT, chosen="root", arrays=(vector("a", "H"), vector("m"), vector("root", "H")))
THROUGH_PRODUCT = branch(
    ROOT, Matmul("p", "M", "root", Layout.NORMAL), chosen="p",
    arrays=(
        vector("a", "H"), vector("m"), Array("M", ("H", "H"), False),
        vector("root", "H"), vector("p", "H"),
    ),
)  # fmt: skip


def numbers(program: Program, rows: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    table, random = program.table(), np.random.default_rng(5)
    shapes = {
        n: tuple(sizes[d] if isinstance(d, str) else d for d in table[n].shape)
        for n in program.inputs
    }
    return {
        n: random.uniform(0.2, 1.5, size=(rows, *s) if table[n].per_row else s)
        for n, s in shapes.items()
    }


@pytest.mark.parametrize("program", [NAMED, THROUGH_PRODUCT], ids=["named", "product"])
def test_a_branch_not_taken_contributes_nothing(program: Program) -> None:
    """Row 1 has the root of a negative number in the branch that it does not take."""
    given = numbers(program, 2, {"H": 3})
    given["a"][1] = -1
    given["m"][:] = [[1], [-1]]
    seed = np.ones((2, 3))
    both = pull(program, given, seed, 2, H=3)
    assert all(np.isfinite(array).all() for array in both.values())
    assert np.array_equal(both["a"][1], np.ones(3))
    alone = {n: v[:1] if program.table()[n].per_row else v for n, v in given.items()}
    first = pull(program, alone, seed[:1], 1, H=3)
    assert np.allclose(both["a"][0], first["a"][0], rtol=1e-15)
    if "M" in both:
        assert np.allclose(both["M"], first["M"], rtol=1e-15)
    along = {n: np.ones_like(v) for n, v in given.items()}
    assert np.isfinite(push(program, given, along, 2, H=3)["y"]).all()


@pytest.mark.parametrize("program", [NAMED, THROUGH_PRODUCT], ids=["named", "product"])
@pytest.mark.parametrize("mode", [forward, reverse])
def test_nor_does_it_contribute_to_a_second_derivative(program: Program, mode: Any) -> None:
    given = numbers(program, 2, {"H": 3})
    given["a"][1] = -1
    given["m"][:] = [[1], [-1]]
    first = reverse(program, by=("a",))
    given[first.seeds[0][1]] = np.ones((2, 3))
    second = mode(first.program)
    seeds = {name: np.ones_like(given.get(of, np.ones((2, 3)))) for of, name in second.seeds}
    with np.errstate(all="ignore"):
        values = interpret(second.program, {**given, **seeds}, rows=2, sizes={"H": 3})
    names = [second.name(name) for name in (first.program.outputs if mode is forward else "am")]
    assert all(np.isfinite(values[name]).all() for name in names)


# --- products, sums, and derivatives of derivatives ----------------------------------------------


def everything() -> Program:
    """Each kind of equation, each layout, widths that broadcast, a matrix used twice."""
    arrays = (
        Array("W", ("H", "H"), False), vector("b", "H", False), vector("s", 1, False),
        vector("x", "H"), vector("k"), vector("p", "H"), vector("q", "H"), vector("m"),
        Array("O", ("H", "H"), False), vector("r", "H"), vector("t", "H", False), vector("y", "H"),
        vector("u", 1, False), vector("v", "H", False), Array("Q", ("H", "H"), False),
    )  # fmt: skip
    p, q, m, r, t, b, s, k, u, v = (functions.symbol(n) for n in "pqmrtbskuv")
    equations = (
        Matmul("p", "W", "x", Layout.NORMAL),
        Map("q", functions.tanh(p * s + b) * k),
        Sum("m", "q"),
        Matmul("O", "q", "x", Layout.OUTER),
        Matmul("r", "W", "q", Layout.TRANSPOSED),
        Sum("t", "r"),
        Sum("u", "b"),
        Map("v", t * u + b),
        Matmul("Q", "v", "b", Layout.OUTER),
        Map("y", r**2 / (1 + m**2) + t * functions.sigmoid(q) + u * v),
    )
    return check(Program(arrays, ("W", "b", "s", "x", "k"), equations, ("y", "O", "Q", "m")))


SIZES, ROWS = {"H": 3}, 2


def outputs_of(program: Program, given: Mapping[str, Any]) -> dict[str, Any]:
    values = interpret(program, given, rows=ROWS, sizes=SIZES)
    return {name: values[name] for name in program.outputs}


def complex_step(program: Program, given: Mapping[str, Any], along: Any) -> dict[str, Any]:
    moved = {name: given[name] + 1j * STEP * along[name] for name in given}
    return {n: np.imag(v) / STEP for n, v in outputs_of(program, moved).items()}


def like(given: Mapping[str, Any], seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=np.shape(array)) for name, array in given.items()}


def dot(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    return float(sum(np.sum(a[name] * b[name]) for name in a))


def both_modes(program: Program, given: dict[str, Any]) -> None:
    """Forward mode against the complex step, and reverse mode as its adjoint."""
    along = like(given, 1)
    wanted = complex_step(program, given, along)
    pushing = forward(program)
    seeds = {name: along[of] for of, name in pushing.seeds}
    pushed = interpret(pushing.program, {**given, **seeds}, rows=ROWS, sizes=SIZES)
    for name, array in wanted.items():
        assert np.allclose(pushed[pushing.name(name)], array, rtol=1e-11, atol=1e-12), name
    weights = like(wanted, 2)
    pulling = reverse(program)
    seeds = {name: weights[of] for of, name in pulling.seeds}
    pulled = interpret(pulling.program, {**given, **seeds}, rows=ROWS, sizes=SIZES)
    back = {name: pulled[pulling.name(name)] for name in program.inputs}
    assert dot(back, along) == pytest.approx(dot(weights, wanted), rel=1e-11, abs=1e-12)


def test_every_kind_of_equation_in_both_modes() -> None:
    program = everything()
    both_modes(program, numbers(program, ROWS, SIZES))


@pytest.mark.parametrize("first", [forward, reverse])
def test_the_derivative_of_a_derivative_is_a_derivative(first: Any) -> None:
    program = prune(first(everything()).program)
    both_modes(program, numbers(program, ROWS, SIZES))


def test_a_third_derivative_too() -> None:
    second = prune(reverse(prune(reverse(everything()).program)).program)
    both_modes(second, numbers(second, ROWS, SIZES))


CELLS = {
    "lstm": """
cell lstm
input x: I
state h: H, c: H
i = sigmoid(W_i @ x + U_i @ h + b_i)
f = sigmoid(W_f @ x + U_f @ h + b_f + 1)
g = tanh(W_g @ x + U_g @ h + b_g)
o = sigmoid(W_o @ x + U_o @ h + p * c)
c' = f * c + i * g
h' = o * tanh(c')
output h', c
""",
    "normed": """
cell normed
input x: I
state h: H
a = layer_norm(W @ x + W_h @ h) * gain + shift
h' = mean(a) * gelu(a) + softplus(h) / sum(exp(h)) + W_h.T @ a
output h'
""",
}


@pytest.mark.parametrize("text", CELLS.values(), ids=CELLS)
def test_a_hessian_vector_product_agrees_with_differences_of_the_gradient(text: str) -> None:
    gradient = reverse_step(derive.Cell.parse(text).step)
    program = gradient.program
    sizes = {"I": 2, "H": 3}
    given = numbers(program, ROWS, sizes)
    along = like(given, 3)
    pushing = forward(program)
    seeds = {name: along[of] for of, name in pushing.seeds}
    pushed = interpret(pushing.program, {**given, **seeds}, rows=ROWS, sizes=sizes)

    def at(h: float) -> dict[str, Any]:
        moved = {name: given[name] + h * along[name] for name in given}
        values = interpret(program, moved, rows=ROWS, sizes=sizes)
        return {name: values[name] for name in program.outputs}

    h = 2.0**-11
    ahead, behind, ahead2, behind2 = at(h), at(-h), at(2 * h), at(-2 * h)
    for name in program.outputs:
        wanted = (8 * (ahead[name] - behind[name]) - ahead2[name] + behind2[name]) / (12 * h)
        scale = np.max(abs(wanted)) + 1e-3
        assert np.max(abs(pushed[pushing.name(name)] - wanted)) < 1e-7 * scale, name


# --- names, seeds, and what is left out ---------------------------------------------------------


def test_arrays_called_p_and_d_p_keep_their_names_and_get_gradients() -> None:
    cell = derive.Cell.parse(
        "cell names\ninput t: I\nstate n: H, d_n: H\n"
        "p = W @ t + U @ n\nd_p = tanh(p) + d_n\nd_n' = d_p * p\nn' = d_p - p\noutput n', d_p\n"
    )
    gradient = reverse_step(cell.step)
    table = gradient.program.table()
    assert len(table) == len(gradient.program.arrays)
    given = numbers(gradient.program, ROWS, {"I": 2, "H": 3})
    values = interpret(gradient.program, given, rows=ROWS, sizes={"I": 2, "H": 3})
    names = [*gradient.d_params, *gradient.d_inputs, *gradient.d_states]
    assert len(set(names)) == len(names) and all(name in values for name in names)
    assert gradient.derivative.name("d_p") != "d_p"


def test_an_output_that_is_the_next_state_gets_both_cotangents() -> None:
    cell = derive.Cell.parse("cell one\nstate h: H\nh' = 2 * h\noutput h'\n")
    gradient = reverse_step(cell.step)
    ((out,), (carry,)) = gradient.output_seeds, gradient.state_seeds
    given = {"h": np.ones((1, 2)), out: np.full((1, 2), 3.0), carry: np.full((1, 2), 4.0)}
    values = interpret(gradient.program, given, rows=1, sizes={"H": 2})
    assert np.array_equal(values[gradient.d_states[0]], [[14, 14]])


def test_the_gradient_of_what_nothing_uses_is_zero() -> None:
    cell = derive.Cell.parse(
        "cell dead\ninput x: I, z: 2\nstate h: H\nparam V: 3 x 2\n"
        "q = V @ z\nh' = W @ x\noutput h'\n"
    )
    gradient = reverse_step(cell.step)
    given = numbers(gradient.program, ROWS, {"I": 2, "H": 3})
    values = interpret(gradient.program, given, rows=ROWS, sizes={"I": 2, "H": 3})
    for name, shape in (("V", (3, 2)), ("z", (ROWS, 2)), ("h", (ROWS, 3))):
        assert np.array_equal(values[gradient.derivative.name(name)], np.zeros(shape))


def test_by_selects_what_is_put_out() -> None:
    assert reverse(everything(), by=("b",)).program.outputs == ("d_b",)


def test_tangents_of_inputs_that_do_not_move_are_zero() -> None:
    derivative = forward(everything(), by=("b",))
    assert [of for of, _ in derivative.seeds] == ["b"]
    given = numbers(everything(), ROWS, SIZES)
    along = {**{n: np.zeros_like(v) for n, v in given.items()}, "b": np.ones(3)}
    wanted = complex_step(everything(), given, along)
    seeds = {derivative.seeds[0][1]: np.ones(3)}
    values = interpret(derivative.program, {**given, **seeds}, rows=ROWS, sizes=SIZES)
    for name, array in wanted.items():
        assert np.allclose(values[derivative.name(name)], array, rtol=1e-12, atol=1e-13)


def test_simplifying_a_gradient_changes_no_number() -> None:
    program = reverse(everything()).program
    given = numbers(program, ROWS, SIZES)
    one, other = (interpret(p, given, rows=ROWS, sizes=SIZES) for p in (program, simplify(program)))
    for name in program.outputs:
        assert np.allclose(one[name], other[name], rtol=1e-13)


def test_differentiating_twice_gives_the_same_text() -> None:
    assert reverse(everything()) == reverse(everything())


def test_an_exponent_that_is_an_array_is_refused() -> None:
    with pytest.raises(functions.UnknownNode, match="exponent must be constant"):
        reverse(single(A**B))
