"""Two cells -> whether they compute the same, with the parameter map or a counter-example.

In: two Cells.  Out: a `Verdict`.
Not here: the search for the map (matching.py, guess.py), the numbers (equal_numbers.py), the
proof by dimension (rank.py), which states may be which (links.py).

| verdict   | means                                                                         |
| --------- | ----------------------------------------------------------------------------- |
| equal     | a map from A's parameters to B's under which B computes A, and one back       |
| sub-case  | such a map in one direction, and none was found, or is possible, in the other |
| not equal | no map either way, and one of: other inputs or outputs; a `Rank`, which       |
|           | proves that no parameters of one cell compute the other; other gradients; or  |
|           | numbers: all fits of one cell stay away from the other                        |
| undecided | anything else: fits came close, or the search for a map was not complete      |

"Computes" means: outputs for all inputs, and states, from equal initial states; from zero
initial states where states had to be merged or rescaled step by step. `Verdict.proved` tells
a proof from numbers. A map is a proof, for with it the canonical forms of both cells are the
same; it is confirmed by numbers all the same, values and gradients over several steps. A map
that was read off a fit, of cells whose forms cannot be compared, is told by its `digits`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from derive import polynomial
from derive.cell import Cell
from derive.comparison.canonical import Matrix, Meaning, reduced
from derive.comparison.constraints import vector_of
from derive.comparison.links import links
from derive.comparison.matching import GaveUp, Link, Side, find, proves
from derive.errors import ProgramError

if TYPE_CHECKING:
    from derive.comparison.equal_numbers import Distance
    from derive.comparison.rank import Rank

    Tick = Callable[[str], None]

#: How often `equal` says what it did.
STEPS = 4
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
    affine: {state of target: (factor, shift)}, where it is not simply the source's.
    digits: 0 for a map that is proved; otherwise to how many digits one step agrees.
    """

    source: str
    target: str
    params: dict[str, tuple[Part, ...]]
    states: dict[str, str]
    sizes: dict[str, str]
    from_zero: bool
    invertible: bool
    error: float
    affine: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    digits: int = 0

    def factor(self, state: str) -> float:
        return float(self.affine[state][0]) if state in self.affine else 1.0

    def moved(self, state: str, value: Any) -> Any:
        """The target's state for a value of the source's."""
        if state not in self.affine:
            return value
        factor, shift = self.affine[state]
        return value * int(factor.numerator) / int(factor.denominator) + float(shift)

    def lines(self) -> list[str]:
        return [f"{name} = {text_of(parts)}" for name, parts in self.params.items()]


@dataclass(frozen=True, slots=True)
class Verdict:
    """forward: B's parameters from A's, so that B computes A; backward: the other way.

    distances: for each direction without a map, the fit that came nearest; ranks: for each that
    is proved to have none, the proof. proved: whether all of the status is proved.
    """

    status: str  # equal, sub-case, not equal or undecided
    a: str
    b: str
    forward: ParameterMap | None
    backward: ParameterMap | None
    distances: tuple[Distance, ...]
    notes: tuple[str, ...]
    ranks: tuple[Rank, ...] = ()
    proved: bool = False

    def __bool__(self) -> bool:
        return self.status == "equal"


def text_of(parts: tuple[Part, ...]) -> str:
    result = ""
    for part in parts:
        sign = "-" if part.factor < 0 else "+"
        result += f" {sign} {part.text()}" if result else f"{sign.strip('+')}{part.text()}"
    return result or "0"


def equal(a: Cell, b: Cell, *, tick: Tick | None = None) -> Verdict:
    """Whether `a` and `b` compute the same for parameters that correspond to each other.

    tick: called with what was done, STEPS times at most, where somebody waits.

        verdict = derive.equal(derive.cells.gru(), derive.cells.gru(keeps="candidate"))
        verdict.status            # "equal", "sub-case", "not equal" or "undecided"
        verdict.proved            # a proof, or numbers only
        verdict.forward.lines()   # ["W_z = -W_z", ...]: parameters of b from those of a
        verdict.distances         # counter-examples: parameters, inputs, outputs

    A Verdict is true if the cells are equal. Inputs and outputs pair by place, inputs of the
    same names by name. ProgramError if numbers refute a map that was proved.
    """
    done = tick or _silent
    if mismatch := _mismatch(a, b):
        return Verdict("not equal", a.name, b.name, None, None, (), (mismatch,), (), True)
    notes: list[str] = []
    unfinished: list[str] = []
    pairs = ((a, b), (b, a))
    maps: list[ParameterMap | None] = []
    for source, target in pairs:
        made = _map(source, target, notes, unfinished)
        maps.append(None if made is None else _confirmed(source, target, made))
        done(f"parameters of {target.name} for {source.name}")
    verdict = _by_maps(a, b, maps, notes)
    if verdict is None:
        verdict = _by_gradient(a, b)
    if verdict is None:
        verdict = _by_numbers(pairs, maps, notes, unfinished, done)
    return verdict


def _silent(_: str) -> None:
    pass


