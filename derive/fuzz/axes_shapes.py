"""Shapes of cells whose arrays have axes, and pieces of text that have one.

In: shapes.  Out: others, and their text.
Not here: expressions of them (axes_grammar.py). The language's own rules (language/axes/) are not
used: what is drawn here has to be a cell by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from derive.widths import Width

Shape = tuple[Width, ...]

#: Dimensions in the order in which they stand in sums of widths; numbers come last.
ORDER = ("I", "H", "P", "N", "D", "K")
SCALAR: Shape = (Width.of(1),)
MAX_AXES = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of text: its shape; whether it is one word or bracketed; whether a row has its own;
    whether there is an array in it."""

    text: str
    shape: Shape
    atom: bool = False
    rowwise: bool = True
    array: bool = True

    def bracketed(self) -> str:
        return self.text if self.atom else f"({self.text})"


def within(shape: Shape, whole: Shape) -> int:
    """In how many ways the axes of `shape` are, in this order, some of those of `whole`."""
    if len(shape) == len(whole):
        return int(shape == whole)
    return sum(tuple(whole[k] for k in at) == shape
               for at in combinations(range(len(whole)), len(shape)))  # fmt: skip


def is_named(width: Width) -> bool:
    return len(width.terms) == 1 and width.terms[0][1] == 1 and bool(width.terms[0][0])


def text_of(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def atoms_of(width: Width) -> list[Width]:
    """Dimensions in their order, then ones."""
    places = {name: k for k, name in enumerate(ORDER)}
    found = [Width.of(atom) for atom in width.atoms() if isinstance(atom, str)]
    found.sort(key=lambda atom: places[str(atom)])
    ones = sum(atom for atom in width.atoms() if isinstance(atom, int))
    return found + [Width.of(1)] * ones


def total_of(atoms: Sequence[Width]) -> Width:
    total = Width(())
    for atom in atoms:
        total = total + atom
    return total
