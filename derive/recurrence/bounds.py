"""Which bounds the states of a step keep, by induction, and how they grow.

In: a Program, its states and their next values.  Out: `Bounds`.
Not here: intervals of arrays (ranges.py), the words for bounds (inspect/facts/structure.py).

A state keeps an interval if a step does not leave it while all states are in theirs. They are found
from 0 upwards: what a step adds is added, and an end that goes on moving is given up. A state that
is multiplied by less than a half and to which less than 1 is added stays below 2; two states that
are multiplied by the same have a quotient that is a mean of those of what is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import sympy

from derive.program import Map, Program
from derive.recurrence.linear import coefficients
from derive.recurrence.ranges import Quotients, Ranges, symbols_of
from derive.recurrence.written_out import WrittenOut
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.interval import WHOLE, Interval, hull, image, meet, point

_START = point(0)
_UNIT = Interval(Fraction(-1), Fraction(1))
#: Rounds before an end that still moves is given up.
_ROUNDS = 4


def invariants(
    program: Program,
    carried: Sequence[tuple[str, str]],
    written: WrittenOut,
    fixed: Mapping[str, Interval] | None = None,
    quotients: Quotients | None = None,
) -> dict[str, Interval]:
    """{state: an interval that holds 0 and that no step leaves, once all states lie in theirs}.

    fixed, quotients: what is known already.
    """
    fixed = dict(fixed or {})
    start = {state: fixed.get(state, _START) for state, _ in carried}
    found = _invariants(program, carried, written, start, fixed, quotients)
    still = {state: _UNIT for state, kept in found.items() if kept == _START}
    if still:  # what stays 0 because all start there says nothing of other starts
        start |= still
        found = _invariants(program, carried, written, start, fixed, quotients)
    return found


def _invariants(
    program: Program,
    carried: Sequence[tuple[str, str]],
    written: WrittenOut,
    start: Mapping[str, Interval],
    fixed: Mapping[str, Interval],
    quotients: Quotients | None,
) -> dict[str, Interval]:
    now = dict(start)
    for turn in range(10 * _ROUNDS):
        ranges = Ranges(program, now, written, quotients)
        after = {s: (s in fixed and now[s]) or hull([now[s], ranges[n]]) for s, n in carried}
        if all(after[state].within(now[state]) for state in now):
            return _narrowed(program, carried, written, now, fixed, quotients)
        if turn >= _ROUNDS:
            after = {state: _given_up(now[state], after[state]) for state in now}
        now = after
    return {state: fixed.get(state, WHOLE) for state in now}


def _narrowed(
    program: Program,
    carried: Sequence[tuple[str, str]],
    written: WrittenOut,
    now: Mapping[str, Interval],
    fixed: Mapping[str, Interval],
    quotients: Quotients | None,
) -> dict[str, Interval]:
    """What a step makes of intervals that it does not leave is not left either."""
    found = dict(now)
    for _ in range(2):
        ranges = Ranges(program, found, written, quotients)
        found |= {
            state: meet(found[state], hull([_START, ranges[name]]))
            for state, name in carried
            if state not in fixed
        }
    return found


def _given_up(now: Interval, after: Interval) -> Interval:
    """Without the ends that moved."""
    lo = (after.lo, after.lo_open) == (now.lo, now.lo_open)
    hi = (after.hi, after.hi_open) == (now.hi, now.hi_open)
    low, high = after.lo if lo else None, after.hi if hi else None
    return Interval(low, high, lo and after.lo_open, hi and after.hi_open)


# --- growth ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Growth:
    """next = factor * state + added, unit by unit: what both are, and between what they lie."""

    factor: Expr
    added: Expr
    factors: Interval
    addeds: Interval
    gated: Fraction | None = None

    @property
    def bound(self) -> Fraction | None:
        """|state| stays below this, once it is: added / (1 - factor), for factors below 1.
        gated: a bound of this quotient, where both vary together."""
        if self.gated is not None:
            return self.gated
        factor, added = self.factors.size, self.addeds.size
        if factor is None or added is None or factor >= 1:
            return None
        return added / (1 - factor)


def growth(ranges: Ranges, state: str, after: str) -> Growth | None:
    """How a state grows from step to step; None where its next value is not made of it so."""
    written = ranges.written
    own = functions.symbol(state)
    affine = coefficients(written.value(after), frozenset((own,)))
    if affine is None or own not in affine[0]:
        return None
    shapes = written.table[state].shape, written.table[after].shape
    if shapes[0] != shapes[1]:
        return None
    factor, added = affine[0][own], affine[1]
    if any(
        written.atoms.get(s, None) and written.atoms[s].array == state for s in symbols_of(added)
    ):
        return None  # it stands in another place as well
    gated = _gated(ranges, factor, added)
    return Growth(factor, added, ranges.of(factor), ranges.of(added), gated)


def _gated(ranges: Ranges, factor: Expr, added: Expr) -> Fraction | None:
    """Of sigmoid(a) * state + (1 - sigmoid(a - b)) * v: (1 - sigmoid(a - b)) / (1 - sigmoid(a)) is
    (1 + e^a) / (1 + e^(a - b)), between 1 and e^b."""
    keep = _opened(ranges, factor)
    if not isinstance(keep, functions.sigmoid):
        return None
    for part in sympy.Mul.make_args(added):
        opened = _opened(ranges, part)
        rest = 1 - opened if opened.is_Add and len(opened.args) == 2 else opened
        if not isinstance(rest, functions.sigmoid):
            continue
        written = rest.args[0] if opened.is_Add else -rest.args[0]
        shift = sympy.expand(keep.args[0] - written)
        size = ranges.of(added / part).size
        if size is None or not shift.is_Rational:
            continue
        most = image("exp", [point(Fraction(int(shift.p), int(shift.q)))]).hi
        return None if most is None else size * max(Fraction(1), most)
    return None


def _opened(ranges: Ranges, expr: Expr) -> Expr:
    """With the right-hand sides of elementwise arrays in place of their names."""
    found = {}
    for symbol in symbols_of(expr):
        atom = ranges.written.atoms.get(symbol)
        equation = ranges.definitions.get(atom.array) if atom else None
        plain = atom is not None and atom.place == tuple(range(len(atom.place))) and not atom.mean
        if plain and isinstance(equation, Map):
            found[symbol] = ranges.written.value(equation.out)
    return cast(Expr, expr.xreplace(found)) if found else expr


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the states of a step.  free: of arrays, from any states.  kept: intervals that
    no step leaves, which hold 0; inside: of arrays while the states lie in theirs.  growth: of
    states, where there is one.  quotients: {(c, n): values}, c being between them times n at
    every step, as it is at zeros."""

    free: Ranges
    inside: Ranges
    kept: Mapping[str, Interval]
    growth: Mapping[str, Growth]
    quotients: Quotients


