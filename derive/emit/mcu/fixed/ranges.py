"""Between what the arrays of a step lie: what decides their powers of two.

In: an `Ordered`, intervals of arrays that a caller knows, what the data shows.  Out: a `Bound` for
each array; an ArgumentError that names what has none.
Not here: powers of two (scales.py), induction over steps (recurrence/bounds.py).

In this order: what the caller says; what a state keeps by induction; what arithmetic with intervals
gives, the parameters being known; what the data shows. Where all that reads an array is a sigmoid
or a tanh, values beyond 16 or 8 count as those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from derive.emit.mcu.fixed.order import Ordered, product, summed
from derive.emit.mcu.nests import Loose, Nest, Term
from derive.errors import ArgumentError
from derive.program import Map, Over, Step
from derive.recurrence.bounds import Bounds, bounds
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.interval import WHOLE, Interval, hull, image, meet, point, root

#: Arguments beyond these give the same but for 2^-22 of it.
_ENOUGH = {"sigmoid": 16, "tanh": 8}
#: An interval that is so many times as wide as what data shows says little.
_LOOSE = 16
#: How far beyond what data shows an array may go.
_MARGIN = Fraction(5, 4)


@dataclass(frozen=True, slots=True)
class Bound:
    """|array| is at most `size`. why: "given", "interval", "data", "parameter", "readers"."""

    interval: Interval
    why: str

    @property
    def size(self) -> float:
        found = self.interval.size
        assert found is not None
        return float(found)


def bounds_of(
    order: Ordered, original: Step, given: Mapping[str, Interval], seen: Mapping[str, float],
    starts: Mapping[str, Interval],
) -> dict[str, Bound]:  # fmt: skip
    """given: of inputs and states.  seen: {array: the largest size that data has shown}.  starts:
    of states with a learned start."""
    return _Finder(order, original, given, seen, starts).found()


class _Finder:
    def __init__(
        self, order: Ordered, original: Step, given: Mapping[str, Interval],
        seen: Mapping[str, float], starts: Mapping[str, Interval],
    ) -> None:  # fmt: skip
        self.order, self.given, self.seen, self.starts = order, given, seen, starts
        self.next_of_given = {n: given[s] for s, n in order.carried() if s in given}
        self.table = order.table
        carried = tuple(zip(original.states, original.next_states, strict=True))
        self.induction: Bounds = bounds(original.program, carried)
        self.of_original = {array.name for array in original.program.arrays}
        self.known: dict[str, Bound] = {}
        self.missing: list[str] = []
        self.readers = self._readers()

    def found(self) -> dict[str, Bound]:
        step = self.order.single.step
        for name, array in self.order.single.params.items():
            low, high = (float(f(array)) if array.size else 0.0 for f in (np.min, np.max))
            self.known[name] = Bound(Interval(Fraction(low), Fraction(high)), "parameter")
        states = {name: self.induction.kept.get(name, WHOLE) for name in step.states}
        for _ in step.states:  # a next value that is bounded from any state bounds the state
            self._once(states)
            found = {
                state: self.known[after].interval
                for state, after in self.order.carried()
                if state in self.missing and self.known[after].interval.bounded
            }
            if not found:
                break
            states |= {n: hull([own, self.starts.get(n, point(0))]) for n, own in found.items()}
        else:
            self._once(states)
        self._check()
        for before, after in self.order.carried():
            begin = self.starts.get(before, point(0))
            both = hull([self.known[before].interval, self.known[after].interval, begin])
            if self.known[before].why in ("given", "data"):
                both = self.known[before].interval
            self.known[before] = Bound(both, self.known[before].why)
            self.known[after] = Bound(both, self.known[before].why)
        return self.known

    def _once(self, states: Mapping[str, Interval]) -> None:
        """All arrays of a step from states in these intervals."""
        step = self.order.single.step
        self.missing = []
        for name in step.inputs:
            self._bind(name, WHOLE)
        for name in step.states:
            self._bind(name, states[name])
        for item in self.order.nests.items:
            if isinstance(item, Loose):
                self._bind(item.term.out, self._of_term(item.term))
                continue
            for gather in item.gathers:
                total = self.known[gather.start].interval if gather.start else point(0)
                for term in gather.terms:
                    total = total + self._of_term(term)
                self._bind(gather.out, total)
            for equation in item.maps:
                self._bind(equation.out, self._of(equation.expr))

    # --- one array ------------------------------------------------------------------------------

    def _bind(self, name: str, own: Interval) -> None:
        if name in self.given:
            self.known[name] = Bound(self.given[name], "given")
            return
        if name in self.of_original and name not in self.order.single.step.inputs:
            own = meet(own, self.induction.inside[name])
        why = "interval"
        enough = self._enough(name)
        size = own.size
        if enough and (size is None or size > enough):
            own, why = Interval(Fraction(-enough), Fraction(enough)), "readers"
        shown = self.seen.get(name)
        if shown and np.isfinite(shown):  # zeros alone show nothing
            limit = Fraction(shown) * _MARGIN
            if own.size is None or own.size > _LOOSE * limit:
                own, why = meet_or(own, Interval(-limit, limit)), "data"
        if not own.bounded and name in self.next_of_given:
            own, why = self.next_of_given[name], "given"
        if not own.bounded:
            self.missing.append(name)
        self.known[name] = Bound(own, why)

    def _enough(self, name: str) -> int:
        readers = self.readers.get(name)
        if not readers or None in readers:
            return 0
        return max(_ENOUGH[str(reader)] for reader in readers)

    def _readers(self) -> dict[str, set[str | None]]:
        """{array: functions that read it}; None for anything else than sigmoid and tanh."""
        step = self.order.single.step
        found: dict[str, set[str | None]] = {}
        wanted = (*step.next_states, *step.outputs)
        for name in (*step.inputs, *step.states, *(self.order.renamed[n] for n in wanted)):
            found[name] = {None}
        for item in self.order.nests.items:
            if isinstance(item, Nest):
                for gather in item.gathers:
                    found.setdefault(gather.start, set()).add(None)
                for equation in item.maps:
                    head = functions.NAME_OF_HEAD.get(equation.expr.func)
                    for name in equation.operands:
                        own = head if head in _ENOUGH else None
                        found.setdefault(name, set()).add(own)
            terms = (
                [item.term] if isinstance(item, Loose)
                else [term for gather in item.gathers for term in gather.terms]
            )  # fmt: skip
            for term in terms:
                for name, _ in term.operands:
                    found.setdefault(name, set()).add(None)
        return found

    def _check(self) -> None:
        if not self.missing:
            return
        step = self.order.single.step
        roots = [n for n in self.missing if n in (*step.inputs, *step.states)] or self.missing[:1]
        facts = []
        for name in roots:
            equation = next((e for e in self.order.program.equations if e.out == name), None)
            text = f": {equation.expr}" if isinstance(equation, Map) else ""
            facts.append(f"{name} may be any number{text}")
        words = ", ".join(
            f'"{name}": 4.0' for name in roots if name in (*step.inputs, *step.states)
        )
        raise ArgumentError(
            f"fixed point needs a bound of {', '.join(roots)}",
            facts=tuple(facts),
            hint="data=x with inputs as the device will see them"
            + (f", or ranges={{{words}}}" if words else ""),
        )

    # --- arithmetic -----------------------------------------------------------------------------

    def _of_term(self, term: Term) -> Interval:
        intervals = [self.known[name].interval for name, _ in term.operands]
        if not all(interval.bounded for interval in intervals):
            return WHOLE
        if term.over is Over.MAX:
            return intervals[0]
        params = self.order.single.params
        ones: dict[str, Any] = {}
        moving = point(1)
        for (name, _), interval in zip(term.operands, intervals, strict=True):
            if name in params:
                ones[name] = params[name]
            else:
                ones[name] = np.ones((1, *self._shape(name)))
                moving = moving * interval
        if term.over is not Over.SUM:
            length = max(self._shape(term.left))
            return hull([point(0), intervals[0].times(Fraction(length))])
        factors = product(term, ones, self.table)
        assert moving.lo is not None and moving.hi is not None
        low, high = float(moving.lo), float(moving.hi)
        least = summed(np.minimum(factors * low, factors * high), term)
        most = summed(np.maximum(factors * low, factors * high), term)
        return Interval(Fraction(float(least.min(initial=0))), Fraction(float(most.max(initial=0))))

    def _shape(self, name: str) -> tuple[int, ...]:
        sizes = self.order.single.sizes
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.table[name].shape)

    def _of(self, expr: Expr) -> Interval:
        if expr.is_Symbol:
            return self.known[expr.name].interval
        if expr.is_Rational:
            return point(Fraction(int(expr.p), int(expr.q)))
        if expr.is_number:
            low = Fraction(str(sympy.N(expr, 30)))
            return Interval(low - abs(low) / 10**25, low + abs(low) / 10**25)
        if expr.is_Add or expr.is_Mul:
            first, *others = map(self._of, expr.args)
            for other in others:
                first = first + other if expr.is_Add else first * other
            return first.shortened()
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            base = self._of(expr.base)
            if expr.exp.is_Integer:
                return base.power(int(expr.exp)).shortened()
            return root(base, Fraction(str(expr.exp))).shortened()
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        return image(name, [self._of(arg) for arg in expr.args]).shortened()


def meet_or(one: Interval, other: Interval) -> Interval:
    """What lies in both, or `other` where nothing does."""
    found = meet(one, other)
    assert found.lo is not None and found.hi is not None
    return found if found.lo <= found.hi else other
