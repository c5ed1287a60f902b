"""Intervals: between which numbers a value lies, and what a function makes of that.

In: intervals, the name of a function of the closed set.  Out: an `Interval`, never too narrow.
Not here: intervals of arrays (recurrence/ranges.py) and of polynomials (comparison/polynomial/).

Ends are exact fractions, so that [0, 1] stays [0, 1] however often it is multiplied by itself.
The value of a function at an end is enclosed outwards. Values are real numbers: what rounding
adds is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import mpmath

from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import Expr, Range
from derive.symbolic.oracle import ORACLE

_ZERO, _ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True, slots=True)
class Interval:
    """From lo to hi; None is no bound. An open end is not reached."""

    lo: Fraction | None = None
    hi: Fraction | None = None
    lo_open: bool = False
    hi_open: bool = False

    def __post_init__(self) -> None:
        # No bound has no end that could be reached: one interval, one spelling.
        if self.lo is None and self.lo_open:
            object.__setattr__(self, "lo_open", False)
        if self.hi is None and self.hi_open:
            object.__setattr__(self, "hi_open", False)

    @property
    def positive(self) -> bool:
        return self.lo is not None and (self.lo > 0 or (self.lo == 0 and self.lo_open))

    @property
    def negative(self) -> bool:
        return self.turned().positive

    @property
    def not_positive(self) -> bool:
        return self.hi is not None and self.hi <= 0

    @property
    def from_zero(self) -> bool:
        """Whether no value is below 0."""
        return self.lo is not None and self.lo >= 0

    @property
    def bounded(self) -> bool:
        return self.lo is not None and self.hi is not None

    @property
    def has_zero(self) -> bool:
        return not (self.positive or self.negative)

    @property
    def size(self) -> Fraction | None:
        """The largest size of a value; None where there is none."""
        if self.lo is None or self.hi is None:
            return None
        return max(abs(self.lo), abs(self.hi))

    def turned(self) -> Interval:
        lo = None if self.hi is None else -self.hi
        hi = None if self.lo is None else -self.lo
        return Interval(lo, hi, self.hi_open, self.lo_open)

    def within(self, other: Interval) -> bool:
        """Whether every value lies in `other`."""
        return _above(self, other) and _above(self.turned(), other.turned())

    def __add__(self, other: Interval) -> Interval:
        lo = None if self.lo is None or other.lo is None else self.lo + other.lo
        hi = None if self.hi is None or other.hi is None else self.hi + other.hi
        return Interval(lo, hi, self.lo_open or other.lo_open, self.hi_open or other.hi_open)

    def times(self, c: Fraction) -> Interval:
        if not c:
            return Interval(_ZERO, _ZERO)
        own = self if c > 0 else self.turned()
        lo = None if own.lo is None else own.lo * abs(c)
        hi = None if own.hi is None else own.hi * abs(c)
        return Interval(lo, hi, own.lo_open, own.hi_open)

    def __mul__(self, other: Interval) -> Interval:
        lo, lo_open = _least_product(self, other)
        hi, hi_open = _least_product(self.turned(), other)
        return Interval(lo, None if hi is None else -hi, lo_open, hi_open)

    def inverse(self) -> Interval:
        """1 / value; the whole line where a value may be 0."""
        if self.positive:
            lo = _ZERO if self.hi is None else 1 / self.hi
            hi = 1 / self.lo if self.lo else None
            return Interval(lo, hi, self.hi is None or self.hi_open, self.lo_open)
        return self.turned().inverse().turned() if self.negative else Interval()

    def power(self, n: int) -> Interval:
        """value ** n, for a whole number n."""
        if n < 0:
            return self.inverse().power(-n)
        if n % 2 == 0 and not self.from_zero:
            if self.not_positive:
                return self.turned().power(n)
            low, high = self.lo, self.hi
            if low is None or high is None:
                return Interval(_ZERO)
            is_open = (self.lo_open or -low < high) and (self.hi_open or high < -low)
            return Interval(_ZERO, max(-low, high) ** n, False, is_open)
        lo = None if self.lo is None else self.lo**n
        hi = None if self.hi is None else self.hi**n
        return Interval(lo, hi, self.lo_open, self.hi_open)

    def shortened(self) -> Interval:
        """With ends of few digits, a little wider where they had many; without an end that no
        double is as large as."""
        lo = None if self.lo is None or self.lo < -_LARGE else _shorter(self.lo, up=False)
        hi = None if self.hi is None or self.hi > _LARGE else _shorter(self.hi, up=True)
        lo = None if lo is not None and lo > _LARGE else lo
        hi = None if hi is not None and hi < -_LARGE else hi
        lo_open = self.lo_open or lo != self.lo
        return Interval(lo, hi, lo_open, self.hi_open or hi != self.hi)


WHOLE = Interval()
ABOVE = Interval(_ZERO, None, True)
NOT_BELOW = Interval(_ZERO)


def point(value: Fraction | int) -> Interval:
    return Interval(Fraction(value), Fraction(value))


def hull(parts: Iterable[Interval]) -> Interval:
    """The smallest interval that holds them all."""
    parts = tuple(parts)
    lo, lo_open = _lowest(parts)
    hi, hi_open = _lowest([part.turned() for part in parts])
    return Interval(lo, None if hi is None else -hi, lo_open, hi_open)


def meet(a: Interval, b: Interval) -> Interval:
    """What lies in both; there is something, since both hold one value."""
    lo, lo_open = _higher((a.lo, a.lo_open), (b.lo, b.lo_open))
    a, b = a.turned(), b.turned()
    hi, hi_open = _higher((a.lo, a.lo_open), (b.lo, b.lo_open))
    return Interval(lo, None if hi is None else -hi, lo_open, hi_open)


_End = tuple[Fraction | None, bool]


def _higher(a: _End, b: _End) -> _End:
    if a[0] is None or b[0] is None:
        return b if a[0] is None else a
    if a[0] == b[0]:
        return a[0], a[1] or b[1]
    return max(a, b, key=lambda end: end[0] or _ZERO)


def _lowest(parts: Sequence[Interval]) -> _End:
    ends = [part.lo for part in parts if part.lo is not None]
    if len(ends) < len(parts):
        return None, False
    low = min(ends)
    return low, all(part.lo_open for part in parts if part.lo == low)


def _above(own: Interval, other: Interval) -> bool:
    if other.lo is None:
        return True
    if own.lo is None:
        return False
    return own.lo > other.lo or (own.lo == other.lo and (own.lo_open or not other.lo_open))


def _least_product(a: Interval, b: Interval) -> _End:
    """The lower end of a * b: of the products of ends, the least. 0 times no bound is 0: a value
    is a number, however large."""
    best: Fraction | None = None
    reached = False
    for end, out, sign in ((a.lo, a.lo_open, -1), (a.hi, a.hi_open, 1)):
        for other, out_too, other_sign in ((b.lo, b.lo_open, -1), (b.hi, b.hi_open, 1)):
            here = not (out or out_too)
            if end is None or other is None:
                ends = (sign if end is None else end) * (other_sign if other is None else other)
                if ends < 0:
                    return None, False
                if ends > 0:
                    continue
                value, here = _ZERO, False
            else:
                value = end * other
            # 0 is reached where one factor reaches it.
            here = here or (end == 0 and not out) or (other == 0 and not out_too)
            if best is None or value < best:
                best, reached = value, here
            elif value == best:
                reached = reached or here
    assert best is not None
    return best, not reached


_LONG = 160


def _shorter(value: Fraction, *, up: bool) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) <= _LONG:
        return value
    shift = 100 - (value.numerator.bit_length() - value.denominator.bit_length())
    scaled = value * Fraction(2) ** shift
    whole = -((-scaled.numerator) // scaled.denominator) if up else scaled.__floor__()
    return Fraction(whole) / Fraction(2) ** shift


# --- functions ------------------------------------------------------------------------------------


def of_range(values: Range) -> Interval:
    """What a record says of all its values."""
    low, high = (None if end is None else _fraction(end) for end in (values.low, values.high))
    return Interval(low, high, not values.reached, not values.reached)


def _fraction(end: Expr) -> Fraction:
    return Fraction(int(end.p), int(end.q))


#: Functions that compute no digits that are not there: exact at exact ends.
_EXACT: Mapping[str, Callable[[Fraction], Fraction]] = {
    "relu": lambda v: max(v, _ZERO),
    "leaky_relu": lambda v: v if v > 0 else v / 100,
    "hard_sigmoid": lambda v: min(max(v / 6 + Fraction(1, 2), _ZERO), _ONE),
    "hard_tanh": lambda v: min(max(v, -_ONE), _ONE),
    "softsign": lambda v: v / (1 + abs(v)),
    "floor": lambda v: Fraction(v.__floor__()),
    "sign": lambda v: Fraction((v > 0) - (v < 0)),
    "stop_gradient": lambda v: v,
}
#: Functions that fall to a lowest value and rise from there, below 0 on the left of 0 alone.
_DIPPING = ("silu", "gelu", "hard_swish")
#: Beyond this an end is as good as none.
_LARGE, _SMALL = Fraction(10) ** 300, Fraction(1, 10**300)


def image(name: str, args: Sequence[Interval]) -> Interval:
    """Between what f(v, ...) lies, of the closed set, where its arguments lie in `args`.

    Where an argument leaves the domain (log of a negative number), values outside it do not count.
    """
    if name in _OF_SEVERAL:
        return _OF_SEVERAL[name](*args)
    if len(args) != 1:
        return of_range(TABLE[name].range)
    (value,) = args
    everywhere = of_range(TABLE[name].range)
    if name == "abs":
        return _absolute(value)
    if name in _DIPPING:
        if value.from_zero:
            return Interval(_ZERO, None if value.hi is None else _enclosed(name, value.hi)[1])
        high = None if value.hi is None else max(_ZERO, _enclosed(name, value.hi)[1] or _ZERO)
        return meet(everywhere, Interval(None, high))
    if not TABLE[name].rises:
        return everywhere
    steps = name in _EXACT and name not in ("softsign", "leaky_relu", "stop_gradient")
    found = Interval(
        None if value.lo is None or _outside(name, value.lo) else _enclosed(name, value.lo)[0],
        None if value.hi is None or _outside(name, value.hi) else _enclosed(name, value.hi)[1],
        value.lo_open and not steps,
        value.hi_open and not steps,
    )
    return meet(everywhere, found)


def _absolute(value: Interval) -> Interval:
    if value.from_zero:
        return value
    if value.not_positive:
        return value.turned()
    both = hull([value, value.turned()])
    return Interval(_ZERO, both.hi, False, both.hi_open)


def _outside(name: str, end: Fraction) -> bool:
    above = TABLE[name].above
    return above is not None and end <= _fraction(above)


def _enclosed(name: str, end: Fraction) -> tuple[Fraction, Fraction | None]:
    """Two numbers between which f(end) lies; None: larger than any that counts."""
    if name in _EXACT:
        value = _EXACT[name](end)
        return value, value
    if end > 2000 and TABLE[name].explodes:
        return (_LARGE, None) if name in ("exp", "expm1") else (_ZERO, None)
    if end < -2000 and name == "exp":
        return _ZERO, _SMALL
    with mpmath.workdps(60):
        number = ORACLE[name].value(mpmath.mpf(end.numerator) / end.denominator)
        sign, mantissa, exponent, _ = number._mpf_
    value = Fraction(-mantissa if sign else mantissa) * Fraction(2) ** exponent
    if end == 0 and value in (_ZERO, _ONE, Fraction(1, 2)):
        return value, value
    room = abs(value) / 10**40
    return _shorter(value - room, up=False), _shorter(value + room, up=True)


def _chosen(condition: Interval, a: Interval, b: Interval) -> Interval:
    if condition.positive:
        return a
    return b if condition == point(0) else hull([a, b])


def _less(a: Interval, b: Interval) -> Interval:
    if a.hi is not None and b.lo is not None and (a.hi < b.lo or (a.hi == b.lo and a.hi_open)):
        return point(1)
    if a.lo is not None and b.hi is not None and a.lo >= b.hi:
        return point(0)
    return Interval(_ZERO, _ONE)


def _maximum(a: Interval, b: Interval) -> Interval:
    lo, lo_open = _higher((a.lo, a.lo_open), (b.lo, b.lo_open))
    upper = hull([a, b])
    return Interval(lo, upper.hi, lo_open, upper.hi_open)


def _minimum(a: Interval, b: Interval) -> Interval:
    return _maximum(a.turned(), b.turned()).turned()


_OF_SEVERAL: Mapping[str, Callable[..., Interval]] = {
    "where": _chosen,
    "less": _less,
    "maximum": _maximum,
    "minimum": _minimum,
    "clip": lambda v, low, high: _minimum(_maximum(v, low), high),
}


def root(value: Interval, exponent: Fraction) -> Interval:
    """value ** exponent where that is no whole number: values below 0 do not count."""
    lo = _ZERO if value.lo is None or value.lo < 0 else value.lo
    own = Interval(lo, value.hi, value.lo_open and lo == value.lo, value.hi_open)
    if exponent < 0:
        return root(own, -exponent).inverse() if own.positive else ABOVE
    ends = [None if end is None else _root_at(end, exponent) for end in (own.lo, own.hi)]
    low, high = ends
    return Interval(low[0] if low else None, high[1] if high else None, own.lo_open, own.hi_open)


def _root_at(end: Fraction, exponent: Fraction) -> tuple[Fraction, Fraction]:
    with mpmath.workdps(60):
        base = mpmath.mpf(end.numerator) / end.denominator
        number = mpmath.power(base, mpmath.mpf(exponent.numerator) / exponent.denominator)
        _, mantissa, power, _ = number._mpf_
    value = Fraction(mantissa) * Fraction(2) ** power
    near = value.limit_denominator(10**6)
    if near**exponent.denominator == end**exponent.numerator:
        return near, near
    room = value / 10**40
    return _shorter(value - room, up=False), _shorter(value + room, up=True)
