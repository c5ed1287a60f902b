"""Arrays in parts, and elementwise expressions of them.

In: expressions and where their operands lie.  Out: `Value`s.
Not here: equations (lower.py), which axes are cut (cuts.py).

A Value holds an expression for every combination of the parts of its axes: of a vector that is
cut in two, two. Nearly all have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import cast

from derive.program import is_aligned, names_in
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.widths import Dim

Index = tuple[int, ...]
Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """An expression over arrays. places: of those that do not have all its axes."""

    expr: Expr
    places: Mapping[str, Place] = field(default_factory=dict)

    def lifted(self, place: Place | None, rank: int, scalars: Sequence[str]) -> Part:
        """As part of an expression with more axes, among which its own lie at `place`.

        Conflict where an array is transposed here and would be repeated along other axes too.
        """
        if place is None or place == tuple(range(rank)):
            return self
        found = {}
        for name in names_in(self.expr):
            if name not in scalars:
                own = self.places.get(name, tuple(range(len(place))))
                found[name] = tuple(place[k] for k in own)
                if not is_aligned(found[name], rank):
                    raise Conflict(name)
        return Part(self.expr, found)


@dataclass(frozen=True, slots=True)
class Value:
    """axes: the dimensions and numbers that each is made of; parts: one for each combination."""

    axes: tuple[tuple[Dim, ...], ...]
    parts: Mapping[Index, Part]

    @property
    def is_scalar(self) -> bool:
        return self.axes == ((1,),)

    @property
    def only(self) -> Part:
        (part,) = self.parts.values()
        return part

    def shape(self, index: Index) -> tuple[Dim, ...]:
        return tuple(axis[k] for axis, k in zip(self.axes, index, strict=True))

    def is_whole(self) -> bool:
        return len(self.parts) == 1


def number(value: Expr) -> Value:
    return Value(((1,),), {(0,): Part(value)})


def indices(axes: Sequence[tuple[Dim, ...]]) -> Iterator[Index]:
    return product(*(range(len(axis)) for axis in axes))


class Conflict(Exception):
    """An array would lie in two places of an expression, or in one that a Map has not; carries its
    name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def join(parts: Sequence[Part], combine: Callable[..., Expr]) -> Part:
    """One expression of several; Conflict where an array lies in two places."""
    expr = cast(Expr, combine(*(part.expr for part in parts)))
    places: dict[str, Place] = {}
    whole: set[str] = set()
    for part in parts:
        for name in names_in(part.expr):
            place = part.places.get(name)
            if place is None:
                whole.add(name)
            elif places.setdefault(name, place) != place:
                raise Conflict(name)
    if both := [name for name in places if name in whole]:
        raise Conflict(both[0])
    kept = names_in(expr)
    return Part(expr, {name: place for name, place in places.items() if name in kept})


def symbol(name: str) -> Part:
    return Part(functions.symbol(name))
