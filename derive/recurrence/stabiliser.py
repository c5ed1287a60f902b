"""States that outputs do not depend on: a running maximum that keeps exponentials small.

In: a Step.  Out: a `Stabiliser` for each state that exponentials subtract, an `Offer` for states
that could be stored smaller.
Not here: which exponentials overflow (hazards.py), words (inspect/facts/structure.py).

sLSTM stores c and n times exp(-m). Let m' be anything at all, the maximum or 0. If adding e to m'
multiplies c' and n' by exp(-e) and changes no output and no other state, and if adding d to m and
multiplying c and n by exp(-d) changes nothing, then c exp(m), n exp(m) and all outputs are the same
for every choice of m' at every step: for the maximum and for 0, the form without a stabiliser.

Both are found by weights. Adding e to m' adds `shift` * e to an array, or multiplies it by
exp(`scale` * e). exp turns a shift into a scale; a product adds scales; a sum, a maximum, a
comparison needs equal ones; any other function needs none. Each unit of m has an e of its own, so
a product or a sum over an axis of m needs none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import sympy

from derive.program import Map, Matmul, Over, Program, Step, Sum
from derive.recurrence.kind import reached_by
from derive.recurrence.linear import Degree, degrees
from derive.symbolic import functions
from derive.symbolic.functions import Expr

_ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Weight:
    """What adding e does to an array: times exp(scale * e), plus shift * e. place: the axes of the
    array on which those of e lie, where it does anything."""

    scale: Fraction = _ZERO
    shift: Fraction = _ZERO
    place: tuple[int, ...] = ()

    @property
    def moves(self) -> bool:
        return bool(self.scale or self.shift)


STILL = Weight()


class Clash(Exception):
    """An equation treats what is scaled and what is not alike. array: whose; terms: those that do
    not agree, with their weights."""

    def __init__(self, array: str, terms: Sequence[tuple[Expr, Weight]], why: str) -> None:
        super().__init__(why)
        self.array, self.terms, self.why = array, tuple(terms), why


@dataclass(frozen=True, slots=True)
class Stabiliser:
    """A state that exponentials subtract. scaled: states that are stored times exp(-state).
    clash: why outputs depend on it; None where they do not."""

    state: str
    scaled: tuple[str, ...]
    clash: Clash | None


@dataclass(frozen=True, slots=True)
class Offer:
    """States that may be stored times exp(-m), m being a running maximum.  clash: why not; None
    where outputs stay as they are."""

    states: tuple[str, ...]
    clash: Clash | None


def stabilisers(step: Step) -> tuple[Stabiliser, ...]:
    """One for each state that an exponential reads with a plain factor, as exp(a - m') does."""
    found = []
    free: dict[str, Weight] | None = None
    for state, after in zip(step.states, step.next_states, strict=True):
        if _is_subtracted(step.program, after):
            free = _chosen_within(step) if free is None else free
            found.append(_stabiliser(step, state, after, free))
    return tuple(found)


def _chosen_within(step: Step) -> dict[str, Weight]:
    """Maxima inside a step of which nothing sees how they are chosen, as that of a softmax: they
    may be held while something else is moved."""
    found: dict[str, Weight] = {}
    for equation in step.program.equations:
        name = equation.out
        largest = isinstance(equation, Map) and isinstance(equation.expr, functions.maximum)
        largest = largest or (isinstance(equation, Sum) and equation.over is Over.MAX)
        if not largest or name in step.next_states or not _is_subtracted(step.program, name):
            continue
        unit = Weight(shift=Fraction(1), place=tuple(range(_rank(step.program, name))))
        with suppress(Clash):
            _still(_weights(step.program, {}, {name: unit}), (*step.next_states, *step.outputs))
            found[name] = STILL
    return found


def _stabiliser(step: Step, state: str, after: str, free: Mapping[str, Weight]) -> Stabiliser:
    program, rank = step.program, _rank(step.program, state)
    others = [(s, n) for s, n in zip(step.states, step.next_states, strict=True) if s != state]
    unit = Weight(shift=Fraction(1), place=tuple(range(rank)))
    try:
        by_next = _weights(program, {}, {**free, after: unit})
        scaled: dict[str, Weight] = {}
        for other, name in others:
            weight = by_next.get(name, STILL)
            if weight.shift:
                raise Clash(name, (), "a state is shifted, not scaled")
            if weight.scale:
                scaled[other] = weight
        _still(by_next, [name for name in step.outputs if name not in _nexts(step, scaled)])
        old = _weights(program, {state: unit, **scaled}, {**free, after: STILL})
        _still(old, [*(name for _, name in others), *step.outputs])
        _still(by_next, step.outputs)
    except Clash as clash:
        return Stabiliser(state, (), clash)
    return Stabiliser(state, tuple(scaled), None)


def _nexts(step: Step, states: Iterable[str]) -> set[str]:
    nexts = dict(zip(step.states, step.next_states, strict=True))
    return {nexts[state] for state in states}


def _still(weights: Mapping[str, Weight], names: Iterable[str]) -> None:
    for name in names:
        weight = weights.get(name, STILL)
        if weight.moves:
            raise Clash(name, [(functions.symbol(name), weight)], "it depends on the choice")


def _is_subtracted(program: Program, name: str) -> bool:
    """Whether an exponential's argument is an array less something, as in exp(a - m')."""
    slopes: dict[str, Expr] = {name: functions.ONE}
    for equation in program.equations:
        if not isinstance(equation, Map) or equation.out == name:
            continue
        known = [operand for operand in equation.operands if operand in slopes]
        for node in equation.expr.atoms(functions.exp):
            if any(_slope(node.args[0], operand, slopes) < 0 for operand in known):
                return True
        plain = equation.expr.is_Add or equation.expr.is_Mul or equation.expr.is_Symbol
        total = sum(_slope(equation.expr, operand, slopes) for operand in known) if plain else 0
        if total:
            slopes[equation.out] = total
    return False


def _slope(expr: Expr, name: str, slopes: Mapping[str, Expr]) -> Expr:
    """By a number that does not change with anything; 0 where there is none."""
    slope = functions.partial(expr, functions.symbol(name))
    return slope * slopes[name] if slope.is_number else functions.ZERO


def offer(step: Step, large: Sequence[str]) -> Offer | None:
    """Whether states that exponentials are added to or multiply may be stored smaller.

    large: exponentials that may overflow, all of one shape. The states are those whose next value
    they reach: where multiplying all of them by one number multiplies next values by it, and else
    where some of them are. These states are factor * state + added, so they can be divided by
    anything; all else must not notice by what, before the step and after it. None where no state
    is multiplied.
    """
    program = step.program
    nexts = dict(zip(step.states, step.next_states, strict=True))
    unit = Weight(scale=Fraction(1), place=tuple(range(_rank(program, large[0]))))
    states: tuple[str, ...] = ()
    first: Clash | None = None
    try:
        scaled, first = _with_exponentials(step, large, unit)
        if not scaled:
            return None
        states = tuple(scaled)
        others = [nexts[state] for state in step.states if state not in scaled]
        own = dict.fromkeys((nexts[state] for state in states), STILL)
        _still(_weights(program, scaled, own), [*others, *step.outputs])
        after = {nexts[state]: weight for state, weight in scaled.items()}
        _still(_weights(program, {}, after), [*others, *step.outputs])
        for state in states:
            _only_itself(step, state, nexts, set(states))
    except Clash as clash:
        return Offer(states, first or clash)
    return Offer(states, None)


def _with_exponentials(
    step: Step, large: Sequence[str], unit: Weight
) -> tuple[dict[str, Weight], Clash | None]:
    """{state: its weight} where exponentials are multiplied, and what clashes then.

    Where `f * c + i * z` adds what is multiplied to what is not, each state that one of them
    reaches is divided by one number, as its factor allows.
    """
    nexts = dict(zip(step.states, step.next_states, strict=True))
    try:
        found = _weights(step.program, {}, dict.fromkeys(large, unit))
        scaled = {s: found[n] for s, n in nexts.items() if n in found and found[n].scale}
        others = [n for s, n in nexts.items() if s not in scaled]
        _still(found, [*others, *(o for o in step.outputs if o not in nexts.values())])
        return scaled, None
    except Clash as clash:
        first = clash
    reach: dict[str, bool] = {name: False for name in step.program.inputs}
    for equation in step.program.equations:
        own = equation.out in large
        reach[equation.out] = own or any(reach[name] for name in equation.operands)
    table = step.program.table()
    alike = {s: table[s].shape for s, after in nexts.items() if reach[after]}
    fits = all(shape == table[large[0]].shape or not unit.place for shape in alike.values())
    return (dict.fromkeys(alike, unit) if fits else {}), first


def _only_itself(step: Step, state: str, nexts: Mapping[str, str], states: set[str]) -> None:
    """No scaled state reaches the next value of another one of them."""
    if reached_by(step.program, states)[nexts[state]] - {state}:
        raise Clash(nexts[state], (), "a scaled state reads another one")
    if degrees(step.program, (state,))[nexts[state]] is Degree.HIGHER:
        raise Clash(nexts[state], (), "it is not factor * state + added")


def _rank(program: Program, name: str) -> int:
    shape = program.table()[name].shape
    return 0 if shape == (1,) else len(shape)


# --- weights of arrays ----------------------------------------------------------------------------


def _weights(
    program: Program, given: Mapping[str, Weight], cut: Mapping[str, Weight]
) -> dict[str, Weight]:
    """Weights of arrays, those that move nothing left out. cut: arrays whose equation does not
    count."""
    known: dict[str, Weight] = {**given}
    walk = _Weights(program, known)
    for equation in program.equations:
        weight = cut[equation.out] if equation.out in cut else walk.of(equation)
        if weight.moves:
            known[equation.out] = weight
    return known


class _Weights:
    def __init__(self, program: Program, known: dict[str, Weight]) -> None:
        self.table = program.table()
        self.known = known

    def of(self, equation: Map | Matmul | Sum) -> Weight:
        if not any(name in self.known for name in equation.operands):
            return STILL
        if isinstance(equation, Map):
            return _Expression(self, equation).of(equation.expr) or STILL
        if isinstance(equation, Sum):
            return self._of_sum(equation)
        return self._of_product(equation)

    def _of_sum(self, equation: Sum) -> Weight:
        weight = self.known[equation.source]
        axes = equation.axes_of(self.table[equation.source], self.table[equation.out])
        if weight.shift and equation.over is not Over.MAX:
            raise self.clash(equation, equation.source, "a sum of what is shifted")
        if set(axes) & set(weight.place):
            raise self.clash(equation, equation.source, "units that are scaled apart are summed")
        if equation.over.keeps:
            return weight
        if self.table[equation.out].shape == (1,):
            return Weight(weight.scale, weight.shift)
        kept = [k for k in range(len(self.table[equation.source].shape)) if k not in axes]
        return Weight(weight.scale, weight.shift, tuple(kept.index(k) for k in weight.place))

    def _of_product(self, equation: Matmul) -> Weight:
        *operands, out = equation.letters()
        scale, letters = _ZERO, None
        for name, own in zip(equation.operands, operands, strict=True):
            weight = self.known.get(name)
            if weight is None:
                continue
            if weight.shift:
                raise self.clash(equation, name, "a product with what is shifted")
            mine = tuple(own[k] for k in weight.place)
            if any(letter not in out for letter in mine):
                raise self.clash(equation, name, "units that are scaled apart are summed")
            if letters not in (None, mine):
                raise self.clash(equation, name, "units that are scaled apart meet")
            scale, letters = scale + weight.scale, mine
        if self.table[equation.out].shape == (1,):
            return Weight(scale)
        return Weight(scale, _ZERO, tuple(out.index(letter) for letter in letters or ()))

    def clash(self, equation: Matmul | Sum, name: str, why: str) -> Clash:
        return Clash(equation.out, [(functions.symbol(name), self.known[name])], why)


#: Functions f with f(a v) = a f(v) for a above 0.
_HOMOGENEOUS = (functions.absolute, functions.relu, functions.leaky_relu)


class _Expression:
    """Weights of the parts of a Map's expression. None: of 0, which has any weight."""

    def __init__(self, arrays: _Weights, equation: Map) -> None:
        self.arrays, self.equation = arrays, equation
        table = arrays.table
        shape = table[equation.out].shape
        self.places: dict[str, tuple[int, ...]] = {}
        for name in equation.operands:
            place = equation.place(name)
            if table[name].shape == (1,):
                place = ()
            self.places[name] = tuple(range(len(shape))) if place is None else place

    def of(self, expr: Expr) -> Weight | None:
        if expr.is_Symbol:
            return self._of_symbol(expr)
        if not expr.args:
            return None if expr == 0 else STILL
        if expr.is_Add:
            return self._sum(expr)
        if expr.is_Mul:
            return self._product(expr)
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            base = self._no_shift(expr, expr.base)
            if not expr.exp.is_Rational:
                return self._all_still(expr)
            power = Fraction(int(expr.exp.p), int(expr.exp.q))
            return Weight(base.scale * power, _ZERO, base.place)
        return self._function(expr)

    def _of_symbol(self, expr: Expr) -> Weight:
        weight = self.arrays.known.get(expr.name)
        if functions.is_size(expr) or weight is None:
            return STILL
        place = self.places[expr.name]
        return Weight(weight.scale, weight.shift, tuple(place[k] for k in weight.place))

    def _sum(self, expr: Expr) -> Weight | None:
        parts = [(arg, weight) for arg in expr.args if (weight := self.of(arg)) is not None]
        if not parts:
            return None
        scales = {(w.scale, w.place if w.scale else ()) for _, w in parts}
        shifted = {w.place for _, w in parts if w.shift}
        if len(scales) > 1 or len(shifted) > 1 or (shifted and parts[0][1].scale):
            raise self._clash(parts, "a sum of what is scaled and what is not")
        place = next(iter(shifted), parts[0][1].place)
        return Weight(parts[0][1].scale, sum((w.shift for _, w in parts), _ZERO), place)

    def _product(self, expr: Expr) -> Weight | None:
        parts = [(arg, self.of(arg)) for arg in expr.args]
        if any(weight is None for _, weight in parts):
            return None
        moving = [(arg, w) for arg, w in parts if w is not None and w.moves]
        if len({w.place for _, w in moving}) > 1:
            raise self._clash(moving, "units that are scaled apart meet")
        place = moving[0][1].place if moving else ()
        if any(w.shift for _, w in moving):
            rest = sympy.Mul(*(arg for arg in expr.args if arg is not moving[0][0]))
            if len(moving) > 1 or not rest.is_Rational:
                raise self._clash(moving, "a product with what is shifted")
            factor = Fraction(int(rest.p), int(rest.q))
            return Weight(_ZERO, moving[0][1].shift * factor, place)
        return Weight(sum((w.scale for _, w in moving), _ZERO), _ZERO, place)

    def _function(self, expr: Expr) -> Weight | None:
        if isinstance(expr, functions.exp):
            inner = self.of(expr.args[0]) or STILL
            if inner.scale:
                raise self._clash([(expr, inner)], "an exponential of what is scaled")
            return Weight(inner.shift, _ZERO, inner.place)
        if isinstance(expr, functions.log):
            inner = self._no_shift(expr, expr.args[0])
            return Weight(_ZERO, inner.scale, inner.place)
        if isinstance(expr, functions.stop_gradient):
            return self.of(expr.args[0])
        if isinstance(expr, _HOMOGENEOUS):
            return self._no_shift(expr, expr.args[0])
        if isinstance(expr, functions.sign):
            self._no_shift(expr, expr.args[0])
            return STILL
        if isinstance(expr, (functions.maximum, functions.minimum)):
            return self._alike(expr, expr.args)
        if isinstance(expr, functions.where):
            self._alike(expr, expr.args[0].args)
            return self._alike(expr, expr.args[1:])
        return self._all_still(expr)

    def _alike(self, expr: Expr, args: Sequence[Expr]) -> Weight | None:
        """Of a choice or a comparison: 0 is as large as it was, but not where things shift."""
        parts = [(arg, self.of(arg)) for arg in args]
        found = [(arg, w) for arg, w in parts if w is not None]
        zero = [(arg, STILL) for arg, w in parts if w is None]
        if any(w.shift for _, w in found):
            found += zero
        kinds = {(w.scale, w.shift, w.place if w.moves else ()) for _, w in found}
        if len(kinds) > 1:
            raise self._clash(found, "a comparison of what is scaled and what is not")
        return found[0][1] if found else None

    def _all_still(self, expr: Expr) -> Weight:
        for arg in expr.args:
            weight = self.of(arg)
            if weight is not None and weight.moves:
                raise self._clash([(expr, weight)], "a function that sees the scale")
        return STILL

    def _no_shift(self, expr: Expr, arg: Expr) -> Weight:
        weight = self.of(arg) or STILL
        if weight.shift:
            raise self._clash([(expr, weight)], "a function that sees the shift")
        return weight

    def _clash(self, terms: Sequence[tuple[Expr, Weight]], why: str) -> Clash:
        return Clash(self.equation.out, terms, why)
