"""Linear equations between the parameters of two cells.

In: two polynomials that must be equal, that of B with unknown parameters.  Out: Constraints,
or None where they contradict each other; and a value for each unknown.
Not here: which polynomials must be equal (matching.py).

A term of B with one unknown gives an equation for what it multiplies: p * c is an unknown in
the equation of c, U @ h in that of (U, h). A term with two unknowns gives none; the map is
checked as a whole in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from derive import polynomial
from derive.comparison.canonical import Matrix, Meaning
from derive.polynomial import Atom, Mono, Poly, single
from derive.program import Step

Unknown = tuple[str, str]  # kind ("vector" or "matrix"), name
Known = tuple[str, str, bool]  # ("vector" | "matrix" | "diag" | "eye" | "one", name, transposed)
Slot = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The sum of numbers times unknowns is a sum of numbers times known things."""

    left: Mapping[Unknown, Fraction]
    right: Mapping[Known, Fraction]


@dataclass(frozen=True, slots=True)
class Constraints:
    """Rows in echelon form: the first unknown of each stands in no other.

    complete: whether every term gave its equation.
    """

    rows: tuple[tuple[Unknown, Row], ...] = ()
    complete: bool = True

    def tells(self, name: str) -> bool:
        return any(name == unknown[1] for _, row in self.rows for unknown in row.left)

    def uses(self, name: str) -> bool:
        return any(name == known[1] for _, row in self.rows for known in row.right)

    def fixed(self, kind: str, mine: str, theirs: str, sign: int = 1) -> Constraints:
        row = Row({(kind, mine): Fraction(1)}, {(kind, theirs, False): Fraction(sign)})
        return Constraints((*self.rows, ((kind, mine), row)), self.complete)

    def with_row(self, row: Row) -> Constraints | None:
        for pivot, known in self.rows:
            if factor := row.left.get(pivot):
                row = Row(
                    _minus(row.left, known.left, factor), _minus(row.right, known.right, factor)
                )
        if not row.left:
            return None if row.right else self
        named = {name for _, name, _ in row.right}
        pivot = next((key for key in row.left if key[1] in named), next(iter(row.left)))
        scale = 1 / row.left[pivot]
        new = Row(
            {key: value * scale for key, value in row.left.items()},
            {key: value * scale for key, value in row.right.items()},
        )
        rows = []
        for other, known in self.rows:
            if factor := known.left.get(pivot):
                known = Row(
                    _minus(known.left, new.left, factor), _minus(known.right, new.right, factor)
                )
            rows.append((other, known))
        return Constraints((*rows, (pivot, new)), self.complete)

    def meaning(
        self,
        b: Step,
        a: Step,
        vectors: Mapping[str, Poly],
        sizes: Mapping[str, str],
        fits: Callable[..., bool],
    ) -> Meaning | None:
        """Unknowns that are free are A's of the same name if they stand in no row, else zero."""
        mine, theirs = b.program.table(), a.program.table()
        values = self._values()
        in_rows = {unknown for _, row in self.rows for unknown in row.left}
        found_vectors, matrices = dict(vectors), {}
        for name in b.params:
            kind = "matrix" if mine[name].is_matrix else "vector"
            value = values.get((kind, name))
            if value is None:
                is_named = (kind, name) not in in_rows and name in a.params
                named = is_named and fits(theirs[name].shape, mine[name].shape, sizes)
                value = {(kind, name, False): Fraction(1)} if named else {}
            for (what, other, turned), _ in value.items():
                if what in ("vector", "matrix"):
                    shape = theirs[other].shape
                    if not fits(shape[::-1] if turned else shape, mine[name].shape, sizes):
                        return None
            if kind == "matrix":
                matrices[name] = Matrix(dict(value))
            else:
                found_vectors[name] = vector_of(value, theirs)
        return Meaning(found_vectors, matrices, sizes)

    def _values(self) -> dict[Unknown, dict[Known, Fraction]]:
        """Of each unknown in a row. Where several add up, each takes A's of its own name."""
        rows = {pivot: row for pivot, row in self.rows}
        stand_in = [unknown for row in rows.values() for unknown in row.left]
        values: dict[Unknown, dict[Known, Fraction]] = {}
        for pivot, row in rows.items():
            rest = dict(row.right)
            for unknown, c in row.left.items():
                key = (*unknown, False)
                if unknown != pivot and key in rest and stand_in.count(unknown) == 1:
                    values[unknown] = {key: rest.pop(key) / c}
            values[pivot] = rest
        return values


def vector_of(value: Mapping[Known, Fraction], theirs: Mapping[str, object]) -> Poly:
    result = polynomial.ZERO
    for (what, name, _), c in value.items():
        part = polynomial.ONE
        if what == "vector":
            scalar = getattr(theirs[name], "shape", ()) == (1,)
            part = polynomial.of(Atom("param", name, (), scalar))
        result += part.times(c)
    return result


Key = TypeVar("Key", bound=tuple[object, ...])


