"""Where a cell has kinks and jumps, and how far a point keeps off them.

In: a Step and a Point.  Out: for every kink of every elementwise equation, the smallest
distance of its argument.
Not here: what the gradient is on a kink (conventions.py), choosing other points (points.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from derive.program import Map, Program, Step
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY
from derive.verification.reference import Point, Result, run
from derive.verification.report import SAFETY
from derive.verification.rounding import BOUNDED


@dataclass(frozen=True, slots=True)
class Kink:
    """`distance` is 0 on the kink; for `floor` it is the argument, and every integer is one."""

    equation: str
    function: str
    distance: functions.Expr


def kinks_of(program: Program) -> tuple[Kink, ...]:
    found: dict[Kink, None] = {}
    for equation in program.equations:
        if not isinstance(equation, Map):
            continue
        for node in sympy.preorder_traversal(equation.expr):
            name = functions.NAME_OF_HEAD.get(node.func) if node.is_Function else None
            if name is not None:
                for distance in functions.RULES[name].kinks:
                    found.setdefault(Kink(equation.out, name, distance(*node.args)))
    return tuple(found)


def constants(kinks: Iterable[Kink]) -> tuple[float, ...]:
    """Numbers that arguments are compared with, of either sign."""
    found: dict[float, None] = {}
    for kink in kinks:
        for number in sorted(kink.distance.atoms(sympy.Number), key=float):
            if 0 < abs(number) < 1e6:
                found.update({float(number): None, -float(number): None})
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Closeness:
    """clearance: the smallest distance in units of what rounding (of unit 1) may move it by;
    a target of roundoff u is on the right side of every kink if clearance > u.
    exact: equations that sit exactly on a kink; unsure: whether one of them does so by rounding.
    """

    clearance: float
    exact: tuple[str, ...]
    unsure: bool


def closeness(kinks: Iterable[Kink], point: Point, bounded: Result) -> Closeness:
    """bounded: the run of the point in BOUNDED numbers."""
    clearance = np.inf
    exact: dict[str, None] = {}
    unsure = False
    for kink in kinks:
        for moment in bounded.moments:
            at = BOUNDED.evaluate(kink.distance, moment.values, point.sizes)
            at = BOUNDED.array(at)
            value, error = at.value, at.error
            if kink.function == "floor":
                value = value - np.round(value)
            if np.any(value == 0):
                exact.setdefault(kink.equation)
                unsure = unsure or bool(np.any((value == 0) & (error > 0)))
            moving = (value != 0) & np.isfinite(value)
            if np.any(moving):
                room = abs(value[moving]) / (SAFETY * error[moving] + 1e-300)
                clearance = min(clearance, float(np.min(room)))
    return Closeness(clearance, tuple(exact), unsure)


def branches(kinks: Iterable[Kink], step: Step, point: Point) -> list[Any]:
    """The side of every kink each element lies on: equal lists, no kink in between."""
    result = run(step, point)
    sides = []
    for kink in kinks:
        for moment in result.moments:
            at = np.asarray(NUMPY.evaluate(kink.distance, moment.values, point.sizes))
            sides.append(np.floor(at) if kink.function == "floor" else np.sign(at))
    return sides
