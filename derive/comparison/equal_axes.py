"""Whether two cells whose arrays have axes compute the same.

In: two Cells.  Out: a `Verdict`.
Not here: forms (indexed.py), candidates (indexed_matching.py), numbers (confirm.py, fits.py); cells
of vectors (equal.py), of which more is known: parameters there may be tied or scaled.

| verdict   | means                                                                             |
| --------- | --------------------------------------------------------------------------------- |
| equal     | arrays correspond one to one, with their axes in some order and a minus before    |
|           | some parameters; then both cells have the same form at every index. Functions     |
|           | that have kinks stand in it as they are, so gradients are the same as well.       |
| not equal | arrays that are given or put out do not fit each other (a proof), or fits of each |
|           | cell's parameters to the other's outputs stay away (evidence)                     |
| undecided | anything else                                                                     |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, reduce
from itertools import combinations, islice
from operator import xor

from derive.cell import Cell
from derive.comparison import polynomial
from derive.comparison.canonical import deep_atoms
from derive.comparison.confirm import confirm
from derive.comparison.fits import Distance, nearest
from derive.comparison.indexed import Indexed, Names, base_of, indexed, renamed
from derive.comparison.indexed_matching import Matching, Shapes
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.polynomial import Atom, Poly, of
from derive.program import Step
from derive.program.program import Dim

Tick = Callable[[str], None]

#: Steps for the search of one pair; candidates that are tried.
STEPS, CANDIDATES = 100_000, 12
#: Choices of signs that are tried for one of them: of one group of parameters, and of two.
SIGNS = 60
#: Terms of arrays that are written out: all, and few; and steps for the forms of one cell then.
FORM_STEPS = {None: 20_000, 6: 120_000}


@dataclass(frozen=True, eq=False)
class Parts:
    """A cell's arrays as its step knows them, by name, with their shapes."""

    cell: Cell

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

    def form(self, names: Names | None = None, whole: int | None = None) -> Indexed | None:
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
    return _by_numbers(one, two, list(found.notes), done)


def proved_equal(a: Parts, b: Parts) -> Found:
    """Whether arrays are found that correspond, in two cells whose inputs and outputs fit."""
    given = _inputs(a, b)
    if given is None:
        why = f"inputs of {a.name} and {b.name} are cut in other places"
        return Found("undecided", False, notes=(why,))
    notes: list[str] = []
    for whole in FORM_STEPS:
        for names in _proved(a, b, given, whole):
            numbers = confirm(a, b, names)
            if numbers.apart:
                notes.append(f"a map that seemed proved is refuted by numbers: {numbers.apart}")
                continue
            maps = _maps(a, b, names, numbers.error, whole)
            notes += [note for made in maps for note in made.notes]
            return Found("equal", True, *maps, notes=tuple(notes))
    return Found("undecided", False, notes=tuple(notes))


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


def _proved(a: Parts, b: Parts, given: Mapping[str, str], whole: int | None) -> Iterator[Names]:
    """Names of a's arrays for b's, under which both have the same form."""
    mine, theirs = a.form(whole=whole), b.form(whole=whole)
    if mine is None or theirs is None:
        return
    matching = Matching(mine, theirs, a.kinds, b.kinds)
    try:
        with polynomial.budget(STEPS), polynomial.opaque():
            tried = list(islice(matching.candidates(given), CANDIDATES))
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


def _maps(
    a: Parts, b: Parts, names: Names, error: float, whole: int | None
) -> tuple[ParameterMap, ParameterMap]:
    back = {
        name: (other, tuple(axes.index(k) for k in range(len(axes))))
        for other, (name, axes) in names.arrays.items()
    }
    dims = {str(mine): theirs for theirs, mine in names.dims.items()}
    minus = frozenset(names.arrays[name][0] for name in names.minus)
    return (
        _map(a, b, names, error, whole),
        _map(b, a, Names(back, dims, minus), error, whole),
    )


def _map(
    source: Parts, target: Parts, names: Names, error: float, whole: int | None
) -> ParameterMap:
    """names: of the target's arrays in the source."""
    arrays = names.arrays
    axes = {
        name: tuple(lies.index(k) for k in range(len(lies)))
        for name, (_, lies) in arrays.items()
        if list(lies) != sorted(lies)
    }
    idle = [name for name in target.params if name not in arrays]
    form = source.form(whole=whole)
    lines = ["at an index of its axes each array is a number: products are sums over indices"]
    if form is not None:
        for key, value in zip(source.outputs, form.outputs, strict=True):
            terms = len(value.terms)
            lines.append(
                f"{key} of {source.name} is a sum of {terms} product{'s' if terms > 1 else ''} "
                f"there; with the parameters of {target.name} put in, its own is the same sum"
            )
    lines.append("functions with kinks stand in both as they are, so gradients are the same too")
    return ParameterMap(
        source.name,
        target.name,
        {
            n: of(Atom("param", arrays[n][0])).times(Fraction(-1 if n in names.minus else 1))
            for n in target.params
            if n in arrays
        },
        {n: of(Atom("array", arrays[n][0])) for n in target.states if n in arrays},
        {},
        {n: arrays[n][0] for n in target.inputs if n in arrays},
        dict(names.dims),
        False,
        not idle,
        steps=tuple(lines),
        error=error,
        notes=tuple(f"nothing depends on {name} of {target.name}" for name in idle),
        axes=axes,
    )


# --- numbers --------------------------------------------------------------------------------


def _by_numbers(a: Parts, b: Parts, notes: list[str], done: Tick) -> Found:
    distances, evidence = [], False
    for source, target in ((a, b), (b, a)):
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
        elif found.evidence:
            evidence = True
    status = "not equal" if evidence else "undecided"
    return Found(status, False, None, None, tuple(distances), tuple(notes))


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
