"""How far rounding alone may take a result: numbers that carry a bound on their own error.

In: any Program.  Out: `interpret(..., algebra=BOUNDED)` gives `Bounded` arrays: a float64 value
and a first-order bound on the rounding error of computing it, in units of roundoff u.
Not here: what the bound is compared with (report.py: SAFETY * u * bound).

This is Wilkinson's running error analysis. Every tolerance of `verify` on a rounded result is
derived with it, from u, the lengths of the sums and the conditioning of the very numbers at
hand, so none of them is guessed and none has to be loosened for a large or saturated cell.

| operation        | error of the result, in units of u                                   |
| ---------------- | -------------------------------------------------------------------- |
| number           | its own size, unless float32 holds it exactly                        |
| a + b            | err a + err b + the size of the sum, unless one of them is 0         |
| a b              | the product rule + the size of the product, unless one of them is 1  |
| sum of n terms   | their errors + growth(n) * the sum of their sizes, in any order      |
| f(a)             | the slope of f at a, by a complex step, * err a + 4 * the size of f  |
| where, compare   | the error of the branch taken; none (points.py keeps off the kinks)  |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import sympy

from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY, Algebra

#: Functions of a target may be this many units of roundoff wrong (2 ulp), by themselves.
FUNCTION_ERROR = 4.0
STEP = 2.0**-100


def growth(terms: int) -> float:
    """Units of roundoff that a sum of `terms` products may collect, in any order.

    `terms` bounds it always, 4 sqrt(terms) with overwhelming probability (Higham & Mary 2019,
    A new approach to probabilistic rounding error analysis).
    """
    return min(float(terms), 4.0 * math.sqrt(terms))


class Bounded:
    """An array and, elementwise, a bound on its rounding error in units of roundoff."""

    __slots__ = ("error", "value")
    __array_ufunc__ = None  # NumPy numbers on the left give way

    def __init__(self, value: Any, error: Any = None) -> None:
        self.value = np.asarray(value, dtype=np.float64)
        self.error = np.zeros(self.value.shape) if error is None else np.asarray(error)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def T(self) -> Bounded:
        return Bounded(self.value.T, self.error.T)

    def swapaxes(self, a: int, b: int) -> Bounded:
        return Bounded(self.value.swapaxes(a, b), self.error.swapaxes(a, b))

    def transpose(self, *axes: int) -> Bounded:
        return Bounded(self.value.transpose(axes), self.error.transpose(axes))

    def copy(self) -> Bounded:
        return Bounded(self.value.copy(), self.error.copy())

    def __getitem__(self, key: Any) -> Bounded:
        return Bounded(self.value[key], self.error[key])

    def __setitem__(self, key: Any, new: Bounded) -> None:
        self.value[key], self.error[key] = new.value, new.error

    def __add__(self, other: Any) -> Bounded:
        other = lift(other)
        value = self.value + other.value
        rounds = (self.value != 0) & (other.value != 0)
        return Bounded(value, self.error + other.error + np.where(rounds, abs(value), 0.0))

    def __mul__(self, other: Any) -> Bounded:
        other = lift(other)
        value = self.value * other.value
        error = _times(abs(self.value), other.error) + _times(abs(other.value), self.error)
        rounds = (abs(self.value) != 1) & (abs(other.value) != 1)
        return Bounded(value, error + np.where(rounds, abs(value), 0.0))

    __radd__ = __add__
    __rmul__ = __mul__


def lift(value: Any) -> Bounded:
    """`value` as a Bounded: exact, unless it is one already."""
    return value if isinstance(value, Bounded) else Bounded(value)


def _times(slope: Any, error: Any) -> Any:
    """slope * error, and 0 for an exact argument however steep the function is there."""
    return np.where(error == 0, 0.0, slope * error)


def _number(expr: functions.Expr) -> Bounded:
    value = float(expr)
    return Bounded(value, 0.0 if expr == sympy.Rational(float(np.float32(value))) else abs(value))


def _power(base: Any, exponent: functions.Expr) -> Bounded:
    base = lift(base)
    value = NUMPY.power(base.value, exponent)
    slope = float(exponent) * NUMPY.power(base.value, exponent - 1)
    return Bounded(value, _times(abs(slope), base.error) + FUNCTION_ERROR * abs(value))


def _sum(value: Bounded, axis: int) -> Bounded:
    length = value.shape[axis]
    size, error = (a.sum(axis=axis, keepdims=True) for a in (abs(value.value), value.error))
    return Bounded(value.value.sum(axis=axis, keepdims=True), error + growth(length) * size)


def _matmul(a: Any, b: Any) -> Bounded:
    a, b = lift(a), lift(b)
    size_a, size_b = abs(a.value), abs(b.value)
    error = np.dot(size_a, b.error + growth(size_a.shape[-1]) * size_b)
    if a.error.any():
        error = error + np.dot(a.error, size_b)
    return Bounded(np.dot(a.value, b.value), error)


def _broadcast(given: Any, shape: tuple[int, ...]) -> Bounded:
    value = lift(given)
    if value.shape == shape:
        return value
    return Bounded(np.broadcast_to(value.value, shape), np.broadcast_to(value.error, shape))


# --- functions ------------------------------------------------------------------------------


def _function(name: str) -> Callable[..., Bounded]:
    plain = NUMPY.functions[name]

    def apply(*given: Any) -> Bounded:
        args = [lift(arg) for arg in given]
        values = [arg.value for arg in args]
        value = plain(*values)
        size = abs(value)
        if (inner := functions.RULES[name].rounding) is not None:
            size = np.maximum(size, inner(NUMPY.functions, *values))
        error = FUNCTION_ERROR * size
        for k, arg in enumerate(args):
            if arg.error.any():
                # minimum(v, v) takes the argument whose imaginary part is less.
                steps = (1j * STEP, -1j * STEP) if len(args) > 1 else (1j * STEP,)
                slopes = [
                    abs(np.imag(plain(*(v + step if k == i else v for i, v in enumerate(values)))))
                    for step in steps
                ]
                error = error + _times(np.maximum.reduce(slopes) / STEP, arg.error)
        return Bounded(value, error)

    return apply


def _where(condition: Any, chosen: Any, other: Any) -> Bounded:
    condition, chosen, other = lift(condition), lift(chosen), lift(other)
    taken = condition.value != 0
    return Bounded(
        np.where(taken, chosen.value, other.value), np.where(taken, chosen.error, other.error)
    )


def _gated(d: Any, p: Any) -> Bounded:
    product = lift(d) * p
    dead = lift(d).value == 0
    return Bounded(
        np.where(dead, 0.0, product.value),
        np.where(dead & ~np.isfinite(product.error), 0.0, product.error),
    )


def _exactly(name: str) -> Callable[..., Bounded]:
    plain = NUMPY.functions[name]
    return lambda *args: Bounded(plain(*(lift(arg).value for arg in args)))


_COMPARISONS = ("less", "less_equal", "equal", "not_equal")


def _all(names: Iterable[str]) -> dict[str, Callable[..., Any]]:
    functions: dict[str, Callable[..., Any]] = {name: _function(name) for name in names}
    functions |= {name: _exactly(name) for name in (*_COMPARISONS, "sign", "floor")}
    functions |= {"where": _where, "gated": _gated, "stop_gradient": lift}
    return functions


BOUNDED = Algebra(
    name="bounded",
    array=lift,
    number=_number,
    power=_power,
    functions=_all(NUMPY.functions),
    sum=_sum,
    matmul=_matmul,
    broadcast=_broadcast,
)
