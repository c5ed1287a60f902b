"""One cell's parameters from another's: a parameter map in one direction, proved.

In: two Cells; a fit of one to the other, where there is one.  Out: a `ParameterMap`, or None.
Not here: the search (matching.py), how a fit is read (map_from_fit.py), what follows (equal.py),
the independent check (check.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache, cached_property
from itertools import islice

import sympy

from derive.cell import Cell
from derive.comparison import polynomial
from derive.comparison.canonical import Meaning, canonical, deep_atoms, reduced
from derive.comparison.matching import GaveUp, Kinked, Link, Search, Side
from derive.comparison.matrices import Factor, Matrix
from derive.comparison.parameter_map import ParameterMap, bijective, is_simple, text_of
from derive.comparison.polynomial import Atom, Poly, constant, of
from derive.comparison.proof import rewritten, told
from derive.comparison.state_pairs import links
from derive.program import Map
from derive.symbolic import functions

#: Steps of rewriting for a form, and for one direction; they bound the time of a comparison.
FORM_STEPS, STEPS = 40_000, 60_000
#: Steps for the gradients under one map.
SLOPE_STEPS = 60_000
#: So many links are tried.
LINKS = 60


class Sides:
    """A cell's forms: with functions that have kinks left as they are, and written in terms of
    others.

    None where a form grows beyond all use.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    @cached_property
    def opaque(self) -> Side | None:
        with polynomial.opaque():
            return self._side()

    @cached_property
    def plain(self) -> Side | None:
        return self.opaque if smooth(self.cell) else self._side()

    def _side(self) -> Side | None:
        try:
            with polynomial.budget(FORM_STEPS):
                return Side(*reduced(self.cell.step))
        except polynomial.TooLarge:
            return None

    def notes(self) -> Iterator[str]:
        """What is to be known of states."""
        side = self.plain or self.opaque
        if side is None:
            return
        for twin, state in side.same.items():
            yield f"{twin} and {state} of {self.cell.name} are equal if they start so"
        idle = [s for s in self.cell.states if s not in side.step.states and s not in side.same]
        if idle:
            names = ", ".join(idle)
            yield f"no output of {self.cell.name} depends on {names}: there it may differ"


def searched(sides: tuple[Sides, Sides], unfinished: list[str]) -> ParameterMap | None:
    """The second cell's parameters from the first's, so that it computes the first.

    unfinished: why None decides nothing is added.
    """
    a, b = sides
    tried: list[str] = []
    with polynomial.opaque():
        found = _searched(a.cell, b.cell, a.opaque, b.opaque, tried)
    if found is None and not (smooth(a.cell) and smooth(b.cell)):
        tried = []
        found = _searched(a.cell, b.cell, a.plain, b.plain, tried)
    unfinished += tried
    return found


