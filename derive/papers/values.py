"""Values of the parts of a formula while the formula is translated.

In: parts that the translator made.  Out: frozen values: an expression of the language, or what is
none by itself: a matrix, joined vectors, a function, a transposed vector.
Not here: how they combine (products.py, translate.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.language import tree as cell
from derive.papers.operators import Operator
from derive.papers.roles import Macro
from derive.papers.tree import Node, Symbol


@dataclass(frozen=True, slots=True)
class Matrix:
    """A sum of parameters as matrices: (sign, factors, name or None for the unit matrix,
    transposed)."""

    terms: tuple[tuple[str, tuple[cell.Node, ...], Symbol | None], ...]
    at: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Vectors below each other, or functions."""

    items: tuple[Value, ...]
    names: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Called:
    """A function that waits for its argument."""

    function: str | Macro
    at: int
    power: Node | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A transposed vector: what follows is multiplied by it and added up."""

    vector: cell.Node
    at: int


Value = cell.Node | Matrix | Columns | Called | Row | Operator
