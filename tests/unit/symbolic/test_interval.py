"""Intervals hold every value: of arithmetic, of every function of the closed set, at their ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import mpmath
import pytest

from derive.symbolic.closed_set import TABLE
from derive.symbolic.interval import (
    ABOVE,
    WHOLE,
    Interval,
    hull,
    image,
    meet,
    point,
    root,
)
from derive.symbolic.oracle import ORACLE

HALF = Fraction(1, 2)
ENDS = [None, *map(Fraction, ("-7", "-1", "-1/3", "0", "1/8", "1", "5/2", "40"))]


def some(draw: random.Random) -> Interval:
    """An interval with something in it."""
    while True:
        lo, hi = draw.choice(ENDS), draw.choice(ENDS)
        opened = draw.random() < 0.5, draw.random() < 0.5
        if lo is None or hi is None or lo < hi:
            return Interval(lo, hi, opened[0] and lo is not None, opened[1] and hi is not None)
        if lo == hi:
            return Interval(lo, hi)


def inner(draw: random.Random, interval: Interval) -> Fraction:
    """A number of an interval, often near an end or on it."""
    low = interval.lo if interval.lo is not None else min(Fraction(-60), (interval.hi or 0) - 60)
    high = interval.hi if interval.hi is not None else max(Fraction(60), (interval.lo or 0) + 60)
    shares = [Fraction(1, 10**6), HALF, Fraction(2, 7), 1 - Fraction(1, 10**6)]
    shares += [Fraction(0)] * (interval.lo is None or not interval.lo_open)
    shares += [Fraction(1)] * (interval.hi is None or not interval.hi_open)
    share = draw.choice(shares)
    return low + share * (high - low)


def holds(interval: Interval, value: Fraction) -> bool:
    return point(value).within(interval)


ARITHMETIC: dict[str, tuple[Callable[..., Interval], Callable[..., Fraction]]] = {
    "sum": (lambda a, b: a + b, lambda a, b: a + b),
    "product": (lambda a, b: a * b, lambda a, b: a * b),
    "multiple": (lambda a, b: a.times(Fraction(-3, 2)), lambda a, b: a * Fraction(-3, 2)),
    "square": (lambda a, b: a.power(2), lambda a, b: a**2),
    "cube": (lambda a, b: a.power(3), lambda a, b: a**3),
    "minus": (lambda a, b: a.turned(), lambda a, b: -a),
    "hull": (lambda a, b: hull([a, b]), lambda a, b: b),
    "shortened": (lambda a, b: a.times(Fraction(1, 3**200)).shortened(), lambda a, b: a / 3**200),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_keeps_every_value(name: str) -> None:
    draw = random.Random(name)
    of_intervals, of_values = ARITHMETIC[name]
    for _ in range(400):
        a, b = some(draw), some(draw)
        value = of_values(inner(draw, a), inner(draw, b))
        assert holds(of_intervals(a, b), value), (a, b, value)


def test_a_quotient_keeps_every_value() -> None:
    draw = random.Random(3)
    for _ in range(400):
        a = some(draw)
        value = inner(draw, a)
        if value:
            assert holds(a.inverse(), 1 / value), (a, value)
            assert holds(a.power(-2), 1 / value**2), (a, value)


def test_ends_are_as_near_as_they_can_be() -> None:
    gate = Interval(Fraction(0), Fraction(1), True, True)
    value = Interval(Fraction(-2), Fraction(3))
    assert gate * value == Interval(Fraction(-2), Fraction(3), True, True)
    assert gate.inverse() == Interval(Fraction(1), None, True)
    assert value.power(2) == Interval(Fraction(0), Fraction(9))
    assert (ABOVE * ABOVE).positive and not (ABOVE + value).positive
    assert point(0) * WHOLE == point(0)
    assert meet(gate, Interval(HALF)) == Interval(HALF, Fraction(1), False, True)
    assert gate.within(Interval(Fraction(0), Fraction(1)))
    assert not Interval(Fraction(0), Fraction(1)).within(gate) and not WHOLE.within(ABOVE)


def test_an_end_that_no_double_is_as_large_as_is_none() -> None:
    far = Fraction(10) ** 400
    assert Interval(-far, far).shortened() == WHOLE
    assert Interval(far, far * 2).shortened() == WHOLE
    assert image("exp", [Interval(Fraction(0), Fraction(1000))]).hi is not None


@pytest.mark.parametrize("name", [name for name in TABLE if name != "sqrt"])
def test_the_image_of_a_function_keeps_every_value(name: str) -> None:
    record, draw = TABLE[name], random.Random(name)
    for _ in range(60):
        args = [some(draw) for _ in range(record.arity)]
        if name == "clip":
            args[1:] = [point(-1), point(HALF)]
        values = [inner(draw, arg) for arg in args]
        if record.above is not None and values[0] <= int(record.above):
            continue
        with mpmath.workdps(60):
            numbers = [mpmath.mpf(v.numerator) / v.denominator for v in values]
            result = ORACLE[name].value(*numbers)
            sign, mantissa, exponent, _ = mpmath.mpf(result)._mpf_
        exact = Fraction(-mantissa if sign else mantissa) * Fraction(2) ** exponent
        found = image(name, args)
        # The oracle rounds to 60 digits.
        room = abs(exact) / 10**45
        low = None if found.lo is None else found.lo - room
        high = None if found.hi is None else found.hi + room
        assert holds(Interval(low, high), exact), (name, args, values)


@pytest.mark.parametrize("exponent", ["1/2", "-1/2", "3/2", "1/3"])
def test_a_root_keeps_every_value(exponent: str) -> None:
    draw = random.Random(exponent)
    for _ in range(60):
        a = some(draw)
        value = inner(draw, a)
        if value > 0:
            result = float(value) ** float(Fraction(exponent))
            found = root(a, Fraction(exponent))
            assert found.lo is None or float(found.lo) <= result * (1 + 1e-12)
            assert found.hi is None or float(found.hi) >= result * (1 - 1e-12)
    assert root(Interval(Fraction(4), Fraction(9)), HALF) == Interval(Fraction(2), Fraction(3))


@pytest.mark.parametrize("name", [n for n, r in TABLE.items() if r.arity == 1])
def test_a_function_that_rises_never_falls(name: str) -> None:
    places = [mpmath.mpf(k) / 7 for k in range(-210, 211)]
    above = -mpmath.inf if name not in ("log", "log1p", "sqrt") else {"log1p": -1}.get(name, 0)
    values = [ORACLE[name].value(v) for v in places if v > above]
    rises = all(a <= b for a, b in pairwise(values))
    assert rises == (TABLE[name].rises)


def test_intervals_of_known_functions() -> None:
    unit = Interval(Fraction(-1), Fraction(1))
    assert image("sigmoid", [WHOLE]) == Interval(Fraction(0), Fraction(1), True, True)
    assert image("tanh", [point(0)]) == point(0)
    assert image("exp", [Interval(None, Fraction(0))]) == Interval(Fraction(0), Fraction(1), True)
    assert image("relu", [unit]) == Interval(Fraction(0), Fraction(1))
    assert image("abs", [Interval(Fraction(-3), Fraction(2))]) == Interval(Fraction(0), Fraction(3))
    assert image("maximum", [unit, point(HALF)]) == Interval(HALF, Fraction(1))
    assert image("where", [image("less", [point(0), point(1)]), unit, WHOLE]) == unit
