"""Two cells -> whether they compute the same, with the parameter map or a counter-example.

In: two Cells.  Out: a `Verdict`.
Not here: the search for the map (matching.py), the numbers (equal_numbers.py).

| verdict   | means                                                                         |
| --------- | ----------------------------------------------------------------------------- |
| equal     | a map from A's parameters to B's under which B computes A, and one back       |
| sub-case  | such a map in one direction; the other is not known, or refuted by numbers    |
| not equal | no map of the searched class either way, and parameters of one cell and       |
|           | inputs whose outputs no parameters of the other reproduce: several least      |
|           | squares fits all stay away from them. Numbers, not a proof                    |
| undecided | anything else: fits came close, or the search for a map was not complete      |

"Computes" means: outputs for all inputs, and states, from equal initial states; from zero
initial states where states had to be merged or rescaled. A map is a proof: with it the
canonical forms of both cells are the same. It is confirmed by numbers all the same, values and
gradients over several steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, permutations
from typing import TYPE_CHECKING

from derive import polynomial
from derive.cell import Cell
from derive.comparison.canonical import Meaning, reduced
from derive.comparison.matching import GaveUp, Link, Side, find
from derive.errors import ProgramError

if TYPE_CHECKING:
    from derive.comparison.equal_numbers import Distance

#: A confirmed map agrees to this, relative to the largest number compared.
AGREES = 1e-9
#: Outputs that stay further apart than this, relative to their size, are different.
APART = 1e-3


@dataclass(frozen=True, slots=True)
class Part:
    """factor * name, transposed, as a diagonal matrix, or the identity or the number 1."""

    kind: str  # vector, matrix, diag, eye or one
    name: str
    transposed: bool
    factor: Fraction

    def text(self) -> str:
        bare = {"diag": f"diag({self.name})", "eye": "identity", "one": ""}.get(
            self.kind, self.name + (".T" if self.transposed else "")
        )
        size = abs(self.factor)
        if not bare:
            return str(size)
        return bare if size == 1 else f"{size} * {bare}"


@dataclass(frozen=True, slots=True)
class ParameterMap:
    """Every parameter of `target` as a sum of parts of those of `source`.

    error: how far the two are apart with the map applied, relative; values and gradients.
    states, sizes: {state or dimension of target: of source}.
    from_zero: whether initial states have to be zero.
    """

    source: str
    target: str
    params: dict[str, tuple[Part, ...]]
    states: dict[str, str]
    sizes: dict[str, str]
    from_zero: bool
    invertible: bool
    error: float

    def lines(self) -> list[str]:
        return [f"{name} = {text_of(parts)}" for name, parts in self.params.items()]


@dataclass(frozen=True, slots=True)
class Verdict:
    """forward: B's parameters from A's, so that B computes A; backward: the other way.

    distances: for each direction without a map, the fit that came nearest.
    """

    status: str  # equal, sub-case, not equal or undecided
    a: str
    b: str
    forward: ParameterMap | None
    backward: ParameterMap | None
    distances: tuple[Distance, ...]
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.status == "equal"


def text_of(parts: tuple[Part, ...]) -> str:
    result = ""
    for part in parts:
        sign = "-" if part.factor < 0 else "+"
        result += f" {sign} {part.text()}" if result else f"{sign.strip('+')}{part.text()}"
    return result or "0"


def equal(a: Cell, b: Cell) -> Verdict:
    """Whether `a` and `b` compute the same for parameters that correspond to each other."""
    from derive.comparison.equal_numbers import confirm, nearest

    if mismatch := _mismatch(a, b):
        return Verdict("not equal", a.name, b.name, None, None, (), (mismatch,))
    notes: list[str] = []
    unfinished: list[str] = []
    found = [_map(*pair, notes, unfinished) for pair in ((a, b), (b, a))]
    maps: list[ParameterMap | None] = []
    for (source, target), made in zip(((a, b), (b, a)), found, strict=True):
        if made is not None:
            error = confirm(source, target, made)
            if not error <= AGREES:
                raise ProgramError(
                    f"the map from {source.name} to {target.name} is refuted by numbers: {error:g}"
                )
            made = replace(made, error=error)
        maps.append(made)
    forward, backward = maps
    one_way = [m for m in maps if m is not None]
    if len(one_way) == 2 or any(m.invertible for m in one_way):
        return Verdict("equal", a.name, b.name, forward, backward, (), _once(notes))
    distances = tuple(
        nearest(source, target)
        for (source, target), made in zip(((a, b), (b, a)), maps, strict=True)
        if made is None
    )
    if one_way:
        status = "sub-case"
        if distances[0].relative < APART:
            notes.append(
                f"{distances[0].target} may compute {distances[0].source} too: a fit came close"
            )
    else:
        apart = any(each.relative >= APART for each in distances)
        status = "not equal" if apart and not unfinished else "undecided"
        notes += unfinished
    return Verdict(status, a.name, b.name, forward, backward, distances, _once(notes))


def _once(notes: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def _mismatch(a: Cell, b: Cell) -> str:
    """Why the two cannot even be compared."""
    for what, one, other in (
        ("inputs", a.inputs, b.inputs),
        ("outputs", a.outputs, b.outputs),
    ):
        if len(one) != len(other):
            return f"{what}: {a.name} has {', '.join(one)}; {b.name} has {', '.join(other)}"
        for (key, (x,)), (partner, (y,)) in zip(one.items(), other.items(), strict=True):
            if x != y and (isinstance(x, int) or isinstance(y, int)):
                return f"{key} of {a.name} has width {x}, {partner} of {b.name} has width {y}"
    return ""


# --- one direction --------------------------------------------------------------------------


def _map(
    source: Cell, target: Cell, notes: list[str], unfinished: list[str]
) -> ParameterMap | None:
    """The target's parameters from the source's, so that the target computes the source."""
    try:
        a, b = (Side(*reduced(cell.step)) for cell in (source, target))
        for cell, side in ((source, a), (target, b)):
            for twin, state in side.same.items():
                notes.append(f"{twin} and {state} of {cell.name} are equal if they start so")
        for link in _links(a, b):
            try:
                meaning = find(a, b, link)
            except GaveUp:
                unfinished.append(f"not every way to map {source.name} to {target.name} was tried")
                continue
            if meaning is not None:
                return _as_map(source, target, a, b, link, meaning)
    except polynomial.TooLarge:
        unfinished.append("a canonical form is too large to compare")
    return None


def _links(a: Side, b: Side) -> Iterator[Link]:
    """Pairs of states, by name first; inputs and outputs pair by place."""
    if len(a.step.inputs) != len(b.step.inputs) or len(a.step.outputs) != len(b.step.outputs):
        return
    theirs = list(a.step.states)
    orders = list(permutations(theirs, len(b.step.states)))
    orders.sort(key=lambda order: sum(x != y for x, y in zip(b.step.states, order, strict=True)))
    for order in orders[:24]:
        inputs = _same_names(b.step.inputs, a.step.inputs)
        names = {**inputs, **dict(zip(b.step.states, order, strict=True))}
        sizes = _sizes(a, b, names)
        if sizes is None:
            continue
        yield Link(names, sizes)
        extra = [state for state in theirs if state not in order]
        if len(extra) == 1:
            yield from _scaled(b, names, sizes, extra[0])


def _scaled(b: Side, names: dict[str, str], sizes: dict[str, str], by: str) -> Iterator[Link]:
    states = b.step.states
    for n in range(len(states), 0, -1):
        for chosen in combinations(states, n):
            for sign in (1, -1):
                yield Link(names, sizes, chosen, by, sign)


def _same_names(mine: tuple[str, ...], theirs: tuple[str, ...]) -> dict[str, str]:
    if set(mine) == set(theirs):
        return {name: name for name in mine}
    return dict(zip(mine, theirs, strict=True))


def _sizes(a: Side, b: Side, names: dict[str, str]) -> dict[str, str] | None:
    """{dimension of B: of A}, or None where widths do not pair."""
    mine, theirs = b.step.program.table(), a.step.program.table()
    pairs = [(mine[x].width, theirs[y].width) for x, y in names.items()]
    outputs = zip(b.step.outputs, a.step.outputs, strict=True)
    pairs += [(mine[x].width, theirs[y].width) for x, y in outputs]
    sizes: dict[str, str] = {}
    for x, y in pairs:
        if isinstance(x, int) or isinstance(y, int):
            if x != y:
                return None
        elif sizes.setdefault(x, y) != y:
            return None
    used = set(sizes.values())
    free = [dim for dim in a.step.program.dims() if dim not in used]
    for dim in b.step.program.dims():
        if dim not in sizes and free:
            sizes[dim] = free.pop(free.index(dim) if dim in free else 0)
    return sizes


def _as_map(
    source: Cell, target: Cell, a: Side, b: Side, link: Link, meaning: Meaning
) -> ParameterMap:
    params: dict[str, tuple[Part, ...]] = {}
    for name in target.params:
        if name in meaning.matrices:
            parts = meaning.matrices[name].parts.items()
            params[name] = tuple(Part(k, n, t, c) for (k, n, t), c in parts)
        else:
            params[name] = _vector_parts(meaning.vectors[name])
    states = {s: link.names[s] for s in b.step.states}
    return ParameterMap(
        source.name,
        target.name,
        params,
        states,
        dict(link.sizes),
        bool(a.same or b.same or link.scaled),
        _invertible(source, params),
        float("nan"),
    )


def _vector_parts(value: polynomial.Poly) -> tuple[Part, ...]:
    found = []
    for mono, c in value.terms.items():
        found.append(
            Part("vector", mono[0][0].name, False, c) if mono else Part("one", "", False, c)
        )
    return tuple(sorted(found, key=lambda part: (part.kind == "one", part.factor < 0)))


def _invertible(source: Cell, params: dict[str, tuple[Part, ...]]) -> bool:
    """Whether each parameter is one of the source's, each once, but for a factor and a shift."""
    used = []
    for parts in params.values():
        own = [part for part in parts if part.kind in ("vector", "matrix")]
        if len(own) != 1 or any(part.kind in ("diag", "eye") for part in parts):
            return False
        used.append(own[0].name)
    return sorted(used) == sorted(source.params)
