"""What a gradient is on a kink: the table of the contract, tried out.

In: nothing; the functions are the same for every cell.  Out: rows.
Not here: kernels on kinks (kernels.py compares them with the Program at a point of zeros).

Each line is a Program of one equation, differentiated and interpreted at one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from derive.derivative import forward, reverse
from derive.program import Array, Layout, Map, Matmul, Program, Sum, check, interpret
from derive.symbolic import functions
from derive.symbolic.oracle import ORACLE
from derive.verification.report import Row, measured

A, B = functions.symbol("a"), functions.symbol("b")
LOW, HIGH = functions.number("-0.5"), functions.number("2")

_clip = functions.clip(A, LOW, HIGH)


def _unary_kinks() -> Iterator[tuple[str, Any, float, float, float, float]]:
    """Every kink of every function of one argument; the slope there is the oracle's."""
    for name, record in functions.RULES.items():
        slope_at = ORACLE[name].slope
        if slope_at is None or not record.public:
            continue
        for kink in record.kinks:
            at = 0.0 - float(kink(functions.ZERO))
            slope = float(slope_at(at))
            yield f"{name}'({at:g}) = {slope:g}", record.head(A), at, 0, slope, 0


#: (what it says, expression, a, b, expected slope by a, expected slope by b)
_TABLE: tuple[tuple[str, Any, float, float, float, float], ...] = (
    *_unary_kinks(),
    ("sign has gradient 0", functions.sign(A), 0, 0, 0, 0),
    ("floor has gradient 0", functions.floor(A), 2, 0, 0, 0),
    ("floor has gradient 0 in between", functions.floor(A), 2.5, 0, 0, 0),
    ("clip' = 1 on its lower bound", _clip, -0.5, 0, 1, 0),
    ("clip' = 1 on its upper bound", _clip, 2, 0, 1, 0),
    ("clip' = 0 below", _clip, -0.75, 0, 0, 0),
    ("clip' = 0 above", _clip, 2.25, 0, 0, 0),
    ("maximum shares a tie", functions.maximum(A, B), 1, 1, 0.5, 0.5),
    ("minimum shares a tie", functions.minimum(A, B), 1, 1, 0.5, 0.5),
    ("maximum takes the larger", functions.maximum(A, B), 2, 1, 1, 0),
    ("minimum takes the smaller", functions.minimum(A, B), 2, 1, 0, 1),
    ("a comparison has no gradient", functions.less(A, B), 1, 1, 0, 0),
    ("stop_gradient", functions.stop_gradient(A) * B, 3, 2, 0, 3),
    ("where takes the branch", functions.where(functions.less(A, B), 2 * A, 3 * B), 1, 2, 2, 0),
    ("where takes the other", functions.where(functions.less(A, B), 2 * A, 3 * B), 2, 1, 0, 3),
    (
        "where drops a NaN",
        functions.where(functions.less(functions.ZERO, A), functions.log(A), A), -1, 0, 1, 0,
    ),
    (
        "where drops an infinite slope",
        functions.where(functions.less(functions.ZERO, A), A ** functions.HALF, 2 * A), 0, 0, 2, 0,
    ),
)  # fmt: skip


def _vector(name: str) -> Array:
    return Array(name, (1,), per_row=True)


def _single(expr: Any) -> Program:
    names = ("a", "b")
    arrays = tuple(_vector(name) for name in (*names, "y"))
    return check(Program(arrays, names, (Map("y", expr),), ("y",)))


def _condition(then: str, other: str) -> Map:
    inside = functions.less(functions.ZERO, A)
    return Map("y", functions.where(inside, functions.symbol(then), functions.symbol(other)))


def _named() -> Program:
    """root = sqrt(a); y = where(0 < a, root, a): the branch not taken has a name."""
    root = Map("root", A**functions.HALF)
    arrays = tuple(_vector(name) for name in ("a", "b", "root", "y"))
    return check(Program(arrays, ("a", "b"), (root, _condition("root", "a")), ("y",)))


def _twice_named() -> Program:
    """The same through a product and a sum: the NaN is three equations away."""
    arrays = (
        *(_vector(name) for name in ("a", "b")),
        Array("M", (2, 1), per_row=False),
        _vector("root"),
        Array("product", (2,), per_row=True),
        *(_vector(name) for name in ("total", "y")),
    )
    equations = (
        Map("root", A**functions.HALF),
        Matmul("product", "M", "root", Layout.NORMAL),
        Sum("total", "product"),
        _condition("total", "a"),
    )
    return check(Program(arrays, ("a", "b", "M"), equations, ("y",)))


def check_conventions() -> list[Row]:
    rows = []
    for label, expr, a, b, d_a, d_b in _TABLE:
        rows.extend(_tried(label, _single(expr), a, b, d_a, d_b))
    for label, make in _NAMED.items():
        rows.extend(_tried(label, make(), -1, 0, 1, 0))
    return rows


_NAMED: dict[str, Callable[[], Program]] = {
    "where drops a NaN of a named array": _named,
    "where drops a NaN behind a product": _twice_named,
}


def _tried(label: str, program: Program, a: float, b: float, d_a: float, d_b: float) -> list[Row]:
    """Both modes; the worse of them is reported."""
    given: dict[str, Any] = {"a": [[a]], "b": [[b]], "M": [[1.5], [2.0]]}
    given = {name: np.array(given[name], dtype=float) for name in program.inputs}
    backward = reverse(program)
    ((_, seed),) = backward.seeds
    with np.errstate(all="ignore"):
        pulled = interpret(backward.program, {**given, seed: np.ones((1, 1))}, rows=1, sizes={})
        off = max(
            _distance(pulled[backward.name("a")], d_a), _distance(pulled[backward.name("b")], d_b)
        )
        pushing = forward(program)
        seeds = dict(pushing.seeds)
        for name, wanted in (("a", d_a), ("b", d_b)):
            along = {seeds[n]: np.full(given[n].shape, float(n == name)) for n in given}
            pushed = interpret(pushing.program, {**given, **along}, rows=1, sizes={})
            off = max(off, _distance(pushed[pushing.name("y")], wanted))
    allowed = 2.0**-51 * max(abs(d_a), abs(d_b))
    why = "0 where the slope is 0, else the rounding of the slope: conventions are exact"
    return [measured("kink", f"conventions: {label}", off, allowed, why)]


def _distance(got: Any, wanted: float) -> float:
    off = abs(float(np.asarray(got).reshape(-1)[0]) - wanted)
    return float("inf") if np.isnan(off) else off
