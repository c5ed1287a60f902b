"""Where a step may leave the numbers: exponentials that overflow, divisions by 0, roots and
logarithms of what is below 0.

In: a Step, intervals of its arrays.  Out: a `Hazard` for each such place, harmless or not.
Not here: intervals (ranges.py), what helps (stabiliser.py).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import sympy

from derive.program import Map, Step
from derive.recurrence.bounds import Bounds
from derive.recurrence.kind import reached_by
from derive.recurrence.ranges import Ranges
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.interval import Interval

#: exp of more than this is larger than any number of the type.
LARGEST_ARGUMENT = {"float32": 88.72, "float64": 709.78}
#: The smallest number of float32 with all its digits; one below it may be 0 there.
_SMALLEST = 2.0**-126


class Danger(enum.Enum):
    """What goes wrong outside the interval that is safe."""

    OVERFLOW = "an exponential overflows"
    DIVISION = "a division by 0"
    ROOT = "a root of a number below 0"
    LOGARITHM = "a logarithm of a number that is not above 0"


class Verdict(enum.Enum):
    NEVER = "never"
    UNDERFLOW = "where the divisor rounds to 0 alone"
    STARTED = "never, if the states start within their bounds"
    PARAMETERS = "with large parameters alone"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class Hazard:
    """array: whose equation.  part: what goes wrong, as it is written.  subject: what it is about,
    the argument or the divisor.  values: between what that lies."""

    array: str
    danger: Danger
    part: Expr
    subject: Expr
    values: Interval
    verdict: Verdict


def hazards(step: Step, bounds: Bounds) -> tuple[Hazard, ...]:
    """In the order of the equations, each place once."""
    reach = reached_by(step.program, (*step.inputs, *step.states))
    needed = step.needed()
    seen: set[object] = set()
    found = []
    for equation in step.program.equations:
        if not isinstance(equation, Map) or equation.out not in needed:
            continue
        for danger, part, subject in _places(equation.expr):
            if (danger, subject) in seen:
                continue
            seen.add((danger, subject))
            given = all(not reach[name] for name in _names(subject))
            values, verdict = _judged(danger, equation, subject, bounds, given)
            found.append(Hazard(equation.out, danger, part, subject, values, verdict))
    return tuple(found)


def _names(expr: Expr) -> list[str]:
    return [s.name for s in expr.free_symbols if not functions.is_size(s)]


def _places(expr: Expr) -> Iterator[tuple[Danger, Expr, Expr]]:
    for node in sympy.preorder_traversal(expr):
        part = cast(Expr, node)
        if isinstance(part, (functions.exp, functions.expm1)):
            yield Danger.OVERFLOW, part, cast(Expr, part.args[0])
        elif isinstance(part, functions.log):
            yield Danger.LOGARITHM, part, cast(Expr, part.args[0])
        elif isinstance(part, functions.log1p):
            yield Danger.LOGARITHM, part, 1 + cast(Expr, part.args[0])
        elif isinstance(part, sympy.Pow):
            base, exponent = cast(tuple[Expr, Expr], part.args)
            if not exponent.is_Integer and base.free_symbols:
                yield Danger.ROOT, part, base
            if exponent.is_negative and base.free_symbols and not _is_sizes(base):
                yield Danger.DIVISION, part, base


def _is_sizes(expr: Expr) -> bool:
    return all(map(functions.is_size, expr.free_symbols))


def _judged(
    danger: Danger, equation: Map, subject: Expr, bounds: Bounds, given: bool
) -> tuple[Interval, Verdict]:
    free = _values(bounds.free, equation, subject)
    if (verdict := _safe(danger, free)) is not None:
        return free, verdict
    inside = _values(bounds.inside, equation, subject)
    if (verdict := _safe(danger, inside)) is not None:
        return inside, Verdict.STARTED if verdict is Verdict.NEVER else verdict
    return inside, Verdict.PARAMETERS if given else Verdict.POSSIBLE


def _values(ranges: Ranges, equation: Map, subject: Expr) -> Interval:
    return ranges.of(ranges.written.part(equation, subject))


def _safe(danger: Danger, values: Interval) -> Verdict | None:
    if danger is Danger.OVERFLOW:
        below = values.hi is not None and values.hi <= LARGEST_ARGUMENT["float32"]
        return Verdict.NEVER if below else None
    if danger is Danger.ROOT:
        return Verdict.NEVER if values.from_zero else None
    if values.lo is not None and values.lo >= _SMALLEST:
        return Verdict.NEVER
    if danger is Danger.DIVISION and values.hi is not None and values.hi <= -_SMALLEST:
        return Verdict.NEVER
    apart = values.positive or (danger is Danger.DIVISION and values.negative)
    return Verdict.UNDERFLOW if apart else None
