"""Linear equations between the parameters of two cells.

In: two polynomials that must be equal, that of B with unknown parameters.  Out: Constraints,
or None where they contradict each other; and a value for each unknown.
Not here: which polynomials must be equal (matching.py).

A term of B with one unknown gives an equation for what it multiplies: p * c is an unknown in
the equation of c, U @ h in that of (U, h). A term with two unknowns gives none; the map is
checked as a whole in the end. What A has in such a place may be any product of its parameters:
s * b, diag(s) @ W, U @ V, U @ c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from derive.comparison import polynomial
from derive.comparison.canonical import Meaning, deep_atoms
from derive.comparison.matrices import Chain, Factor, Matrix, Misfit, fits, width_of
from derive.comparison.polynomial import Atom, Mono, Poly, single
from derive.program import Array, Step
from derive.program.program import Dim

Unknown = tuple[str, str]  # kind ("vector" or "matrix"), name
#: What is known of A: a product of parameters as a vector, or as a matrix.
Known = tuple[str, Mono] | tuple[str, Chain]
Slot = tuple[str, ...]
#: {dimension of B: of A}
Sizes = Mapping[str, Dim]


def known(kind: str, name: str, *, transposed: bool = False, scalar: bool = False) -> Known:
    """One parameter of A as it is."""
    if kind == "matrix":
        return kind, (Factor(name, transposed),)
    return kind, ((Atom("param", name, (), scalar), 1),)


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
        return any(name in _names(known) for _, row in self.rows for known in row.right)

    def fixed(self, mine: Unknown, value: Mapping[Known, Fraction]) -> Constraints:
        """With a value for an unknown that stands in no row."""
        return Constraints((*self.rows, (mine, Row({mine: Fraction(1)}, value))), self.complete)

    def with_row(self, row: Row) -> Constraints | None:
        for pivot, known in self.rows:
            if factor := row.left.get(pivot):
                row = Row(
                    _minus(row.left, known.left, factor), _minus(row.right, known.right, factor)
                )
        if not row.left:
            return None if row.right else self
        named = {name for known in row.right for name in _names(known)}
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
        self, b: Step, a: Step, vectors: Mapping[str, Poly], sizes: Sizes, given: Meaning
    ) -> Meaning | None:
        """Unknowns that are free are A's of the same name if they stand in no row, else zero.

        given: values of B's parameters that are settled.
        """
        mine, theirs = b.program.table(), a.program.table()
        values = self._values(theirs)
        in_rows = {unknown for _, row in self.rows for unknown in row.left}
        found_vectors, matrices = {**vectors, **given.vectors}, dict(given.matrices)
        for name in b.params:
            kind = "matrix" if mine[name].is_matrix else "vector"
            if name in given.vectors or name in given.matrices:
                continue
            value = values.get((kind, name))
            if value is None:
                is_named = (kind, name) not in in_rows and name in a.params
                own = known(kind, name, scalar=is_scalar(theirs, name)) if is_named else None
                value = (
                    {own: Fraction(1)}
                    if own and _fit({own: Fraction(1)}, mine[name], theirs, sizes)
                    else {}
                )
            if not _fit(value, mine[name], theirs, sizes):
                return None
            if kind == "matrix":
                matrices[name] = matrix_of(value)
            else:
                found_vectors[name] = vector_of(value)
        return Meaning(found_vectors, matrices, sizes)

    def _values(self, theirs: Mapping[str, Array]) -> dict[Unknown, dict[Known, Fraction]]:
        """Of each unknown in a row. Where several add up, each takes A's of its own name."""
        rows = {pivot: row for pivot, row in self.rows}
        stand_in = [unknown for row in rows.values() for unknown in row.left]
        values: dict[Unknown, dict[Known, Fraction]] = {}
        for pivot, row in rows.items():
            rest = dict(row.right)
            for unknown, c in row.left.items():
                if unknown == pivot or stand_in.count(unknown) > 1 or unknown[1] not in theirs:
                    continue
                key = known(*unknown, scalar=is_scalar(theirs, unknown[1]))
                if key in rest:
                    values[unknown] = {key: rest.pop(key) / c}
            values[pivot] = rest
        return values


