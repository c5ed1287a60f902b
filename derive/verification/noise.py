"""How far rounding takes a result in practice: the same Program, with every rounding drawn.

In: any Program.  Out: `interpret(..., algebra=noisy(Source(seed)))` gives `Noisy` arrays: a run
without errors and, side by side with it, `SAMPLES` runs in each of which every operation is off by
a random error of its own.
Not here: what the spread is compared with (paths.py).

This is Monte Carlo arithmetic (Parker 1997, Monte Carlo arithmetic: exploiting randomness in
floating-point arithmetic, UCLA CSD-970002). rounding.py bounds what rounding may do at worst, and
in a long sequence that bound grows without end while the errors do not: they have either sign.
What they do to a mean over an array is smaller still. The spread of the samples shows both.

The errors drawn are normal, with these deviations in units of `UNIT`, which stands for the unit
roundoff and is so small that results move in proportion:

| operation        | deviation                                                            |
| ---------------- | -------------------------------------------------------------------- |
| number           | its own size, unless float32 holds it exactly                        |
| a + b, a b       | the size of the result                                               |
| sum of n terms   | sqrt(n) times the larger of the sum and the root of the sum of squares |
| f(a)             | 2 times the size of f: functions of a target may be 2 ulp off        |

An operation of a kernel is off by at most one unit, by a third of one on average, so these are too
large by a factor of about two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY, Algebra
from derive.verification.points import Random
from derive.verification.rounding import FUNCTION_ERROR

SAMPLES = 6
UNIT = 2.0**-40


#: Errors drawn at once; they are used in turn.
_DRAWN = 1 << 17


class Source:
    """Random errors, from a seed. `largest`: about the largest finite number that had one."""

    def __init__(self, *seed: int) -> None:
        self._bits = Random(*seed).bits
        self._errors = UNIT * self._bits.standard_normal(_DRAWN)
        self._next = 0
        self._squares = 0.0

    @property
    def largest(self) -> float:
        return math.sqrt(self._squares)

    def saw(self, value: Any) -> None:
        flat = value.reshape(-1)
        squares = float(flat @ flat)
        if self._squares < squares < math.inf:
            self._squares = squares

    def spread(self, value: Any, deviation: Any) -> Any:
        """`value` with an error in each of its elements, but for those of the first run."""
        count = value.size
        begin = self._next
        if begin + count > _DRAWN:
            begin = int(self._bits.random() * (max(0, _DRAWN - count) + 1))
        self._next = begin + count
        self.saw(value)
        errors = self._errors[begin : begin + count]
        if count > _DRAWN:
            errors = np.resize(self._errors, count)
        noise = deviation * errors.reshape(value.shape)
        noise[:, 0] = 0.0
        return value + noise


class Noisy:
    """An array once without errors and once for each sample: `value` is [parts, 1 + SAMPLES, ...].

    Parts are whole computations side by side, such as a backward pass for each of several
    cotangents; what all of them share has one.
    """

    __slots__ = ("source", "value")
    __array_ufunc__ = None  # NumPy numbers on the left give way

    def __init__(self, value: Any, source: Source) -> None:
        self.value = value
        self.source = source

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape[2:])

    @property
    def T(self) -> Noisy:
        return Noisy(np.swapaxes(self.value, -1, -2), self.source)

    def swapaxes(self, a: int, b: int) -> Noisy:
        """Axes counted from the last."""
        return Noisy(self.value.swapaxes(a, b), self.source)

    def transpose(self, *axes: int) -> Noisy:
        return Noisy(self.value.transpose(0, 1, *(axis + 2 for axis in axes)), self.source)

    @property
    def exact(self) -> Any:
        """[parts, ...]: without errors."""
        return self.value[:, 0]

    @property
    def errors(self) -> Any:
        """[parts, SAMPLES, ...]: what the roundings did, in units of roundoff."""
        return (self.value[:, 1:] - self.value[:, :1]) / UNIT

    def copy(self) -> Noisy:
        return Noisy(self.value.copy(), self.source)

    def __getitem__(self, key: Any) -> Noisy:
        return Noisy(self.value[_behind_runs(key)], self.source)

    def __setitem__(self, key: Any, new: Noisy) -> None:
        if len(new.value) > len(self.value):  # what had been the same in all parts is no longer
            self.value = np.repeat(self.value, len(new.value), axis=0)
        self.value[_behind_runs(key)] = new.value

    def __add__(self, other: Noisy) -> Noisy:
        a, b = _aligned(self.value, other.value)
        total = a + b
        return Noisy(self.source.spread(total, total), self.source)

    def __mul__(self, other: Noisy) -> Noisy:
        a, b = _aligned(self.value, other.value)
        product = a * b
        return Noisy(self.source.spread(product, product), self.source)


def _behind_runs(key: Any) -> tuple[Any, ...]:
    return (slice(None), slice(None), *(key if isinstance(key, tuple) else (key,)))


def _aligned(*arrays: Any) -> list[Any]:
    """Arrays [parts, runs, ...] that broadcast as those behind the runs do."""
    ranks = {array.ndim for array in arrays}
    if len(ranks) == 1:
        return list(arrays)
    rank = max(ranks)
    return [a.reshape(*a.shape[:2], *(1,) * (rank - a.ndim), *a.shape[2:]) for a in arrays]


def alike(parts: Any, source: Source) -> Noisy:
    """An array for each part, the same in all of its runs."""
    parts = np.asarray(parts, dtype=np.float64)
    return Noisy(np.repeat(parts[:, np.newaxis], 1 + SAMPLES, axis=1), source)


def noisy(source: Source) -> Algebra:
    """Numbers whose errors come from `source`."""

    def array(value: Any) -> Noisy:
        if isinstance(value, Noisy):
            return value
        return alike(np.asarray(value)[np.newaxis], source)

    numbers: dict[functions.Expr, Noisy] = {}

    def number(expr: functions.Expr) -> Noisy:
        """A constant is rounded once, so its error is the same wherever it stands."""
        if expr not in numbers:
            numbers[expr] = rounded(expr)
        return numbers[expr]

    def rounded(expr: functions.Expr) -> Noisy:
        value = float(expr)
        exact = expr == sympy.Rational(float(np.float32(value)))
        whole = np.full((1, 1 + SAMPLES), value)
        return Noisy(whole if exact else source.spread(whole, abs(value)), source)

    def power(base: Noisy, exponent: functions.Expr) -> Noisy:
        value = NUMPY.power(base.value, exponent)
        source.saw(NUMPY.power(base.value, abs(exponent)))  # before it is inverted
        return Noisy(source.spread(value, FUNCTION_ERROR / 2 * abs(value)), source)

    def total(value: Noisy, axis: int) -> Noisy:
        axis = axis + 2 if axis >= 0 else axis
        terms = value.value
        result = terms.sum(axis=axis, keepdims=True)
        squares = (terms * terms).sum(axis=axis, keepdims=True)
        return Noisy(_spread_sum(result, squares, terms.shape[axis], source), source)

    def matmul(a: Noisy, b: Noisy) -> Noisy:
        left, right = a.value, b.value
        if left.ndim == 3:  # a vector that all rows share
            left = left[:, :, np.newaxis]
        result, squares = np.matmul(left, right), np.matmul(left**2, right**2)
        found = _spread_sum(result, squares, left.shape[-1], source)
        return Noisy(found[:, :, 0] if a.value.ndim == 3 else found, source)

    def broadcast(given: Noisy, shape: tuple[int, ...]) -> Noisy:
        if given.shape == shape:
            return given
        whole = given.value
        before = whole.shape[:2]
        whole = whole.reshape(*before, *(1,) * (len(shape) + 2 - whole.ndim), *given.shape)
        return Noisy(np.broadcast_to(whole, (*before, *shape)), source)

    functions: dict[str, Callable[..., Any]] = {n: _function(n, source) for n in NUMPY.functions}
    return Algebra("noisy", array, number, power, functions, total, matmul, broadcast)


def _spread_sum(result: Any, squares: Any, terms: int, source: Source) -> Any:
    if terms < 2:
        return source.spread(result, abs(result))
    size = np.maximum(abs(result), np.sqrt(squares))
    return source.spread(result, math.sqrt(terms) * size)


def _function(name: str, source: Source) -> Callable[..., Noisy]:
    plain = NUMPY.functions[name]

    def apply(*given: Noisy) -> Noisy:
        args = _aligned(*(arg.value for arg in given))
        value = plain(*args)
        if functions.RULES[name].exact:
            return Noisy(value, source)
        size = abs(value)
        if (inner := functions.RULES[name].rounding) is not None:
            size = np.maximum(size, inner(NUMPY.functions, *args))
        deviation = 1.0 if name == "gated" else FUNCTION_ERROR / 2
        return Noisy(source.spread(value, deviation * size), source)

    return apply
