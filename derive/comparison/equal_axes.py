"""Whether two cells whose arrays have axes compute the same.

In: two Cells.  Out: a `Verdict`.
Not here: forms (indexed.py), candidates (indexed_matching.py), parameters that others take up
(absorbed.py), what a map is (axes_map.py), numbers (confirm.py, fits.py); cells of vectors
(equal.py), of which more is known.

| verdict   | means                                                                             |
| --------- | --------------------------------------------------------------------------------- |
| equal     | arrays correspond one to one, with their axes in some order and a minus before    |
|           | some parameters, once parameters that others can take up are left out; then both  |
|           | cells have the same form at every index. Functions that have kinks stand in it as |
|           | they are, so gradients are the same as well.                                      |
| sub-case  | one way only: parameters of the one are tied, or repeated along an axis           |
| not equal | arrays that are given or put out do not fit each other (a proof), or fits of each |
|           | cell's parameters to the other's outputs stay away (evidence)                     |
| undecided | anything else                                                                     |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import combinations, islice
from operator import xor

from derive.cell import Cell
from derive.comparison import polynomial
from derive.comparison.absorbed import NOTHING, Absorbed, absorbed
from derive.comparison.axes_map import map_of, turned_round
from derive.comparison.canonical import deep_atoms
from derive.comparison.confirm import confirm
from derive.comparison.fits import Distance, mute_note, nearest
from derive.comparison.indexed import Indexed, Names, base_of, indexed, renamed
from derive.comparison.indexed_matching import Matching, Shapes
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.polynomial import Atom, Poly
from derive.program import Step
from derive.program.program import Dim

Tick = Callable[[str], None]

#: Steps for the search of one pair; candidates that are tried.
STEPS, CANDIDATES = 100_000, 12
#: Choices of signs that are tried for one of them: of one group of parameters, and of two.
SIGNS = 60
#: Terms of arrays that are written out: all, and few; and steps for the forms of one cell then.
FORM_STEPS = {None: 20_000, 6: 120_000}
#: Steps for the forms of a cell with fewer parameters, all together.
SMALL_STEPS = 60_000


@dataclass(frozen=True, eq=False)
class Parts:
    """A cell's arrays as its step knows them, by name, with their shapes.

    less: what parameters are told by fewer (absorbed.py); empty for the cell as it is.
    """

    cell: Cell
    less: Absorbed = NOTHING

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def step(self) -> Step:
        return self.cell.step

    @cached_property
    def shapes(self) -> Mapping[str, tuple[Dim, ...]]:
        return {array.name: array.shape for array in self.step.program.arrays}

    def _group(self, names: tuple[str, ...]) -> dict[str, tuple[Dim, ...]]:
        return {name: self.shapes[name] for name in names}

    @cached_property
    def params(self) -> Mapping[str, tuple[Dim, ...]]:
        return self._group(self.step.params)

    @cached_property
    def inputs(self) -> Mapping[str, tuple[Dim, ...]]:
        return self._group(self.step.inputs)

    @cached_property
    def states(self) -> Mapping[str, tuple[Dim, ...]]:
        return self._group(self.step.states)

    @cached_property
    def outputs(self) -> Mapping[str, tuple[Dim, ...]]:
        pairs = zip(self.cell.output_keys, self.step.outputs, strict=True)
        return {key: self.shapes[name] for key, name in pairs}

    def parts_of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        wholes = self.cell.checked.wholes
        return tuple(part for name in names for part, *_ in wholes.get(name, ((name,),)))

    @cached_property
    def fixed(self) -> frozenset[str]:
        return frozenset(self.parts_of(self.cell.checked.fixed))

    @cached_property
    def once(self) -> frozenset[str]:
        return frozenset(self.parts_of(self.cell.checked.once))

    @cached_property
    def learned(self) -> Mapping[str, str]:
        """{state: the parameter that it starts from}."""
        found: dict[str, str] = {}
        for state, start in self.cell.checked.learned.items():
            states, starts = self.parts_of((state,)), self.parts_of((start,))
            starts = starts * len(states) if len(starts) == 1 else starts
            found |= dict(zip(states, starts, strict=True))
        return found

    @cached_property
    def kinds(self) -> Shapes:
        """Arrays that correspond are of one kind."""
        kinds = dict.fromkeys(self.step.states, "state")
        kinds |= {n: "given once" if n in self.once else "input" for n in self.step.inputs}
        kinds |= {n: "fixed" if n in self.fixed else "param" for n in self.step.params}
        return Shapes(self.shapes, kinds)

    @cached_property
    def small(self) -> Parts:
        """The same with fewer parameters, where some can take up others."""
        form = self.form(whole=6)
        kept = self.fixed | frozenset(self.learned.values())
        params = {name: shape for name, shape in self.params.items() if name not in kept}
        if form is None or not params:
            return self
        with polynomial.budget(SMALL_STEPS):
            return Parts(self.cell, absorbed(form, lambda names: self.form(names, 6), params))

    def form(self, names: Names | None = None, whole: int | None = None) -> Indexed | None:
        if self.less.put:
            names = replace(names or Names(), put=self.less.put)
        try:
            with polynomial.budget(FORM_STEPS[whole]), polynomial.opaque():
                return indexed(self.step, names, whole)
        except polynomial.TooLarge:
            return None


@dataclass(frozen=True, slots=True)
class Found:
    """What is known: see equal.Verdict."""

    status: str
    proved: bool
    forward: ParameterMap | None = None
    backward: ParameterMap | None = None
    distances: tuple[Distance, ...] = ()
    notes: tuple[str, ...] = ()


def equal_of_axes(a: Cell, b: Cell, done: Tick) -> Found:
    one, two = Parts(a), Parts(b)
    if why := _misfit(a, b):
        return Found("not equal", True, notes=(why,))
    found = proved_equal(one, two)
    done(f"parameters of {b.name} for {a.name}")
    if found.proved:
        return found
    ways = [tied(one, two), tied(two, one)]
    return _by_numbers(one, two, ways, list(found.notes), done)


def proved_equal(a: Parts, b: Parts) -> Found:
    """Whether arrays are found that correspond, in two cells whose inputs and outputs fit."""
    given = _inputs(a, b)
    if given is None:
        why = f"inputs of {a.name} and {b.name} are cut in other places"
        return Found("undecided", False, notes=(why,))
    notes: list[str] = []
    for one, two in ((a, b), (a.small, b.small)):
        for whole in FORM_STEPS:
            for names in _proved(one, two, given, whole):
                numbers = confirm(one, two, names)
                if numbers.apart:
                    notes.append(f"a map that seemed proved is refuted by numbers: {numbers.apart}")
                    continue
                maps = (
                    map_of(one, two, names, numbers.error, whole),
                    map_of(two, one, turned_round(names), numbers.error, whole),
                )
                notes += [note for made in maps for note in made.notes]
                return Found("equal", True, *maps, notes=tuple(notes))
        if a.small is a and b.small is b:
            break
    return Found("undecided", False, notes=tuple(notes))


def tied(a: Parts, b: Parts) -> ParameterMap | None:
    """How b computes what a does, where several of its parameters are one of a's, or are the same
    along an axis."""
    given, (one, two) = _inputs(a, b), (a.small, b.small)
    for whole in FORM_STEPS if given is not None else ():
        for names in _proved(one, two, given or {}, whole, tied=True):
            numbers = confirm(one, two, names)
            if not numbers.apart:
                return map_of(one, two, names, numbers.error, whole)
    return None


def same_with_axes(a: Cell, b: Cell) -> ParameterMap | None:
    """The map, where the two are proved to compute the same."""
    return None if _misfit(a, b) else proved_equal(Parts(a), Parts(b)).forward


# --- proofs ---------------------------------------------------------------------------------


def _inputs(a: Parts, b: Parts) -> dict[str, str] | None:
    """{input of b: of a}: by name where those are the same, else by place."""
    if len(a.inputs) != len(b.inputs):
        return None
    if set(a.inputs) == set(b.inputs):
        return {name: name for name in b.inputs}
    return dict(zip(b.inputs, a.inputs, strict=True))


def _proved(
    a: Parts, b: Parts, given: Mapping[str, str], whole: int | None, *, tied: bool = False
) -> Iterator[Names]:
    """Names of a's arrays for b's, under which both have the same form."""
    mine, theirs = a.form(whole=whole), b.form(whole=whole)
    if mine is None or theirs is None:
        return
    matching = Matching(mine, theirs, a.kinds, b.kinds, tied=tied)
    try:
        with polynomial.budget(STEPS), polynomial.opaque():
            outputs = zip(a.step.outputs, b.step.outputs, strict=True)
            tried = list(islice(matching.candidates(given, outputs), CANDIDATES))
    except polynomial.TooLarge:
        return
    for names in tried:
        full = _with_starts(a, b, names)
        for signed in () if full is None else _signed(b, theirs, full):
            other = b.form(signed, whole)
            if other is not None and _same(mine, other, signed):
                yield signed


def _signed(b: Parts, form: Indexed, names: Names) -> Iterator[Names]:
    """As they are; then with a minus before all parameters that stand in one function, before a
    parameter, and before those of two of these, in which what both have loses it again."""
    groups: dict[frozenset[str], None] = {}
    for atom in deep_atoms([*form.states.values(), *form.outputs]):
        if atom.kind in ("function", "exp"):
            inside = {base_of(p)[0] for arg in atom.args for p in _params_of(arg)}
            groups.setdefault(frozenset(inside))
    groups |= {frozenset({name}): None for name in b.params if name in names.arrays}
    kept = b.fixed | frozenset(b.learned.values())
    groups = {group: None for group in groups if group and not group & kept}
    for n in range(3):
        for chosen in islice(combinations(groups, n), SIGNS):
            yield replace(names, minus=reduce(xor, chosen, frozenset()))


def _params_of(value: Poly) -> Iterator[Atom]:
    """Parameters that stand in it outside of functions."""
    for atom in value.atoms():
        if atom.kind == "param":
            yield atom
        elif atom.kind == "indexed sum":
            yield from _params_of(atom.args[0])


def _same(mine: Indexed, other: Indexed, names: Names) -> bool:
    """other: the second cell's form under the first one's names."""
    for name, value in other.states.items():
        if name in names.arrays:
            state, axes = names.arrays[name]
            told = renamed(value, {str(axis): str(k) for k, axis in enumerate(axes)})
            if told != mine.states[state]:
                return False
    return mine.outputs == other.outputs and mine.domain == other.domain


def _with_starts(a: Parts, b: Parts, names: Names) -> Names | None:
    """With the parameters that states start from; None where those do not correspond."""
    arrays = dict(names.arrays)
    for state, (own, axes) in names.arrays.items():
        if b.kinds.kinds[state] != "state":
            continue
        start, theirs = a.learned.get(own), b.learned.get(state)
        if (start is None) != (theirs is None):
            return None
        if start is None or theirs is None:
            continue
        lies = axes if len(a.shapes[start]) == len(axes) else tuple(range(len(a.shapes[start])))
        known = {name for name, _ in arrays.values()}
        if arrays.get(theirs, (start, lies)) != (start, lies):
            return None
        if theirs not in arrays and (start in known or len(b.shapes[theirs]) != len(lies)):
            return None
        arrays[theirs] = (start, lies)
    return Names(arrays, names.dims, names.minus)


# --- numbers --------------------------------------------------------------------------------


def _by_numbers(
    a: Parts, b: Parts, ways: list[ParameterMap | None], notes: list[str], done: Tick
) -> Found:
    """ways: how b computes a, and how a computes b, where that is known."""
    forward, backward = ways
    if forward is not None and backward is not None:
        return Found("equal", True, forward, backward, notes=tuple(notes))
    distances, evidence = [], False
    for way, (source, target) in zip(ways, ((a, b), (b, a)), strict=True):
        if way is not None:
            continue
        found = nearest(source, target)
        done(f"fits of {target.name} to {source.name}")
        if found.best is not None:
            distances.append(found.best)
        if found.evidence and _hidden(target):
            notes.append(
                f"fits of {target.name} are no evidence: a parameter stands inside a function by "
                "itself, where a fit may miss it"
            )
        elif found.incapable:
            notes.append(
                f"fits of {target.name} are no evidence: they do not find back to its own "
                "parameters"
            )
        elif found.mute:
            notes.append(mute_note(source.name, target.name))
        elif found.evidence:
            evidence = True
        elif found.best is not None:
            notes.append(f"{target.name} may compute {source.name}: a fit came close")
    status = "not equal" if evidence else "undecided"
    if forward or backward:
        status = "sub-case" if evidence else "undecided"
    else:
        notes.append("arrays that correspond, with axes in any order, were not found")
        notes += _other_kinds(a, b)
    return Found(status, False, forward, backward, tuple(distances), tuple(notes))


def _other_kinds(a: Parts, b: Parts) -> Iterator[str]:
    """Arrays that correspond to none because they are of another kind."""
    for what, one, other in (
        ("fixed arrays", a.fixed, b.fixed),
        ("states that start from a parameter", a.learned, b.learned),
    ):
        if len(one) != len(other):
            yield f"{what}: {a.name} has {len(one)}, {b.name} {len(other)}"


def _hidden(cell: Parts) -> bool:
    """Whether a function has parameters alone as its argument."""
    form = cell.form(whole=6)
    if form is None:
        return True
    for atom in deep_atoms([*form.states.values(), *form.outputs]):
        kinds = frozenset[str]().union(*(a.kinds for arg in atom.args for a in arg.atoms()))
        if atom.kind in ("function", "exp", "power") and "param" in kinds and "array" not in kinds:
            return True
    return False


def _misfit(a: Cell, b: Cell) -> str:
    """Why the two cannot even be compared."""
    once = (a.checked.once, b.checked.once)
    for what, one, other in (
        ("inputs", a.inputs, b.inputs),
        ("outputs", a.outputs, b.outputs),
    ):
        if len(one) != len(other):
            return f"{what}: {a.name} has {', '.join(one)}; {b.name} has {', '.join(other)}"
        by_name = what == "inputs" and set(one) == set(other)
        for key, partner in zip(one, one if by_name else other, strict=True):
            mine, theirs = one[key], other[partner]
            shown = (" x ".join(map(str, shape)) for shape in (mine, theirs))
            numbers = [m != n and isinstance(m, int) and isinstance(n, int)
                       for m, n in zip(mine, theirs, strict=False)]  # fmt: skip
            if len(mine) != len(theirs) or any(numbers):
                said = " and ".join(
                    f"{name} of {cell.name} is {shape}"
                    for name, cell, shape in zip((key, partner), (a, b), shown, strict=True)
                )
                return said
            if what == "inputs" and (key in once[0]) != (partner in once[1]):
                which = a if key in once[0] else b
                return f"{key if which is a else partner} of {which.name} does not change with time"
    return ""