def _minus(
    a: Mapping[Key, Fraction], b: Mapping[Key, Fraction], factor: Fraction
) -> dict[Key, Fraction]:
    result = dict(a)
    for key, value in b.items():
        result[key] = result.get(key, Fraction(0)) - factor * value
    return {key: value for key, value in result.items() if value}


# --- from equal polynomials to rows ---------------------------------------------------------


class _Slots:
    """What multiplies what: {slot: {unknown or known thing: number}}."""

    def __init__(self) -> None:
        self.found: dict[Slot, dict[tuple[str, str, bool], Fraction]] = {}
        self.inside: dict[Slot, Poly] = {}
        self.several = False  # whether a term holds two parameters

    def add(self, slot: Slot, key: tuple[str, str, bool], c: Fraction) -> None:
        entry = self.found.setdefault(slot, {})
        entry[key] = entry.get(key, Fraction(0)) + c


_ONE: Known = ("one", "", False)
Translate = Callable[[Poly], Poly | None]


def equate(
    mine: Poly, theirs: Poly, translate: Translate, found: Constraints
) -> Constraints | None:
    """found, and what follows from mine == theirs; None where it cannot be."""
    left, right = _Slots(), _Slots()
    skipped = Constraints(found.rows, complete=False)
    if not _collect(mine, translate, left) or not _collect(theirs, lambda part: part, right):
        return skipped  # not said in terms that are known: the final check decides
    if left.several or right.several:
        # Terms with two parameters may add up to what others do; equations would be guesses.
        return skipped if left.several else None
    _diagonals(left, right)
    for slot in dict.fromkeys((*left.found, *right.found)):
        row = _row(left.found.get(slot, {}), right.found.get(slot, {}))
        if row is None:
            return skipped
        grown = found.with_row(row)
        if grown is None:
            return None
        found = grown
    return found


def _collect(value: Poly, translate: Translate, slots: _Slots) -> bool:
    for mono, c in value.terms.items():
        params = [(atom, n) for atom, n in mono if atom.kind in ("param", "product")]
        rest = translate(single(tuple(p for p in mono if p[0].kind not in ("param", "product"))))
        if rest is None:
            return False
        if len(params) > 1 or any(n != 1 for _, n in params):
            slots.several = True
            continue
        if not params:
            for m, d in rest.terms.items():
                slots.add(_slot(m), _ONE, c * d)
        elif params[0][0].kind == "param":
            for m, d in rest.terms.items():
                slots.add(_slot(m), ("vector", params[0][0].name, False), c * d)
        elif not _collect_product(params[0][0], rest, c, translate, slots):
            return False
    return True


def _collect_product(
    atom: Atom, rest: Poly, c: Fraction, translate: Translate, slots: _Slots
) -> bool:
    inside = translate(atom.args[0])
    if inside is None:
        return False
    name = atom.name.removesuffix("'")
    for m, d in rest.terms.items():
        for n, e in inside.terms.items():
            slot = ("product", polynomial.mono_key(m), polynomial.mono_key(n))
            slots.add(slot, ("matrix", name, atom.name != name), c * d * e)
            slots.inside[slot] = single(m) * single(n)
    return True


def _slot(mono: Mono) -> Slot:
    return ("vector", polynomial.mono_key(mono))


def _diagonals(left: _Slots, right: _Slots) -> None:
    """What A multiplies elementwise and B by a matrix: a diagonal matrix, or the identity."""
    for slot, value in list(right.found.items()):
        if slot[0] != "vector":
            continue
        mine = left.found.get(slot, {})
        if any(key[0] == "vector" for key in mine):
            continue
        surplus = _minus(value, mine, Fraction(1))
        if not surplus:
            continue
        for other, inside in left.inside.items():
            ((m, _),) = inside.terms.items()
            if _slot(m) == slot and other not in right.found:
                for (what, name, _), c in surplus.items():
                    key = ("eye", "", False) if what == "one" else ("diag", name, False)
                    right.add(other, key, c)
                right.found[slot] = dict(mine)
                break


def _row(mine: Mapping[Known, Fraction], theirs: Mapping[Known, Fraction]) -> Row | None:
    """mine == theirs; None where an unknown stands there both plain and transposed."""
    unknowns = [key for key in mine if key[0] in ("vector", "matrix")]
    turns = {key[2] for key in unknowns}
    if len(turns) > 1:
        return None
    turned = turns == {True}
    right: dict[Known, Fraction] = {}
    for (what, name, transposed), c in theirs.items():
        key = (what, name, transposed != turned) if what == "matrix" else (what, name, False)
        right[key] = right.get(key, Fraction(0)) + c
    for key, c in mine.items():
        if key[0] not in ("vector", "matrix"):
            right[key] = right.get(key, Fraction(0)) - c
    return Row(
        {(what, name): mine[what, name, t] for what, name, t in unknowns if mine[what, name, t]},
        {key: c for key, c in right.items() if c},
    )
