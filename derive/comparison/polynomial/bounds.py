"""Bounds on a polynomial that hold for all values of its arrays.

In: a polynomial.  Out: an `Interval`, often the whole line.
Not here: what follows from it (piecewise.py).

tanh and erf stay inside (-1, 1), sin and cos within [-1, 1], exp above 0, what chooses within
[0, 1], an even power at or above 0. Terms are taken to vary by themselves, so an interval may be
wider than need be and is never too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from derive.comparison.polynomial.terms import Atom, Poly
from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import Range


@dataclass(frozen=True, slots=True)
class Interval:
    """From lo to hi; None is no bound. An open end is not reached."""

    lo: Fraction | None = None
    hi: Fraction | None = None
    lo_open: bool = False
    hi_open: bool = False

    @property
    def positive(self) -> bool:
        return self.lo is not None and (self.lo > 0 or (self.lo == 0 and self.lo_open))

    @property
    def negative(self) -> bool:
        return self.turned().positive

    @property
    def not_positive(self) -> bool:
        return self.hi is not None and self.hi <= 0

    def turned(self) -> Interval:
        lo = None if self.hi is None else -self.hi
        hi = None if self.lo is None else -self.lo
        return Interval(lo, hi, self.hi_open, self.lo_open)

    def __add__(self, other: Interval) -> Interval:
        lo = None if self.lo is None or other.lo is None else self.lo + other.lo
        hi = None if self.hi is None or other.hi is None else self.hi + other.hi
        return Interval(lo, hi, self.lo_open or other.lo_open, self.hi_open or other.hi_open)

    def times(self, c: Fraction) -> Interval:
        own = self if c > 0 else self.turned()
        lo = None if own.lo is None else own.lo * abs(c)
        hi = None if own.hi is None else own.hi * abs(c)
        return Interval(lo, hi, own.lo_open, own.hi_open)

    def __mul__(self, other: Interval) -> Interval:
        """Exact ends only where neither end is infinite, or both are at or above 0."""
        if self._from_zero and other._from_zero:
            lo = (self.lo or Fraction(0)) * (other.lo or Fraction(0))
            strict = self.positive and other.positive
            hi = None if self.hi is None or other.hi is None else self.hi * other.hi
            return Interval(lo, hi, lo == 0 and strict, self.hi_open or other.hi_open)
        if self.hi is not None and self.hi <= 0:
            return (self.turned() * other).turned()
        if other.hi is not None and other.hi <= 0:
            return (self * other.turned()).turned()
        if self.lo is None or self.hi is None or other.lo is None or other.hi is None:
            return Interval()
        ends = [
            (a * b, a_open or b_open)
            for a, a_open in ((self.lo, self.lo_open), (self.hi, self.hi_open))
            for b, b_open in ((other.lo, other.lo_open), (other.hi, other.hi_open))
        ]
        lo, hi = min(end for end, _ in ends), max(end for end, _ in ends)
        # An end is reached if any product that gives it is. A product of 0 is reached if the 0 is.
        return Interval(
            lo,
            hi,
            lo != 0 and all(is_open for end, is_open in ends if end == lo),
            hi != 0 and all(is_open for end, is_open in ends if end == hi),
        )

    @property
    def _from_zero(self) -> bool:
        return self.lo is not None and self.lo >= 0


_ONE = Fraction(1)


def _of(values: Range) -> Interval:
    low, high = (
        None if end is None else Fraction(int(end.p), int(end.q))
        for end in (values.low, values.high)
    )
    return Interval(low, high, not values.reached, not values.reached)


ABOVE = Interval(Fraction(0), None, True)
NOT_BELOW = Interval(Fraction(0))
_FUNCTIONS = {
    **{name: _of(record.range) for name, record in TABLE.items()},
    "positive": Interval(Fraction(0), _ONE),
    "zero": Interval(Fraction(0), _ONE),
    "lncosh": Interval(Fraction(69, 100)),  # log(2 cosh u) is at least log 2
}


def bounds(value: Poly) -> Interval:
    total = Interval(Fraction(0), Fraction(0))
    for mono, c in value.terms.items():
        part = Interval(_ONE, _ONE)
        for atom, n in mono:
            part = part * _power(atom, n)
        total = total + part.times(c)
        if total.lo is None and total.hi is None:
            break
    return total


def _power(atom: Atom, n: int) -> Interval:
    own = _atom(atom)
    if n < 0:
        if own.positive and not own.lo:
            return ABOVE
        if own.positive and own.lo is not None:
            hi = (1 / own.lo) ** -n
            lo = Fraction(0) if own.hi is None else (1 / own.hi) ** -n
            return Interval(lo, hi, own.hi is None or own.hi_open, own.lo_open)
        return NOT_BELOW if n % 2 == 0 else Interval()
    if n % 2 == 0 and not own._from_zero:
        size = None
        if own.lo is not None and own.hi is not None:
            size = max(abs(own.lo), abs(own.hi)) ** n
        is_open = own.lo_open and own.hi_open
        return Interval(Fraction(0), size, False, is_open)
    result = own
    for _ in range(min(n, 64) - 1):
        result = result * own
    return result if n <= 64 else Interval()


def _atom(atom: Atom) -> Interval:
    if atom.kind in ("exp", "size"):
        return ABOVE
    if atom.kind == "power":
        return _root(atom)
    if atom.kind == "sum":
        inner = bounds(atom.args[0])
        return NOT_BELOW if inner._from_zero else Interval()
    if atom.kind == "function":
        return _FUNCTIONS.get(atom.name, Interval())
    return Interval()


def _root(atom: Atom) -> Interval:
    exponent = Fraction(atom.name) if "/" in atom.name or atom.name.lstrip("-").isdigit() else None
    if exponent is None:
        return Interval()
    inner = bounds(atom.args[0])
    if exponent.denominator != 1:  # a number only where the base is at or above 0
        return ABOVE if exponent < 0 else NOT_BELOW
    if inner.positive:
        return ABOVE
    return NOT_BELOW if exponent.numerator % 2 == 0 else Interval()