def bounds(program: Program, carried: Sequence[tuple[str, str]]) -> Bounds:
    """Bounds by induction; where intervals alone give none, by how a state grows."""
    written = WrittenOut(program)
    kept = invariants(program, carried, written)
    fixed: dict[str, Interval] = {}
    quotients: dict[tuple[str, str], Interval] = {}
    nexts = dict(carried)
    while True:
        of_nexts = {(nexts[c], nexts[n]): values for (c, n), values in quotients.items()}
        keeping = WrittenOut(program, {name for pair in of_nexts for name in pair})
        inside = Ranges(program, kept, keeping if of_nexts else written, of_nexts)
        apart = Ranges(program, kept, written)
        found = {s: g for s, n in carried if (g := growth(apart, s, n)) is not None}
        more = {pair: q for pair, q in _quotients(apart, found).items() if pair not in quotients}
        new = {
            state: Interval(-bound, bound)
            for state, one in found.items()
            if state not in fixed and not kept[state].bounded and (bound := one.bound) is not None
        }
        if not (new or more):
            break
        fixed |= new
        quotients |= more
        of_nexts = {(nexts[c], nexts[n]): values for (c, n), values in quotients.items()}
        keeping = WrittenOut(program, {name for pair in of_nexts for name in pair})
        kept = invariants(program, carried, keeping if of_nexts else written, fixed, of_nexts)
    return Bounds(Ranges(program, {}, written), inside, kept, found, quotients)


def _quotients(ranges: Ranges, found: Mapping[str, Growth]) -> dict[tuple[str, str], Interval]:
    """Of c' = f c + u and n' = f n + w, with f at least 0 and w above 0: c / n is a mean of values
    of u / w, with weights of any size."""
    result = {}
    for below, n in found.items():
        if not (n.factors.from_zero and n.addeds.positive):
            continue
        for above, c in found.items():
            same = ranges.table[above].shape == ranges.table[below].shape
            if above == below or not same or c.factor != n.factor:
                continue
            values = ranges.of(sympy.cancel(c.added / n.added))
            if values.bounded:
                result[above, below] = values
    return result
