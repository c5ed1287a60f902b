"""Numbers with a radius that holds what rounding and they themselves leave open: interval
arithmetic by midpoint and radius.

In: float64 arrays.  Out: `BALLS`, an algebra for `program.interpret` whose results contain the
exact ones.
Not here: what is proved with it (rank.py).

Each operation adds to the radius a bound on its own rounding; functions add 16 units of roundoff
of their value, far more than NumPy's are off, and the radius of their argument times the largest
slope they have. A comparison that the radius leaves open is `Open`: then nothing is proved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY, Algebra

#: A unit of roundoff, and what outweighs the rounding of the radius itself.
U, MORE, TINY = 2.0**-53, 1 + 2.0**-30, 1e-290
OF_FUNCTIONS = 16 * U


class Open(Exception):
    """The radius does not tell which side of a kink a number is on."""


class Ball:
    """Everything between mid - rad and mid + rad, elementwise."""

    __slots__ = ("mid", "rad")
    __array_ufunc__ = None

    def __init__(self, mid: Any, rad: Any = 0.0) -> None:
        self.mid = np.asarray(mid, dtype=np.float64)
        self.rad = np.broadcast_to(np.asarray(rad, dtype=np.float64), self.mid.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.mid.shape

    @property
    def T(self) -> Ball:
        return Ball(self.mid.T, self.rad.T)

    def __getitem__(self, key: Any) -> Ball:
        return Ball(self.mid[key], self.rad[key])

    def __add__(self, other: Any) -> Ball:
        other = lift(other)
        mid = self.mid + other.mid
        return Ball(mid, (self.rad + other.rad + U * abs(mid)) * MORE + TINY)

    def __mul__(self, other: Any) -> Ball:
        other = lift(other)
        mid = self.mid * other.mid
        rad = abs(self.mid) * other.rad + abs(other.mid) * self.rad + self.rad * other.rad
        return Ball(mid, (rad + U * abs(mid)) * MORE + TINY)

    __radd__ = __add__
    __rmul__ = __mul__


def lift(value: Any) -> Ball:
    return value if isinstance(value, Ball) else Ball(value)


def matmul(a: Any, b: Any) -> Ball:
    a, b = lift(a), lift(b)
    size, other = abs(a.mid), abs(b.mid)
    terms = a.shape[-1]
    own = np.matmul(size, other) * ((terms + 2) * U)
    rad = np.matmul(size, b.rad) + np.matmul(a.rad, other + b.rad)
    return Ball(np.matmul(a.mid, b.mid), (rad + own) * MORE + TINY)


def total(value: Ball, axis: int) -> Ball:
    terms = value.shape[axis]
    rad = value.rad.sum(axis=axis) + abs(value.mid).sum(axis=axis) * ((terms + 2) * U)
    return Ball(value.mid.sum(axis=axis), rad * MORE + TINY)


def _number(expr: functions.Expr) -> Ball:
    value = float(expr)
    return Ball(value, 2 * U * abs(value))


def _broadcast(value: Any, shape: tuple[int, ...]) -> Ball:
    value = lift(value)
    return Ball(np.broadcast_to(value.mid, shape), np.broadcast_to(value.rad, shape))


def _power(base: Any, exponent: functions.Expr) -> Ball:
    base = lift(base)
    if exponent.is_Integer and 0 < int(exponent) < 64:
        result: Ball = base
        for _ in range(int(exponent) - 1):
            result = result * base
        return result
    low, high = base.mid - base.rad, base.mid + base.rad
    if exponent.is_Integer:
        if np.any((low <= 0) & (high >= 0)):
            raise Open
        nearest = np.minimum(abs(low), abs(high))
    else:
        if np.any(low <= 0):
            raise Open
        nearest = low
    p = float(exponent)
    mid = NUMPY.power(base.mid, exponent)
    far = np.maximum(abs(low), abs(high))
    slope = abs(p) * np.maximum(nearest ** (p - 1), far ** (p - 1))
    return Ball(mid, (slope * base.rad * (1 + 1e-9) + OF_FUNCTIONS * abs(mid)) * MORE + TINY)


def _bounded(name: str, slope: float, cancels: bool) -> Callable[[Any], Ball]:
    """A function of one argument whose slope is nowhere more than `slope`.

    cancels: its usual formula subtracts, so it may be off by more than its own size.
    """
    plain = NUMPY.functions[name]

    def apply(value: Any) -> Ball:
        value = lift(value)
        mid = plain(value.mid)
        size = abs(mid) + abs(value.mid) + 1.0 if cancels else abs(mid)
        rad = slope * value.rad + OF_FUNCTIONS * size
        return Ball(mid, rad * MORE + TINY)

    return apply


def _growing(name: str, slope: Callable[[Any, Any], Any]) -> Callable[[Any], Ball]:
    """A function of any slope: slope(low, high) is the largest one between two numbers."""
    plain, above = NUMPY.functions[name], functions.RULES[name].above

    def apply(value: Any) -> Ball:
        value = lift(value)
        low, high = value.mid - value.rad, value.mid + value.rad
        if above is not None and np.any(low <= float(above)):
            raise Open
        mid = plain(value.mid)
        rad = slope(low, high) * (1 + 1e-9) * value.rad + OF_FUNCTIONS * (abs(mid) + 1)
        return Ball(mid, rad * MORE + TINY)

    return apply


def _sign(value: Any) -> Ball:
    value = lift(value)
    if np.any(abs(value.mid) <= value.rad):
        raise Open
    return Ball(np.sign(value.mid))


def _floor(value: Any) -> Ball:
    value = lift(value)
    low, high = np.floor(value.mid - value.rad), np.floor(value.mid + value.rad)
    if np.any(low != high):
        raise Open
    return Ball(low)


def _compare(relation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Ball]:
    def apply(a: Any, b: Any) -> Ball:
        a, b = lift(a), lift(b)
        if np.any(abs(a.mid - b.mid) <= (a.rad + b.rad) * MORE + U * abs(a.mid - b.mid)):
            raise Open
        return Ball(np.where(relation(a.mid, b.mid), 1.0, 0.0))

    return apply


def _where(condition: Any, chosen: Any, other: Any) -> Ball:
    condition, chosen, other = lift(condition), lift(chosen), lift(other)
    taken = condition.mid != 0
    return Ball(np.where(taken, chosen.mid, other.mid), np.where(taken, chosen.rad, other.rad))


def _either(name: str) -> Callable[[Any, Any], Ball]:
    plain = NUMPY.functions[name]

    def apply(a: Any, b: Any) -> Ball:
        a, b = lift(a), lift(b)
        return Ball(plain(a.mid, b.mid), np.maximum(*np.broadcast_arrays(a.rad, b.rad)))

    return apply


def _clip(value: Any, lo: Any, hi: Any) -> Ball:
    return _either("minimum")(_either("maximum")(value, lo), hi)


def _stopped(_: Any) -> Ball:
    raise Open  # its derivative is a convention


BALLS = Algebra(
    name="balls",
    array=lift,
    number=_number,
    power=_power,
    functions={
        **{
            name: _bounded(name, record.slope, record.cancels)
            for name, record in functions.RULES.items()
            if record.slope is not None
        },
        "exp": _growing("exp", lambda low, high: np.exp(high)),
        "expm1": _growing("expm1", lambda low, high: np.exp(high)),
        "log": _growing("log", lambda low, high: 1 / low),
        "log1p": _growing("log1p", lambda low, high: 1 / (1 + low)),
        "sign": _sign,
        "floor": _floor,
        "less": _compare(np.less),
        "less_equal": _compare(np.less_equal),
        "equal": _compare(np.equal),
        "not_equal": _compare(np.not_equal),
        "maximum": _either("maximum"),
        "minimum": _either("minimum"),
        "clip": _clip,
        "where": _where,
        "stop_gradient": _stopped,
    },
    sum=total,
    matmul=matmul,
    broadcast=_broadcast,
)