def _confirmed(source: Cell, target: Cell, made: ParameterMap) -> ParameterMap:
    from derive.comparison.equal_numbers import confirm

    error = confirm(source, target, made)
    if not error <= AGREES:
        raise ProgramError(
            f"the map from {source.name} to {target.name} is refuted by numbers: {error:g}"
        )
    return replace(made, error=error)


def _by_maps(a: Cell, b: Cell, maps: list[ParameterMap | None], notes: list[str]) -> Verdict | None:
    found = [made for made in maps if made is not None]
    if len(found) < 2 and not any(made.invertible for made in found):
        return None
    proved = all(not made.digits for made in found)
    return Verdict("equal", a.name, b.name, maps[0], maps[1], (), _once(notes), (), proved)


def _by_gradient(a: Cell, b: Cell) -> Verdict | None:
    """Cells that are equal but for what stops the gradient have the same values only."""
    from derive.comparison.equal_numbers import confirm

    plain = [_flowing(cell) for cell in (a, b)]
    if plain[0] is a and plain[1] is b:
        return None
    same = equal(*plain)
    if same.status != "equal":
        return None
    for made, (source, target) in ((same.forward, (a, b)), (same.backward, (b, a))):
        if made is not None and confirm(source, target, made) <= AGREES:
            return None
    note = "the values are the same, the gradients are not: stop_gradient stands elsewhere"
    return Verdict("not equal", a.name, b.name, None, None, (), (note,), (), same.proved)


def _flowing(cell: Cell) -> Cell:
    """Without stop_gradient."""
    if "stop_gradient(" not in cell.to_text():
        return cell
    return cell.vary(activation={"stop_gradient": "identity"}, name=cell.name, doc=cell.doc)


def _by_numbers(
    pairs: tuple[tuple[Cell, Cell], ...],
    maps: list[ParameterMap | None],
    notes: list[str],
    unfinished: list[str],
    done: Tick,
) -> Verdict:
    from derive.comparison.equal_numbers import FEW_RUNS, RUNS, nearest
    from derive.comparison.guess import NEAR
    from derive.comparison.rank import excludes

    (a, b), _ = pairs
    distances: list[Distance] = []
    ranks: list[Rank] = []
    for k, (source, target) in enumerate(pairs):
        if maps[k] is not None:
            continue
        rank = excludes(source, target)
        fit = nearest(source, target, RUNS if rank is None else FEW_RUNS)
        if rank is None and fit.relative < NEAR:
            maps[k] = _guessed(source, target, fit)
        if maps[k] is None:
            distances.append(fit)
            ranks += [] if rank is None else [rank]
        done(f"fits of {target.name} to {source.name}")
    verdict = _by_maps(a, b, maps, notes)
    if verdict is not None:
        return verdict
    apart = [each for each in distances if each.relative >= APART or _excluded(each, ranks)]
    for each in distances:
        if each not in apart:
            notes.append(f"{each.target} may compute {each.source}: a fit came close")
    proved = bool(ranks)
    status = "not equal" if ranks or (apart and not unfinished) else "undecided"
    if one_way := [made for made in maps if made is not None]:
        status, proved = "sub-case", proved and not one_way[0].digits
    elif not ranks:
        notes += unfinished
    return Verdict(
        status,
        a.name,
        b.name,
        maps[0],
        maps[1],
        tuple(distances),
        _once(notes),
        tuple(ranks),
        proved,
    )


def _excluded(fit: Distance, ranks: list[Rank]) -> bool:
    return any((rank.source, rank.target) == (fit.source, fit.target) for rank in ranks)


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
        for link in links(a, b):
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


def _guessed(source: Cell, target: Cell, fit: Distance) -> ParameterMap | None:
    """The map that a fit came to, if it is a proof; or if 50 digits of random points agree."""
    from derive.comparison import guess
    from derive.comparison.equal_numbers import confirm
    from derive.comparison.rank import analytic

    parts = guess.parts(source, target, fit)
    if parts is None:
        return None
    theirs = source.step.program.table()
    meaning = Meaning(
        {
            name: vector_of(each, theirs)
            for name, each in parts.items()
            if len(target.params[name]) == 1
        },
        {name: Matrix(each) for name, each in parts.items() if len(target.params[name]) == 2},
    )
    try:
        a, b = (Side(*reduced(cell.step)) for cell in (source, target))
        for each in links(a, b):
            if not each.affine and not each.scaled and proves(a, b, each, meaning):
                return _confirmed(source, target, _as_map(source, target, a, b, each, meaning))
    except polynomial.TooLarge:
        return None
    link = next(links(a, b), None)
    if link is None or a.same or b.same or not (analytic(source) and analytic(target)):
        return None
    made = _as_map(source, target, a, b, link, meaning)
    agreed = guess.digits(source, target, made)
    if agreed < guess.ENOUGH or not confirm(source, target, made) <= AGREES:
        return None
    return replace(_confirmed(source, target, made), digits=agreed)


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
        dict(link.affine),
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
