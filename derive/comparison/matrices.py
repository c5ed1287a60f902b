"""Sums of products of known matrices, what they do to a vector, and the shapes that fit.

In: parameters of a cell.  Out: matrices as sums of chains; polynomials.
Not here: which matrix stands for which (constraints.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from derive.comparison.polynomial import ZERO, Atom, Mono, Poly, mono_key, of, single, split
from derive.program import Array
from derive.program.program import Dim


@dataclass(frozen=True, slots=True)
class Factor:
    """A matrix by its name, perhaps transposed; or diag(diagonal), where it has no name."""

    name: str = ""
    transposed: bool = False
    diagonal: Mono = ()

    @property
    def key(self) -> str:
        return f"{self.name}{'.T' if self.transposed else ''}" or f"diag({mono_key(self.diagonal)})"


#: Factors from left to right; none is the unit matrix.
Chain = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A sum of numbers times products of factors."""

    parts: Mapping[Chain, Fraction]


def named(name: str) -> Matrix:
    return Matrix({(Factor(name),): Fraction(1)})


def apply(matrix: Matrix, turned: bool, vector: Poly) -> Poly:
    """matrix @ vector, or its transpose @ vector."""
    result = ZERO
    for chain, c in matrix.parts.items():
        value = vector
        for factor in chain if turned else reversed(chain):
            value = _applied(factor, turned, value)
        result += value.times(c)
    return result


def _applied(factor: Factor, turned: bool, vector: Poly) -> Poly:
    """One factor, one monomial at a time."""
    if not factor.name:
        return single(factor.diagonal) * vector
    name = factor.name + ("'" if factor.transposed != turned else "")
    result = ZERO
    for mono, c in vector.terms.items():
        outside, inside = split(mono)
        result += (of(Atom("product", name, (inside,))) * outside).times(c)
    return result


# --- shapes ---------------------------------------------------------------------------------


class Misfit(Exception):
    """Widths that do not fit each other."""


def width_of(value: Poly, table: Mapping[str, Array]) -> Dim:
    """The width of a polynomial of named arrays; Misfit where two differ."""
    found: Dim = 1
    for mono in value.terms:
        for atom, _ in mono:
            found = _common(found, _width(atom, table))
    return found


def _common(one: Dim, other: Dim) -> Dim:
    if one != 1 and other not in (1, one):
        raise Misfit
    return other if one == 1 else one


def _width(atom: Atom, table: Mapping[str, Array]) -> Dim:
    if atom.kind in ("array", "param"):
        return table[atom.name].width
    if atom.kind == "product":
        name = atom.name.removesuffix("'")
        rows, columns = table[name].shape
        if name != atom.name:
            rows, columns = columns, rows
        if width_of(atom.args[0], table) not in (columns, 1):
            raise Misfit
        return rows
    if atom.kind in ("sum", "size"):
        return 1
    found: Dim = 1
    for arg in atom.args:
        found = _common(found, width_of(arg, table))
    return found


def fits(matrix: Matrix, shape: tuple[Dim, ...], table: Mapping[str, Array]) -> bool:
    """Whether every chain has this shape."""
    return all(_chain_fits(chain, shape, table) for chain in matrix.parts)


def _chain_fits(chain: Chain, shape: tuple[Dim, ...], table: Mapping[str, Array]) -> bool:
    rows = shape[0]
    for factor in chain:
        if factor.name:
            own = table[factor.name].shape
            if factor.transposed:
                own = own[::-1]
            if own[0] != rows:
                return False
            rows = own[1]
        else:
            try:
                width = width_of(single(factor.diagonal), table)
            except Misfit:
                return False
            if width not in (1, rows):
                return False
    return rows == shape[1]
