"""Programs whose arrays have axes: what they compute, and their derivatives in both modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive.derivative import forward, reverse
from derive.errors import ProgramError
from derive.program import (
    Array,
    Equation,
    Layout,
    Map,
    Matmul,
    Over,
    Program,
    Sum,
    check,
    interpret,
)
from derive.symbolic import functions
from derive.verification.noise import Source, noisy
from derive.verification.rounding import BOUNDED

SIZES = {"N": 2, "D": 3, "K": 4}
ROWS = 2
STEP = 2.0**-100


def _program(shared: dict[str, Any], rowwise: dict[str, Any], *steps: Any) -> Program:
    """steps: (equation, shape of its result, whether it belongs to a row)."""
    arrays = [Array(n, _dims(shape), False) for n, shape in shared.items()]
    arrays += [Array(n, _dims(shape), True) for n, shape in rowwise.items()]
    equations: list[Equation] = []
    for equation, shape, per_row in steps:
        dims = _dims(shape)
        arrays.append(Array(equation.out, dims, per_row))
        equations.append(equation)
    inputs = (*shared, *rowwise)
    return check(Program(tuple(arrays), inputs, tuple(equations), (equations[-1].out,)))


def _dims(shape: str) -> tuple[str | int, ...]:
    return tuple(1 if dim == "1" else dim for dim in shape.split())


def _symbols(text: str) -> Any:
    return (functions.symbol(name) for name in text.split())


def _axes(out: str, left: str, right: str, subscripts: str) -> Matmul:
    return Matmul(out, left, right, Layout.AXES, subscripts)


def _matrix_memory() -> Program:
    """C' = f * C + outer(v, k); n = C' q; y = softmax-like of it: all kinds, rows with matrices."""
    f, C, vk, top, total, W, WT, g = _symbols("f C vk top total W WT g")
    return _program(
        {"W": "D D", "U": "N D K", "b": "N", "g": "1"},
        {"C": "N D K", "k": "N K", "v": "D", "f": "N"},
        (_axes("vk", "v", "k", "d,nk->ndk"), "N D K", True),
        (Map("C2", functions.sigmoid(f) * C + vk * g, (("f", (0,)),)), "N D K", True),
        (_axes("n", "C2", "k", "ndk,nk->nd"), "N D", True),
        (_axes("u", "U", "k", "ndk,nk->nd"), "N D", True),
        (Map("WT", W, (("W", (1, 0)),)), "D D", False),
        (Map("skew", W - WT * g), "D D", False),
        (_axes("m", "skew", "n", "de,ne->nd"), "N D", True),
        (Map("s", functions.tanh(functions.symbol("m") + functions.symbol("b")
                                 + functions.symbol("u")), (("b", (0,)),)), "N D", True),
        (Sum("top", "s", Over.MAX, (1,)), "N", True),
        (Map("e", functions.exp(functions.symbol("s") - top), (("top", (0,)),)), "N D", True),
        (Sum("run", "e", Over.CUMSUM, (0,)), "N D", True),
        (Sum("back", "run", Over.CUMSUM_BACK, (1,)), "N D", True),
        (Sum("total", "back", Over.SUM, (0,)), "D", True),
        (Map("scaled", C * total, (("total", (1,)),)), "N D K", True),
        (Sum("all", "scaled", Over.SUM, (0, 1, 2)), "1", True),
        (Map("y", functions.sin(functions.symbol("all")) + f), "N", True),
    )  # fmt: skip


PROGRAMS = {
    "matrix memory": _matrix_memory,
    "largest of a vector, with a tie": lambda: _program(
        {}, {"v": "D"},
        (Map("w", functions.maximum(functions.symbol("v"), functions.number("0"))), "D", True),
        (Sum("top", "v", Over.MAX), "1", True),
        (Map("y", functions.symbol("top") * functions.symbol("w")), "D", True),
    ),
    "running sum of a parameter": lambda: _program(
        {"b": "K"}, {"x": "K"},
        (Sum("c", "b", Over.CUMSUM, (0,)), "K", False),
        (Map("y", functions.tanh(functions.symbol("c")) * functions.symbol("x")), "K", True),
    ),
    "a matrix that is scaled on both sides": lambda: _program(
        {"W": "D D", "a": "D", "b": "D"}, {"x": "D"},
        (Map("L", functions.symbol("a") * functions.symbol("W"), (("a", (0,)),)), "D D", False),
        (Map("R", functions.symbol("L") * functions.symbol("b"), (("b", (1,)),)), "D D", False),
        (Map("RT", functions.symbol("R"), (("R", (1, 0)),)), "D D", False),
        (Map("S", functions.symbol("R") + functions.symbol("RT") ** 2), "D D", False),
        (Matmul("y", "S", "x", Layout.NORMAL), "D", True),
    ),
}  # fmt: skip


def _values(program: Program, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    table = program.table()
    return {name: random.normal(size=_shape(table[name])) for name in program.inputs}


def _shape(array: Array) -> tuple[int, ...]:
    lengths = tuple(SIZES[d] if isinstance(d, str) else d for d in array.shape)
    return (ROWS, *lengths) if array.per_row else lengths


def _run(program: Program, values: dict[str, Any]) -> dict[str, Any]:
    return interpret(program, values, rows=ROWS, sizes=SIZES)


def _slope(program: Program, values: dict[str, Any], along: dict[str, Any], of: str) -> Any:
    moved = {n: v + 1j * STEP * along[n] if n in along else v + 0j for n, v in values.items()}
    return np.imag(_run(program, moved)[of]) / STEP


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_modes_agree_with_a_complex_step(name: str) -> None:
    program = PROGRAMS[name]()
    values = _values(program, 1)
    (out,) = program.outputs
    along = _values(program, 2)
    want = _slope(program, values, along, out)

    pushed = forward(program)
    tangents = {tangent: along[array] for array, tangent in pushed.seeds}
    found = _run(pushed.program, {**values, **tangents})[pushed.name(out)]
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12)

    pulled = reverse(program)
    weight = np.random.default_rng(3).normal(size=want.shape)
    ((_, seed),) = pulled.seeds
    back = _run(pulled.program, {**values, seed: weight})
    inner = sum((back[pulled.name(n)] * along[n]).sum() for n in program.inputs)
    np.testing.assert_allclose(inner, (want * weight).sum(), rtol=1e-12)
    for array in program.inputs:
        assert back[pulled.name(array)].shape == values[array].shape


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_derivative_of_a_derivative_is_right(name: str) -> None:
    program = PROGRAMS[name]()
    pulled = reverse(program).program
    pushed = forward(pulled)
    values, along = _values(pulled, 4), _values(pulled, 5)
    tangents = {tangent: along[array] for array, tangent in pushed.seeds}
    found = _run(pushed.program, {**values, **tangents})
    for out in pulled.outputs:
        want = _slope(pulled, values, along, out)
        np.testing.assert_allclose(found[pushed.name(out)], want, rtol=1e-11, atol=1e-11)


def test_a_tie_shares_the_gradient() -> None:
    program = _program({}, {"v": "D"}, (Sum("y", "v", Over.MAX), "1", True))
    pulled = reverse(program)
    ((_, seed),) = pulled.seeds
    given = {"v": np.array([[2.0, 1.0, 2.0], [3.0, 0.0, 1.0]]), seed: np.ones((ROWS, 1))}
    found = _run(pulled.program, given)[pulled.name("v")]
    np.testing.assert_array_equal(found, [[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])


def test_it_computes_what_numpy_does() -> None:
    program = _matrix_memory()
    v = _values(program, 6)
    found = _run(program, v)
    C2 = v["C"] / (1 + np.exp(-v["f"]))[:, :, None, None]
    C2 = C2 + np.einsum("bd,bnk->bndk", v["v"], v["k"]) * v["g"]
    np.testing.assert_allclose(found["C2"], C2, rtol=1e-12)
    m = np.einsum("de,bne->bnd", v["W"] - v["W"].T * v["g"], np.einsum("bndk,bnk->bnd", C2, v["k"]))
    s = np.tanh(m + v["b"][:, None] + np.einsum("ndk,bnk->bnd", v["U"], v["k"]))
    run = np.cumsum(np.exp(s - s.max(axis=-1, keepdims=True)), axis=1)
    total = np.cumsum(run[..., ::-1], axis=-1)[..., ::-1].sum(axis=1)
    y = np.sin((v["C"] * total[:, None, :, None]).sum(axis=(1, 2, 3)))[:, None] + v["f"]
    np.testing.assert_allclose(found["y"], y, rtol=1e-13)


def test_numbers_that_carry_their_error_have_axes_too() -> None:
    program = _matrix_memory()
    values = _values(program, 7)
    want = _run(program, values)["y"]
    bounded = interpret(program, values, rows=ROWS, sizes=SIZES, algebra=BOUNDED)["y"]
    np.testing.assert_allclose(bounded.value, want, rtol=1e-12)
    assert (bounded.error > 0).all()
    noise = interpret(program, values, rows=ROWS, sizes=SIZES, algebra=noisy(Source(1)))["y"]
    assert noise.shape == want.shape
    np.testing.assert_allclose(noise.exact[0], want, rtol=1e-12)
    assert (noise.errors != 0).any()


@pytest.mark.parametrize("equation", [
    Map("y", functions.symbol("f") * functions.symbol("C")),
    Map("y", functions.symbol("f") * functions.symbol("C"), (("f", (1,)),)),
    Sum("y", "C", axes=(0,)),
    Sum("y", "C", Over.CUMSUM),
    _axes("y", "C", "f", "ndk,d->ndk"),
    _axes("y", "C", "f", "nnk,n->nnk"),
    _axes("y", "C", "f", "ndk,n->dk"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(equation: Equation) -> None:
    arrays = (Array("C", ("N", "D", "K"), True), Array("f", ("N",), True))
    out = ("N", "D") if isinstance(equation, Sum) else ("N", "D", "K")
    with pytest.raises(ProgramError):
        check(Program((*arrays, Array("y", out, True)), ("C", "f"), (equation,), ("y",)))
