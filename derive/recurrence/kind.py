"""Step -> what kind of recurrence it is: linear or not, in which order, with which coefficients.

In: a Step.  Out: a `Recurrence`.
Not here: bounds (bounds.py), the inverse (inverse.py), words (inspect/facts/structure.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from derive.program import Map, Program, Step
from derive.recurrence.jacobian import Kind, Pattern, patterns
from derive.recurrence.linear import Degree, coefficients, degrees
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class Recurrence:
    """patterns: {(state after the step, state before it): d after / d before}.

    together: how each next value depends on all states; own: on its own previous value, the other
    states held.  parts: states that depend on each other, those first that need no later ones;
    in_parts: how a next value depends on the states of its part, those of earlier parts held.
    varying: inputs that the coefficients of linear states depend on.  clocks: states that no input
    reaches, and that are not constant.
    """

    states: tuple[str, ...]
    patterns: Mapping[tuple[str, str], Pattern]
    together: Mapping[str, Degree]
    own: Mapping[str, Degree]
    parts: tuple[tuple[str, ...], ...]
    in_parts: Mapping[str, Degree]
    varying: tuple[str, ...]
    clocks: tuple[str, ...]

    @property
    def linear(self) -> bool:
        """Whether all next values are affine in all states together."""
        return all(degree is not Degree.HIGHER for degree in self.together.values())

    @property
    def linear_in_order(self) -> bool:
        """Whether each part is, once the parts before it are known for all steps."""
        return all(degree is not Degree.HIGHER for degree in self.in_parts.values())

    @property
    def elementwise(self) -> bool:
        """Whether unit j of every next value meets unit j of the states alone."""
        return all(pattern.is_diagonal for pattern in self.patterns.values())

    @property
    def constant_coefficients(self) -> bool:
        """Whether a linear recurrence is the same at every step, up to what is added."""
        return self.linear and not self.varying


def recurrence(step: Step) -> Recurrence:
    program = step.program
    carried = tuple(zip(step.states, step.next_states, strict=True))
    found = patterns(program, carried)
    needs = {
        after: {before for before in step.states if found[after, before].kind is not Kind.ZERO}
        for after in step.states
    }
    parts = _parts(needs)
    in_parts: dict[str, Degree] = {}
    nexts = dict(carried)
    for part in parts:
        known = degrees(program, part)
        in_parts |= {state: known[nexts[state]] for state in part}
    every = degrees(program, step.states)
    reach = reached_by(program, step.inputs)
    return Recurrence(
        states=step.states,
        patterns=found,
        together={state: every[name] for state, name in carried},
        own={state: degrees(program, (state,))[name] for state, name in carried},
        parts=parts,
        in_parts=in_parts,
        varying=_varying(program, step, every, reach),
        clocks=_clocks(parts, needs, nexts, reach, step),
    )


def is_linear(program: Program, states: Collection[str], nexts: Collection[str]) -> bool:
    """Whether some arrays are affine in all of the inputs `states` together."""
    found = degrees(program, states)
    return all(found[name] is not Degree.HIGHER for name in nexts)


def reached_by(program: Program, inputs: Collection[str]) -> dict[str, frozenset[str]]:
    """{array: those of the inputs that it depends on}."""
    found = {n: frozenset({n} if n in inputs else ()) for n in program.inputs}
    for equation in program.equations:
        found[equation.out] = frozenset().union(*(found[name] for name in equation.operands))
    return found


def _parts(needs: Mapping[str, set[str]]) -> tuple[tuple[str, ...], ...]:
    """States that need each other, one part; a part comes after those it needs."""
    far: dict[str, set[str]] = {}
    for state in needs:
        seen, waiting = set[str](), [state]
        while waiting:
            for other in needs[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        far[state] = seen
    left, parts = list(needs), []
    while left:
        ready = next(
            state
            for state in left
            if all(other not in left or state in far[other] for other in far[state] - {state})
        )
        part = tuple(s for s in left if s == ready or (s in far[ready] and ready in far[s]))
        parts.append(part)
        left = [state for state in left if state not in part]
    return tuple(parts)


def _varying(
    program: Program,
    step: Step,
    degree: Mapping[str, Degree],
    reach: Mapping[str, frozenset[str]],
) -> tuple[str, ...]:
    """The inputs that coefficients of affine arrays depend on, on the way to the next values."""
    of: dict[str, frozenset[str]] = dict.fromkeys(program.inputs, frozenset())
    for equation in program.equations:
        moving = [name for name in dict.fromkeys(equation.operands) if degree[name]]
        total = frozenset[str]()
        for name in moving:
            total |= of[name]
            others = [other for other in equation.operands if other != name]
            if isinstance(equation, Map):
                symbols = frozenset(map(functions.symbol, moving))
                affine = coefficients(equation.expr, symbols)
                if affine is None:
                    continue
                slope = affine[0].get(functions.symbol(name), functions.ZERO)
                others = [s.name for s in slope.free_symbols if not functions.is_size(s)]
            total |= frozenset().union(*(reach[other] for other in others))
        of[equation.out] = total
    affine_nexts = [n for n in step.next_states if degree[n] is Degree.AFFINE]
    inputs = frozenset().union(*(of[name] for name in affine_nexts))
    return tuple(name for name in step.inputs if name in inputs)


def _clocks(
    parts: tuple[tuple[str, ...], ...],
    needs: Mapping[str, set[str]],
    nexts: Mapping[str, str],
    reach: Mapping[str, frozenset[str]],
    step: Step,
) -> tuple[str, ...]:
    """States that run by themselves: no input reaches them, directly or through other states."""
    found: list[str] = []
    driven = {state for state in needs if reach[nexts[state]]}
    for part in parts:
        own = set(part)
        before = set().union(*(needs[state] for state in part)) - own
        if not (own | before) & driven and before <= set(found):
            found += part
        else:
            driven |= own
    return tuple(s for s in step.states if s in found and s not in still(step))


def still(step: Step) -> tuple[str, ...]:
    """States whose next value is the state itself: constant in time."""
    copies = {state: state for state in step.states}  # {array: the state that it is}
    for equation in step.program.equations:
        if isinstance(equation, Map) and len(equation.operands) == 1:
            (name,) = equation.operands
            plain = equation.expr == functions.symbol(name) and equation.place(name) is None
            if plain and name in copies:
                copies[equation.out] = copies[name]
    pairs = zip(step.states, step.next_states, strict=True)
    return tuple(state for state, after in pairs if copies.get(after) == state)
