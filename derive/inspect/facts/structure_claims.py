"""The claims of a Structure: what is proved, what holds under a condition, what is not known.

In: a Structure.  Out: `Claim`s, topic by topic.
Not here: proofs (recurrence/), words for formulas and intervals (structure_words.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from derive.inspect.facts.structure import Claim, Structure, Surety
from derive.inspect.facts.structure_words import Words, closed, one_of
from derive.recurrence import Hazard, Inverse, Witness
from derive.recurrence.hazards import Verdict
from derive.recurrence.jacobian import Kind
from derive.recurrence.kind import reached_by
from derive.recurrence.linear import Degree
from derive.recurrence.stabiliser import Offer
from derive.symbolic.interval import Interval


def claims(found: Structure) -> tuple[Claim, ...]:
    """What is known of a recurrence, topic by topic."""
    return tuple(_Claims(found).all())


class _Claims:
    """The claims of a Structure, topic by topic."""

    def __init__(self, found: Structure) -> None:
        self.found = found
        self.step = found.cell.step
        self.rec = found.recurrence
        self.words = Words(found.cell)
        self.nexts = dict(zip(self.step.states, self.step.next_states, strict=True))
        self.witness = Witness(self.step)

    def all(self) -> Iterator[Claim]:
        if not self.step.states:
            yield Claim("linear", (), "there is no state, so no recurrence", Surety.PROVED)
            return
        yield from self.linear()
        yield from self.transition()
        for state in self.step.states:
            yield from self.bound(state)
        yield from self.quotients()
        yield self.inverted()
        yield from self.time()
        yield from self.numbers()
        yield from self.stabilised()

    # --- linear

    def linear(self) -> Iterator[Claim]:
        rec, words = self.rec, self.words
        primes, states = words.primes(self.step.states), words.names(self.step.states)
        lines = tuple(words.line(state) for state in self.step.states)
        if rec.linear:
            together = " together" if len(self.step.states) > 1 else ""
            says = f"{primes} {one_of('is', 'are', self.step.states)} affine in {states}{together}"
            yield Claim("linear", self.step.states, says, Surety.PROVED, lines)
            yield self.coefficients()
            return
        if rec.linear_in_order:
            order = ", then ".join(words.names(part) for part in rec.parts)
            says = f"affine one after the other: {order}, each once those before it are known"
            yield Claim("linear", self.step.states, says, Surety.PROVED, lines)
        bent = self.witness.bent(self.step.states)
        for state in self.step.states:
            yield from self._linear_in(state, bent)

    def _linear_in(self, state: str, bent: set[str]) -> Iterator[Claim]:
        rec, words = self.rec, self.words
        own, prime = words.name(state), words.prime(state)
        others = [s for s in self.step.states if s != state]
        held = f", {words.names(others)} held" if others else ""
        line = (words.line(state),)
        if rec.own[state] is Degree.CONSTANT:
            says = f"{prime} does not depend on {own}"
            yield Claim("linear", (state,), says, Surety.PROVED, line)
        elif rec.own[state] is Degree.AFFINE:
            says = f"{prime} is affine in {own}{held}"
            yield Claim("linear", (state,), says, Surety.PROVED, line)
        elif state in self.witness.bent((state,)):
            says = f"{prime} is not affine in {own}{held}"
            yield Claim("linear", (state,), says, Surety.EXAMPLE, (_BENT,))
        else:
            says = f"whether {prime} is affine in {own}{held}"
            yield Claim("linear", (state,), says, Surety.UNKNOWN)
        if others and rec.together[state] is Degree.HIGHER and not rec.linear_in_order:
            shown = state in bent
            says = f"{'' if shown else 'whether '}{prime} is {'not ' if shown else ''}affine in "
            says += f"{words.names(self.step.states)} together"
            surety = Surety.EXAMPLE if shown else Surety.UNKNOWN
            yield Claim("linear", (state,), says, surety, (_BENT,) if shown else ())

    def coefficients(self) -> Claim:
        rec, words = self.rec, self.words
        if rec.varying:
            says = f"what multiplies the states depends on {words.names(rec.varying)}"
            if set(rec.varying) <= set(self.found.cell.checked.once):
                says += ", which do not change with time"
        else:
            says = "what multiplies the states depends on parameters alone: each step is the same"
        return Claim("linear", rec.varying, says, Surety.PROVED)

    # --- transition

    def transition(self) -> Iterator[Claim]:
        """Blocks of one pattern together, each row of blocks by itself."""
        for after in self.step.states:
            groups: dict[tuple[str, Surety, tuple[str, ...]], list[str]] = {}
            for before in self.step.states:
                pattern = self.rec.patterns[after, before]
                if pattern.kind is Kind.ZERO and after != before:
                    continue
                says, because = self.words.pattern(pattern, after)
                surety = Surety.PROVED
                if pattern.kind is Kind.DENSE:
                    full = self._is_full(after, before, pattern.blocks)
                    surety = Surety.EXAMPLE if full else Surety.UNKNOWN
                    if not full:
                        because = ("no sparser pattern was found",)
                groups.setdefault((says, surety, because), []).append(before)
            for (says, surety, because), states in groups.items():
                prime = self.words.prime(after)
                names = self.words.names([f"d {prime} / d {before}" for before in states])
                says = f"{names} {one_of('is', 'are', states)} {says}"
                yield Claim("transition", (after, *states), says, surety, because)

    def _is_full(self, after: str, before: str, blocks: tuple[int, ...]) -> bool:
        """Whether at the random point all units of a block meet."""
        meets = self.witness.meets[after, before]
        shape = self.witness.states[after].shape
        if not blocks:
            return bool(meets.all())
        grid = np.indices(shape).reshape(len(shape), -1)[list(blocks)]
        same = (grid[:, :, np.newaxis] == grid[:, np.newaxis, :]).all(axis=0)
        return bool(meets[same].all())

    # --- bounds

    def bound(self, state: str) -> Iterator[Claim]:
        words, bounds_ = self.words, self.found.bounds
        prime = words.prime(state)
        free, kept = bounds_.free[self.nexts[state]], bounds_.kept[state]
        lines = (words.line(state), *words.intervals(self.nexts[state], bounds_.free))
        if free.bounded:
            says = f"{words.between(prime, free)}, from any states"
            yield Claim("bound", (state,), says, Surety.PROVED, lines)
        if kept.bounded and (not free.bounded or _much_smaller(kept, free)):
            inside = (words.line(state), *words.intervals(self.nexts[state], bounds_.inside))
            says = f"{words.between(words.name(state), kept)} at every step"
            yield Claim("bound", (state,), says, Surety.CONDITION, inside, self._started(state))
        if free.bounded or kept.bounded:
            return
        if kept.lo is not None or kept.hi is not None:
            says = f"{words.between(words.name(state), kept)} at every step"
            yield Claim("bound", (state,), says, Surety.CONDITION, lines, self._started(state))
        yield self._growth(state, lines)

    def quotients(self) -> Iterator[Claim]:
        words = self.words
        for (above, below), values in self.found.bounds.quotients.items():
            says = f"{words.between(f'{above} / {below}', values)} at every step"
            lines = (words.line(above), words.line(below))
            because = (
                *lines,
                "both are multiplied by the same, and what is added has this quotient",
            )
            condition = f"{above} and {below} start as zeros"
            yield Claim("bound", (above, below), says, Surety.CONDITION, because, condition)

    def _started(self, state: str) -> str:
        """The condition of a bound: that every state starts within its own."""
        kept = self.found.bounds.kept
        known = [s for s in self.step.states if kept[s].lo is not None or kept[s].hi is not None]
        each = [self.words.between(self.words.name(s), kept[s]) for s in known]
        if self.found.bounds.quotients:
            return "all states start as zeros"
        zeros = "" if self.found.cell.checked.learned else ", as zeros do"
        return f"it starts so ({', '.join(each)}){zeros}"

    def _growth(self, state: str, lines: tuple[str, ...]) -> Claim:
        words, name = self.words, self.words.name(state)
        grown = self.found.bounds.growth.get(state)
        if grown is None:
            says = f"no bound of {name} was found"
            return Claim("bound", (state,), says, Surety.UNKNOWN, lines[:1])
        factor = self.found.bounds.free.of(grown.factor)
        added = self.found.bounds.free.of(grown.added)
        size = factor.size
        by = f"each step multiplies {name} by `{words.text(grown.factor)}`"
        plus = f"adds `{words.text(grown.added)}`"
        where = f"{by}, {closed(factor)}, and {plus}, {closed(added)}"
        if size is not None and size <= 1 and added.size is not None:
            most = words.number(added.size)
            if factor.within(_INSIDE) and self._of_parameters(grown.factor):
                says = f"{name} stays bounded: each step shrinks it, and adds at most {most}"
                condition = "the parameters are fixed"
                return Claim("bound", (state,), says, Surety.CONDITION, (where,), condition)
            says = f"no bound was found; |{name}| grows by at most {most} a step"
            return Claim("bound", (state,), says, Surety.PROVED, (where,))
        own = self.rec.own[state] is Degree.AFFINE and self.rec.patterns[state, state].is_diagonal
        alone = any(part == (state,) for part in self.rec.parts)  # else it grows with another
        if size is not None and size <= 1 and own and alone:
            says = f"no bound was found, but what is stored never grows: {by}, {closed(factor)}"
            return Claim("bound", (state,), says, Surety.PROVED, (f"it {plus}, {closed(added)}",))
        because = (where,) if own else lines[:1]
        return Claim("bound", (state,), f"no bound of {name} was found", Surety.UNKNOWN, because)

    def _of_parameters(self, expr: Any) -> bool:
        reach = reached_by(self.step.program, (*self.step.inputs, *self.step.states))
        atoms = self.found.bounds.free.written.atoms
        return all(not reach[atoms[s].array] for s in expr.free_symbols if s in atoms)

    # --- inverse

    def inverted(self) -> Claim:
        words, states = self.words, self.step.states
        lost = [
            before
            for before in states
            if all(self.rec.patterns[after, before].kind is Kind.ZERO for after in states)
        ]
        if lost:
            says = f"the step cannot be inverted: no next value depends on {words.names(lost)}"
            return Claim("inverse", tuple(lost), says, Surety.PROVED)
        found = self.found.inverse
        if found is None:
            says = "no inverse in closed form was found"
            return Claim("inverse", states, says, Surety.UNKNOWN)
        solved = {one.state: one for one in found.solved}
        parts = [words.solved(one) for one in solved.values()]
        error = self._round_trip(found)
        if not error < _FAR:
            says = "an inverse was found, but does not come back at a random point"
            return Claim("inverse", states, says, Surety.UNKNOWN, tuple(parts))
        digits = max(-12, math.ceil(math.log10(max(error, 1e-300))))
        check = f"there and back at a random point: less than 1e{digits} off"
        needs = [f"`{m}` is square and regular" for m in found.matrices]
        needs += [f"`{words.text(expr)}` is not 0" for expr in found.nonzero]
        says = "the step can be inverted: " + ", then ".join(parts)
        surety = Surety.CONDITION if needs else Surety.PROVED
        return Claim("inverse", states, says, surety, (check,), " and ".join(needs))

    def _round_trip(self, found: Inverse) -> float:
        """How far the inverse comes back at a point where what must not be 0 is not."""
        errors = (self._there_and_back(found, Witness(self.step, seed)) for seed in range(8))
        return next((error for error in errors if math.isfinite(error)), math.inf)

    def _there_and_back(self, found: Inverse, witness: Witness) -> float:
        rows = {name: value[np.newaxis] for name, value in witness.states.items()}
        after = witness.nexts(rows)
        inputs = {name: value[np.newaxis] for name, value in witness.inputs.items()}
        with np.errstate(all="ignore"):
            back = found.restore(witness.params, inputs, after, sizes=witness.sizes)
        return max(float(np.abs(back[name] - rows[name]).max(initial=0)) for name in rows)

    # --- time

    def time(self) -> Iterator[Claim]:
        words, clocks = self.words, self.rec.clocks
        if clocks:
            lines = tuple(words.line(state) for state in clocks)
            says = f"{words.names(clocks)} {one_of('runs', 'run', clocks)} by "
            says += f"{one_of('itself', 'themselves', clocks)}, for all inputs: "
            says += "the step changes with time"
            yield Claim("time", clocks, says, Surety.PROVED, lines)
            return
        says = "every step is the same function of the states and inputs: time invariant"
        yield Claim("time", (), says, Surety.PROVED, ("no state runs by itself, as a clock does",))

    # --- numbers

    def numbers(self) -> Iterator[Claim]:
        words, found = self.words, self.found.hazards
        if not found:
            says = "no exponential, logarithm, root or division"
            yield Claim("numbers", (), says, Surety.PROVED)
        for verdict, surety in _VERDICTS.items():
            those = [hazard for hazard in found if hazard.verdict is verdict]
            if not those:
                continue
            if verdict is Verdict.NEVER:
                says = "never overflows, never divides by 0: " + ", ".join(
                    dict.fromkeys(f"`{words.text(h.part)}`" for h in those)
                )
                lines = tuple(dict.fromkeys(words.hazard(h) for h in those))
                yield Claim("numbers", _arrays(those), says, surety, lines)
                continue
            for hazard in those:
                says, condition = words.danger(hazard)
                because = (words.hazard(hazard),)
                yield Claim("numbers", (hazard.array,), says, surety, because, condition)

    # --- stabilisers

    def stabilised(self) -> Iterator[Claim]:
        words = self.words
        for one in self.found.stabilisers:
            name, prime = words.name(one.state), words.prime(one.state)
            if one.clash is None:
                stored = words.names(one.scaled)
                says = f"no output depends on how {prime} is chosen: 0 instead of it gives the same"
                because = (
                    f"{stored} {one_of('is', 'are', one.scaled)} stored times `exp(-{name})`: "
                    f"adding e to {prime} multiplies {words.primes(one.scaled)} by `exp(-e)`, and "
                    f"adding d to {name} while {stored} {one_of('is', 'are', one.scaled)} "
                    "multiplied by `exp(-d)` changes nothing",
                )
                yield Claim("stabiliser", (one.state, *one.scaled), says, Surety.PROVED, because)
            else:
                shown = self.witness.chooses(one.state)
                says = f"outputs depend on how {prime} is chosen"
                if not shown:
                    says = f"whether outputs depend on how {prime} is chosen"
                surety = Surety.EXAMPLE if shown else Surety.UNKNOWN
                yield Claim("stabiliser", (one.state,), says, surety, (words.clash(one.clash),))
        for possible in self.found.offers:
            yield self._offered(possible)

    def _offered(self, possible: Offer) -> Claim:
        words, states = self.words, possible.states
        stored = " and ".join(f"`{words.name(s)} * exp(-m)`" for s in states)
        if possible.clash is not None:
            says = "no running maximum is known that leaves the outputs as they are"
            return Claim("stabiliser", states, says, Surety.UNKNOWN, (words.clash(possible.clash),))
        largest = words.running_maximum(possible, self.found.bounds)
        says = f"a stabiliser may be added: store {stored}, with `{largest}`; no output changes"
        because = (
            f"{words.primes(states)} {one_of('is', 'are', states)} factor * state + added, and "
            "nothing else sees by what the states are multiplied",
        )
        return Claim("stabiliser", states, says, Surety.PROVED, because)


_INSIDE = Interval(Fraction(-1), Fraction(1), True, True)
#: Further off than what a badly conditioned matrix explains.
_FAR = 1e-3
_BENT = "at a random point, the value half way between two states is not half way"

_VERDICTS = {
    Verdict.NEVER: Surety.PROVED,
    Verdict.STARTED: Surety.CONDITION,
    Verdict.UNDERFLOW: Surety.CONDITION,
    Verdict.PARAMETERS: Surety.CONDITION,
    Verdict.POSSIBLE: Surety.UNKNOWN,
}


def _arrays(those: list[Hazard]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hazard.array for hazard in those))


def _much_smaller(kept: Interval, free: Interval) -> bool:
    """By a tenth at least."""
    if kept.size is None or free.size is None:
        return kept.size is not None
    return kept.size < free.size * 9 / 10