def is_scalar(table: Mapping[str, Array], name: str) -> bool:
    return table[name].shape == (1,)


def vector_of(value: Mapping[Known, Fraction]) -> Poly:
    return Poly({mono: c for (_, mono), c in value.items()})  # type: ignore[misc]


def matrix_of(value: Mapping[Known, Fraction]) -> Matrix:
    return Matrix({chain: c for (_, chain), c in value.items()})  # type: ignore[misc]


def _fit(
    value: Mapping[Known, Fraction], mine: Array, theirs: Mapping[str, Array], sizes: Sizes
) -> bool:
    """Whether what is known of A has the shape of B's array."""
    wanted = tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in mine.shape)
    if mine.is_matrix:
        return fits(matrix_of(value), wanted, theirs)
    try:
        return width_of(vector_of(value), theirs) in (1, wanted[0])
    except Misfit:
        return False


def _names(known: Known) -> set[str]:
    """Parameters in it."""
    _, what = known
    found = set()
    for each in what:
        if isinstance(each, Factor):
            found |= {each.name} if each.name else _names(("vector", each.diagonal))
        else:
            found |= {
                a.name.removesuffix("'")
                for a in deep_atoms([single(((each[0], 1),))])
                if a.kind in ("param", "product")
            }
    return found


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
    """What multiplies what: {slot: {unknown or known thing: number}}.

    plain: whether no term holds two unknowns, or one to a power. turned: unknown matrices that
    stand there transposed.
    """

    def __init__(self) -> None:
        self.found: dict[Slot, dict[Unknown | Known, Fraction]] = {}
        self.turned: set[tuple[Slot, Unknown]] = set()
        self.inside: dict[Slot, Mono] = {}
        self.plain = True

    def add(self, slot: Slot, key: Unknown | Known, c: Fraction) -> None:
        entry = self.found.setdefault(slot, {})
        entry[key] = entry.get(key, Fraction(0)) + c


Translate = Callable[[Poly], Poly | None]


def equate(
    mine: Poly, theirs: Poly, translate: Translate, found: Constraints
) -> Constraints | None:
    """found, and what follows from mine == theirs; None where it cannot be.

    translate: a polynomial of B in A's atoms, or None where an unknown stands in it.
    """
    left, right = _Slots(), _Slots()
    _collect_unknown(mine, translate, left)
    _collect_known(theirs, right)
    if not left.plain:
        # Terms with two unknowns may add up to what others do; equations would be guesses.
        return Constraints(found.rows, complete=False)
    _diagonals(left, right)
    for slot in dict.fromkeys((*left.found, *right.found)):
        row = _row(slot, left, right)
        if row is None:
            return Constraints(found.rows, complete=False)
        grown = found.with_row(row)
        if grown is None:
            return None
        found = grown
    return found


def _slot(mono: Mono) -> Slot:
    return ("vector", polynomial.mono_key(mono))


def only_params(atom: Atom) -> bool:
    """Whether no input and no state stands in it."""
    return bool(atom.kinds & {"param", "product"}) and "array" not in atom.kinds


def _parted(mono: Mono) -> tuple[Mono, Mono]:
    """What is made of parameters alone, and the rest."""
    params = tuple(pair for pair in mono if only_params(pair[0]))
    return params, tuple(pair for pair in mono if pair not in params)


def _collect_known(value: Poly, slots: _Slots) -> None:
    for mono, c in value.terms.items():
        params, rest = _parted(mono)
        _place_known(params, rest, c, slots)


