"""Two cells -> whether they compute the same, with the parameter map or a counter-example.

In: two Cells.  Out: a `Verdict`.
Not here: a map in one direction (one_way.py), the numbers (equal_numbers.py), the proof by
dimension (rank.py).

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
from dataclasses import dataclass

from derive.cell import Cell
from derive.comparison.equal_numbers import FEW_RUNS, RUNS, Distance, confirm, nearest
from derive.comparison.guess import NEAR
from derive.comparison.one_way import AGREES, confirmed, guessed, searched
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.rank import Rank, excludes

Tick = Callable[[str], None]

#: How often `equal` says what it did.
STEPS = 4
#: Outputs that stay further apart than this, relative to their size, are different.
APART = 1e-3


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
        made = searched(source, target, notes, unfinished)
        maps.append(None if made is None else confirmed(source, target, made))
        done(f"parameters of {target.name} for {source.name}")
    verdict = _by_maps(a, b, maps, notes)
    if verdict is None:
        verdict = _by_gradient(a, b)
    if verdict is None:
        verdict = _by_numbers(pairs, maps, notes, unfinished, done)
    return verdict


def _silent(_: str) -> None:
    pass


def _by_maps(a: Cell, b: Cell, maps: list[ParameterMap | None], notes: list[str]) -> Verdict | None:
    found = [made for made in maps if made is not None]
    if len(found) < 2 and not any(made.invertible for made in found):
        return None
    proved = all(not made.digits for made in found)
    return Verdict("equal", a.name, b.name, maps[0], maps[1], (), _once(notes), (), proved)


def _by_gradient(a: Cell, b: Cell) -> Verdict | None:
    """Cells that are equal but for what stops the gradient have the same values only."""
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
    (a, b), _ = pairs
    distances: list[Distance] = []
    ranks: list[Rank] = []
    for k, (source, target) in enumerate(pairs):
        if maps[k] is not None:
            continue
        rank = excludes(source, target)
        fit = nearest(source, target, RUNS if rank is None else FEW_RUNS)
        if rank is None and fit.relative < NEAR:
            maps[k] = guessed(source, target, fit)
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