def by_names(sides: tuple[Sides, Sides]) -> ParameterMap | None:
    """As `searched`, but only by the names of parameters and states: it takes no time."""
    with polynomial.opaque():
        a, b = (each.opaque for each in sides)
        if a is None or b is None:
            return None
        try:
            with polynomial.budget(STEPS // 4):
                for link in islice(links(a, b), 1):
                    meaning = Search(a, b, link).at_once()
                    if meaning is not None:
                        return as_map(sides[0].cell, sides[1].cell, a, b, link, meaning)
        except polynomial.TooLarge:
            pass
    return None


def _searched(
    source: Cell, target: Cell, a: Side | None, b: Side | None, unfinished: list[str]
) -> ParameterMap | None:
    if a is None or b is None:
        unfinished.append("a canonical form is too large to compare")
        return None
    first: list[Search] = []
    later: list[Search] = []
    try:
        with polynomial.budget(STEPS):
            for link in islice(links(a, b), LINKS + 1):
                if len(first) + len(later) == LINKS:
                    unfinished.append(
                        f"not every pairing of states of {source.name} and {target.name} was tried"
                    )
                    break
                search = Search(a, b, link)
                likely = not first or search.alike()
                (first if likely else later).append(search)
                meaning = search.at_once() if likely or link.is_plain else None
                if meaning is not None:
                    return as_map(source, target, a, b, link, meaning)
    except polynomial.TooLarge:
        unfinished.append("a canonical form is too large to compare")
    for searches, steps in ((first, STEPS), (later, STEPS // 3)):
        try:
            with polynomial.budget(steps):
                for search in searches:
                    try:
                        meaning = search.run()
                    except GaveUp:
                        unfinished.append(
                            f"not every way to map {source.name} to {target.name} was tried"
                        )
                        continue
                    if meaning is not None:
                        return as_map(source, target, a, b, search.link, meaning)
        except polynomial.TooLarge:
            unfinished.append("a canonical form is too large to compare")
    return None


def inverse(given: ParameterMap) -> Meaning | None:
    """The source's parameters, written in the target's, where the map is a bijection of
    factors, shifts and transpositions: to be proved like any other."""
    if not given.bijective:
        return None
    vectors, matrices = {}, {}
    for name, value in given.params.items():
        if isinstance(value, Matrix):
            (((factor,), c),) = value.parts.items()
            matrices[factor.name] = Matrix({(Factor(name, factor.transposed),): 1 / c})
        else:
            ((mono, c),) = [item for item in value.terms.items() if item[0]]
            own = mono[0][0]
            shift = value.terms.get((), Fraction(0))
            moved = of(Atom("param", name, (), own.scalar)) - constant(shift)
            vectors[own.name] = moved.times(1 / c)
    return Meaning(vectors, matrices)


def proved(sides: tuple[Sides, Sides], meaning: Meaning) -> ParameterMap | None:
    """The map that this meaning is, if the canonical forms are the same under it."""
    for on in (True, False):
        with polynomial.opaque(on):
            a, b = ((each.opaque if on else each.plain) for each in sides)
            if a is None or b is None:
                continue
            try:
                with polynomial.budget(STEPS):
                    for link in islice(links(a, b), LINKS):
                        if Search(a, b, link).proves(meaning):
                            return as_map(sides[0].cell, sides[1].cell, a, b, link, meaning)
            except polynomial.TooLarge:
                continue
    return None


def as_map(
    source: Cell, target: Cell, a: Side, b: Side, link: Link, meaning: Meaning
) -> ParameterMap:
    params = {
        name: meaning.matrices[name] if name in meaning.matrices else meaning.vectors[name]
        for name in target.params
    }
    gradients, ties, outside = _slopes(a, b, link, meaning)
    return ParameterMap(
        source.name,
        target.name,
        params,
        dict(link.states),
        dict(link.through),
        dict(link.inputs),
        dict(link.sizes),
        bool(a.same or b.same or link.from_zero),
        bijective(params, link.sizes, source.params, target.params),
        gradients,
        ties,
        outside,
        _steps(source, target, a, b, link, meaning, gradients),
    )


def _slopes(
    a: Side, b: Side, link: Link, meaning: Meaning
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Whether gradients are equal, where they are apart, and where one cell alone is a number."""
    search = Search(a, b, link)
    mine, theirs = search.both(meaning)
    outside = tuple(sorted(text_of(each)[:200] for each in mine.domain ^ theirs.domain))
    if polynomial.is_opaque():
        same = mine.steep == theirs.steep
        ties = tuple(sorted(text_of(each)[:200] for each in mine.steep ^ theirs.steep))
        return "equal" if same else "unknown", ties, outside
    try:
        with polynomial.budget(SLOPE_STEPS):
            apart, numbers = search.proves_slopes(meaning)
    except (polynomial.TooLarge, Kinked):
        return "unknown", (), outside
    if apart:
        return "apart", tuple(dict.fromkeys(_where(each) for each in apart)), outside
    return ("equal" if numbers else "unknown"), (), outside


@cache
def smooth(cell: Cell) -> bool:
    """Whether every function is analytic, and differentiated as it is: then equal values have
    equal gradients wherever they are numbers."""
    for equation in cell.step.program.equations:
        if isinstance(equation, Map):
            for part in equation.expr.atoms(*(rule.head for rule in functions.RULES.values())):
                head = functions.NAME_OF_HEAD.get(part.func)
                if head is None or head == "stop_gradient" or not functions.RULES[head].analytic:
                    return False
            if equation.expr.atoms(sympy.Pow) and any(
                not power.exp.is_Integer for power in equation.expr.atoms(sympy.Pow)
            ):
                return False
    return True


def _where(difference: Poly) -> str:
    """Where a difference of slopes is not 0, as far as its form shows."""
    ties = {a for a in deep_atoms([difference]) if a.kind == "function" and a.name == "zero"}
    everywhere = any(not any(a in ties for a, _ in mono) for mono in difference.terms)
    if ties and not everywhere:
        return " or ".join(sorted(f"{text_of(a.args[0])} = 0" for a in ties))
    return "everywhere" if everywhere and not ties else text_of(difference)[:120]


def _steps(
    source: Cell, target: Cell, a: Side, b: Side, link: Link, meaning: Meaning, gradients: str
) -> tuple[str, ...]:
    """The proof: what stands for what, the identities used line by line, the form in the end."""
    lines: list[str] = []
    try:
        lines += _told(source, target, a, b, link, meaning)
    except polynomial.TooLarge:
        lines.append("the forms are the same; they are too long to be told line by line")
    if gradients == "equal":
        lines.append(
            "gradients: all functions are analytic"
            if smooth(source) and smooth(target)
            else "gradients: functions with kinks stand as they are, so it holds for any"
            if polynomial.is_opaque()
            else "gradients: the forms of all directional derivatives are the same as well"
        )
    return tuple(lines)


def _told(
    source: Cell, target: Cell, a: Side, b: Side, link: Link, meaning: Meaning
) -> Iterator[str]:
    search = Search(a, b, link)
    for state, value in link.states.items():
        if not is_simple(state, value):
            yield f"state {state} of {target.name} is {text_of(value)} of {source.name}"
    for state, value in link.through.items():
        yield f"state {state} of {source.name} is {text_of(value)} of {target.name}"
    for cell, side, own in ((source, a, Meaning(search.own)), (target, b, search.whole(meaning))):
        yield from rewritten(cell.name, side.step, own)
    form = canonical(b.step, search.whole(meaning))
    known: dict[Poly, str] = {}
    for what, (mine, theirs) in zip(_named(b, link), search.pairs(form), strict=True):
        if theirs in known:
            yield f"{what} is {known[theirs]}"
            continue
        known[theirs] = what
        how = "" if mine == theirs else ", tanh by exponentials and over one denominator"
        line, *meanings = told(theirs)
        yield "\n  ".join((f"with the map, {what} is in both cells{how}", line, *meanings))


def _named(b: Side, link: Link) -> list[str]:
    states = link.through or dict.fromkeys(b.step.states)
    return [*(f"the next {state}" for state in states), *(f"output {n}" for n in b.step.outputs)]