def _place_known(params: Mono, rest: Mono, c: Fraction, slots: _Slots) -> None:
    """The one product among the factors is taken as a matrix, down to what holds none."""
    products = [atom for atom, n in rest if atom.kind == "product" and n == 1]
    if len(products) != 1:
        slots.add(_slot(rest), ("vector", params), c)
        return
    outside = tuple(pair for pair in rest if pair[0] != products[0])
    chain: tuple[Factor, ...] = (Factor(diagonal=params),) if params else ()
    inside: Mono = ((products[0], 1),)
    while len(inside) == 1 and inside[0][0].kind == "product" and inside[0][1] == 1:
        atom = inside[0][0]
        name = atom.name.removesuffix("'")
        ((inner, _),) = atom.args[0].terms.items()
        params, inside = _parted(inner)
        chain += (Factor(name, name != atom.name),)
        chain += (Factor(diagonal=params),) if params else ()
    slot = ("product", polynomial.mono_key(outside), polynomial.mono_key(inside))
    slots.add(slot, ("matrix", chain), c)
    slots.inside[slot] = tuple(sorted((*outside, *inside), key=lambda pair: pair[0].key))


def _collect_unknown(value: Poly, translate: Translate, slots: _Slots) -> None:
    for mono, c in value.terms.items():
        unknown = [pair for pair in mono if pair[0].kind in ("param", "product")]
        rest = translate(single(tuple(pair for pair in mono if pair not in unknown)))
        if rest is None or len(unknown) > 1 or any(n != 1 for _, n in unknown):
            slots.plain = False
        elif not unknown:
            for m, d in rest.terms.items():
                params, data = _parted(m)
                _place_known(params, data, c * d, slots)
        elif unknown[0][0].kind == "param":
            for m, d in rest.terms.items():
                slots.add(_slot(m), ("vector", unknown[0][0].name), c * d)
        else:
            _collect_product(unknown[0][0], rest, c, translate, slots)


def _collect_product(
    atom: Atom, rest: Poly, c: Fraction, translate: Translate, slots: _Slots
) -> None:
    inside = translate(atom.args[0])
    if inside is None:
        slots.plain = False
        return
    name = atom.name.removesuffix("'")
    for m, d in rest.terms.items():
        for n, e in inside.terms.items():
            if any(only_params(a) for a, _ in (*m, *n)):
                slots.plain = False  # a factor that may stand on either side of the matrix
                return
            slot = ("product", polynomial.mono_key(m), polynomial.mono_key(n))
            slots.add(slot, ("matrix", name), c * d * e)
            if name != atom.name:
                slots.turned.add((slot, ("matrix", name)))
            both = dict(m)
            for a, k in n:
                both[a] = both.get(a, 0) + k
            slots.inside[slot] = tuple(sorted(both.items(), key=lambda pair: pair[0].key))


def _diagonals(left: _Slots, right: _Slots) -> None:
    """What A multiplies elementwise and B by a matrix: a diagonal matrix, or the identity."""
    for slot, value in list(right.found.items()):
        if slot[0] != "vector":
            continue
        mine = left.found.get(slot, {})
        if any(isinstance(key[1], str) for key in mine):
            continue
        surplus = _minus(value, mine, Fraction(1))
        if not surplus:
            continue
        for other, inside in left.inside.items():
            if _slot(inside) == slot and other not in right.found:
                for (_, params), c in surplus.items():
                    chain = (Factor(diagonal=params),) if params else ()  # type: ignore[arg-type]
                    right.add(other, ("matrix", chain), c)
                right.found[slot] = dict(mine)
                break


def _row(slot: Slot, left: _Slots, right: _Slots) -> Row | None:
    """left == right; None where an unknown stands there both plain and transposed."""
    mine, theirs = left.found.get(slot, {}), right.found.get(slot, {})
    unknowns = {key: c for key, c in mine.items() if isinstance(key[1], str) and c}
    turns = {(slot, key) in left.turned for key in unknowns}
    if len(turns) > 1:
        return None
    turned = turns == {True}
    values: dict[Known, Fraction] = {}
    for sign, group in ((1, theirs), (-1, mine)):
        for key, c in group.items():
            if isinstance(key[1], str):
                continue
            own = _turned(key) if turned and key[0] == "matrix" else key
            values[own] = values.get(own, Fraction(0)) + sign * c
    return Row(unknowns, {key: c for key, c in values.items() if c})


def _turned(key: Known) -> Known:
    kind, chain = key
    return kind, tuple(
        Factor(f.name, not f.transposed) if f.name else f
        for f in reversed(chain)
        if isinstance(f, Factor)
    )
