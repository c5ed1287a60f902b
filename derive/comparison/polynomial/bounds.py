"""Bounds on a polynomial that hold for all values of its arrays.

In: a polynomial.  Out: an `Interval`, often the whole line.
Not here: what follows from it (piecewise.py), intervals themselves (symbolic/interval.py).

tanh and erf stay inside (-1, 1), sin and cos within [-1, 1], exp above 0, what chooses within
[0, 1], an even power at or above 0. Terms are taken to vary by themselves, so an interval may be
wider than need be and is never too narrow.
"""

from __future__ import annotations

from fractions import Fraction

from derive.comparison.polynomial.terms import Atom, Poly
from derive.symbolic.closed_set import TABLE
from derive.symbolic.interval import ABOVE, NOT_BELOW, Interval, of_range

_ONE = Fraction(1)
#: Of higher powers the sign alone is told: their ends have too many digits.
HIGHEST = 64


_FUNCTIONS = {
    **{name: of_range(record.range) for name, record in TABLE.items()},
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
    if abs(n) > HIGHEST:
        return NOT_BELOW if n % 2 == 0 else Interval()
    return _atom(atom).power(n)


def _atom(atom: Atom) -> Interval:
    if atom.kind in ("exp", "size"):
        return ABOVE
    if atom.kind == "power":
        return _root(atom)
    if atom.kind == "sum":
        inner = bounds(atom.args[0])
        return NOT_BELOW if inner.from_zero else Interval()
    if atom.kind == "function":
        return _FUNCTIONS.get(atom.name, Interval())
    return Interval()


def _root(atom: Atom) -> Interval:
    exponent = Fraction(atom.name) if "/" in atom.name or atom.name.lstrip("-").isdigit() else None
    if exponent is None:
        return Interval()
    inner = bounds(atom.args[0])
    if inner.positive:
        return ABOVE
    if exponent.denominator != 1:  # a number only where the base is at or above 0
        return ABOVE if exponent < 0 else NOT_BELOW
    return NOT_BELOW if exponent.numerator % 2 == 0 else Interval()
