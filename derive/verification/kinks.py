"""Where a cell has kinks and jumps, and how far a point keeps off them.

In: a Step and a Point.  Out: for every kink of every elementwise equation, the smallest
distance of its argument.
Not here: what the gradient is on a kink (conventions.py), choosing other points (points.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from derive.program import Array, Equation, Map, Over, Program, Step, Sum
from derive.program.interpret import align
from derive.symbolic import functions
from derive.symbolic.evaluate import NUMPY, Algebra
from derive.verification.reference import Point, Result, run
from derive.verification.report import SAFETY
from derive.verification.rounding import BOUNDED


@dataclass(frozen=True, slots=True)
class Kink:
    """`distance` is 0 on the kink; for `floor` it is the argument, and every integer is one."""

    equation: str
    function: str
    distance: functions.Expr
    lies: tuple[tuple[Array, tuple[int, ...] | None], ...] = ()
    rank: int = 1
    axis: int = -1

    def at(self, algebra: Algebra, values: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
        """The distance of every element."""
        here = {
            array.name: align(values[array.name], array, place, self.rank)
            for array, place in self.lies
        }
        return algebra.array(algebra.evaluate(self.distance, here or values, sizes))


def kinks_of(program: Program) -> tuple[Kink, ...]:
    found: dict[Kink, None] = {}
    table = program.table()
    for equation in program.equations:
        if isinstance(equation, Sum) and equation.over is Over.MAX:
            kink = _of_largest(program, equation)
            if kink is not None:
                found.setdefault(kink)
        if not isinstance(equation, Map):
            continue
        rank = len(table[equation.out].shape)
        lies: tuple[tuple[Array, tuple[int, ...] | None], ...] = ()
        if rank > 1 or equation.places:
            lies = tuple((table[name], equation.place(name)) for name in equation.operands)
        for node in sympy.preorder_traversal(equation.expr):
            name = functions.NAME_OF_HEAD.get(node.func) if node.is_Function else None
            if name is not None and (largest := _with_its_largest(program, node)):
                found.setdefault(largest)
            elif name is not None:
                for distance in functions.RULES[name].kinks:
                    kink = Kink(equation.out, name, distance(*node.args), lies, rank)
                    found.setdefault(kink)
    return tuple(found)


def _with_its_largest(program: Program, node: functions.Expr) -> Kink | None:
    """A comparison of an array with its maximum, such as `a == max(a)`: the largest element is
    equal to it, rounded or not; its kink is where two are the largest."""
    comparisons = (functions.less, functions.less_equal, functions.equal, functions.not_equal)
    if not isinstance(node, comparisons):
        return None
    definitions = program.definitions()
    sides = [_copied(side, definitions) for side in node.args]
    for (sign, name), (other_sign, other) in (sides, sides[::-1]):
        largest = definitions.get(name)
        if isinstance(largest, Sum) and largest.over is Over.MAX:
            source_sign, source = _copied(functions.symbol(largest.source), definitions)
            if (sign * source_sign, source) == (other_sign, other):
                return _largest(program, largest)
    return None


def _copied(expr: functions.Expr, definitions: Mapping[str, Equation]) -> tuple[int, str]:
    """Of a copy of an array, or of its negative: the sign, and what it is a copy of; or no name."""
    sign, name = 1, ""
    while expr.is_Symbol or (-expr).is_Symbol:
        sign, name = (sign, expr.name) if expr.is_Symbol else (-sign, (-expr).name)
        equation = definitions.get(name)
        if not isinstance(equation, Map) or equation.places:
            break
        expr = equation.expr
    return sign, name


def _of_largest(program: Program, equation: Sum) -> Kink | None:
    """Where two elements are the largest. None where nothing differentiates the largest one."""
    readers = [e for e in program.equations if equation.out in e.operands]
    out = functions.symbol(equation.out)
    if all(isinstance(e, Map) and e.expr == functions.stop_gradient(out) for e in readers):
        return None
    return _largest(program, equation)


def _largest(program: Program, equation: Sum) -> Kink:
    table, out = program.table(), functions.symbol(equation.out)
    source, array = table[equation.source], table[equation.out]
    axes = equation.axes_of(source, array)
    kept = tuple(k for k in range(len(source.shape)) if k not in axes)
    return Kink(
        equation.out, "max", out - functions.symbol(equation.source),
        ((array, kept or None), (source, None)), len(source.shape), axes[0] - len(source.shape),
    )  # fmt: skip


def _runner_up(value: Any, error: Any, axis: int) -> tuple[Any, Any]:
    """Of the distances from the largest element those of the second largest."""
    if value.shape[axis] < 2:
        return np.ones(0), np.ones(0)
    order = np.argsort(value, axis=axis)
    second = np.take(order, [1], axis=axis)
    return np.take_along_axis(value, second, axis), np.take_along_axis(error, second, axis)


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
            at = kink.at(BOUNDED, moment.values, point.sizes)
            value, error = at.value, at.error
            if kink.function == "max":
                value, error = _runner_up(value, error, kink.axis)
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
            at = np.asarray(kink.at(NUMPY, moment.values, point.sizes))
            if kink.function == "max":
                sides.append(np.argmin(at, axis=kink.axis))
                continue
            sides.append(np.floor(at) if kink.function == "floor" else np.sign(at))
    return sides
