"""One cell against the catalogue: which known cells it equals, contains or is contained in.

In: a Cell.  Out: `Relation`s, each with its map, proved and checked.
Not here: the proof of one pair (one_direction.py, check.py). Nothing is said of cells for which no
map was found, and of those with axes equality alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from derive import cells, pipeline
from derive.cell import Cell
from derive.comparison.check import KINDS, check
from derive.comparison.equal import mismatch, narrow
from derive.comparison.equal_axes import same_with_axes
from derive.comparison.one_direction import Sides, inverse, proved, searched
from derive.comparison.parameter_map import ParameterMap


@dataclass(frozen=True, slots=True)
class Relation:
    """relation: "equal", "equal in values", "contained in" or "contains"; map: of it."""

    known: str
    relation: str
    map: ParameterMap


def known(cell: Cell, found: list[Relation], tick: Callable[[str], None]) -> None:
    """Appends to `found` what is proved, one catalogue cell after the other."""
    plain = pipeline.as_vectors(cell)
    mine = None if plain is None else Sides(plain)
    for name in cells.names():
        other = cells.from_spec(name)
        vectors = pipeline.as_vectors(other)
        relation = None
        if plain is None or mine is None or vectors is None:
            same = same_with_axes(cell, other)
            relation = None if same is None else Relation(name, "equal", same)
        elif not mismatch(plain, vectors):
            relation = _related(plain, mine, vectors, name)
        if relation is not None:
            found.append(relation)
        tick(name)


def _related(cell: Cell, mine: Sides, other: Cell, name: str) -> Relation | None:
    theirs = Sides(other)
    forward = _checked(cell, other, searched((mine, theirs), []))
    backward = None
    if forward is not None and (meaning := inverse(forward)) is not None:
        backward = _checked(other, cell, proved((theirs, mine), meaning))
    if backward is None:
        backward = _checked(other, cell, searched((theirs, mine), []))
    if forward is not None and backward is not None:
        if narrow(forward, other) or narrow(backward, cell):
            return None
        exact = forward.gradients == backward.gradients == "equal"
        return Relation(name, "equal" if exact else "equal in values", forward)
    if forward is not None and forward.gradients == "equal":
        return Relation(name, "contained in", forward)
    if backward is not None and backward.gradients == "equal":
        return Relation(name, "contains", backward)
    return None


def _checked(source: Cell, target: Cell, made: ParameterMap | None) -> ParameterMap | None:
    """The map, if values agree everywhere they are looked at and it says so of gradients too."""
    if made is None or made.outside:
        return None
    found = check(source, target, made, kinds=KINDS[:6])
    if found.values is not None or found.outside is not None:
        return None
    if made.gradients == "equal" and found.gradients is not None:
        return None
    return made if made.gradients == "equal" or found.gradients is not None else None
