"""Step -> canonical polynomials of its next values and outputs, everything inlined.

In: a cell's Step, and what its inputs, states and parameters stand for.  Out: `Canonical`.
Not here: the algebra (polynomial/), the comparison of two cells (equal.py, compare.py).

Two steps that compute the same up to the order of terms, the names of intermediates and the
identities of polynomial/ have the same canonical form. The converse does not hold: that two
forms differ proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import sympy

from derive import polynomial, scalar
from derive.polynomial import ONE, ZERO, Atom, Poly, constant, of, single
from derive.program import Array, Layout, Map, Matmul, Program, Step, Sum


@dataclass(frozen=True, slots=True)
class Matrix:
    """A sum of known matrices: {(kind, name, transposed): number}.

    kind: "matrix" of that name, "diag" of the vector of that name, or "eye".
    """

    parts: Mapping[tuple[str, str, bool], Fraction]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What names stand for: vectors as polynomials, matrices as sums, sizes by name."""

    vectors: Mapping[str, Poly] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canonical:
    """Polynomials: of the next value of each state, of each output, of every array."""

    states: Mapping[str, Poly]
    outputs: tuple[Poly, ...]
    arrays: Mapping[str, Poly]


def canonical(step: Step, meaning: Meaning | None = None) -> Canonical:
    """polynomial.TooLarge where a form grows beyond all use."""
    meaning = meaning or Meaning()
    table = step.program.table()
    values: dict[str, Poly] = {}
    for name in step.program.inputs:
        if not table[name].is_matrix:
            kind = "param" if name in step.params else "array"
            own = of(Atom(kind, name, (), table[name].width == 1))
            values[name] = meaning.vectors.get(name, own)
    found = _Walk(step.program, meaning, table, values)
    for equation in step.program.equations:
        found.add(equation)
    return Canonical(
        {s: values[n] for s, n in zip(step.states, step.next_states, strict=True)},
        tuple(values[name] for name in step.outputs),
        values,
    )


class _Walk:
    def __init__(
        self,
        program: Program,
        meaning: Meaning,
        table: Mapping[str, Array],
        values: dict[str, Poly],
    ) -> None:
        self.program = program
        self.meaning = meaning
        self.table = table
        self.values = values

    def add(self, equation: Map | Matmul | Sum) -> None:
        if isinstance(equation, Map):
            value = self.expr(equation.expr)
        elif isinstance(equation, Sum):
            width = self.table[equation.source].width
            value = total(self.values[equation.source], self.size(width))
        else:
            assert equation.layout is not Layout.OUTER
            turned = equation.layout is Layout.TRANSPOSED
            own = Matrix({("matrix", equation.left, False): Fraction(1)})
            matrix = self.meaning.matrices.get(equation.left, own)
            value = apply(matrix, turned, self.values[equation.right])
        self.values[equation.out] = value

    def size(self, dim: str | int) -> Poly:
        if isinstance(dim, int):
            return constant(dim)
        return of(Atom("size", self.meaning.sizes.get(dim, dim), (), True))

    def expr(self, expr: scalar.Expr) -> Poly:
        if expr.is_Symbol:
            if scalar.is_size(expr):
                return self.size(expr.name.strip("|"))
            return self.values[expr.name]
        if expr.is_Rational:
            return constant(Fraction(int(expr.p), int(expr.q)))
        if not expr.args:
            return of(Atom("function", str(expr), (), True))
        if expr.is_Add or expr.is_Mul:
            result = ZERO if expr.is_Add else ONE
            for arg in expr.args:
                part = self.expr(arg)
                result = result + part if expr.is_Add else result * part
            return result
        if isinstance(expr, sympy.Pow) and not isinstance(expr, scalar.exp):
            base, exponent = expr.args
            if exponent.is_Rational:
                return polynomial.power(self.expr(base), Fraction(int(exponent.p), int(exponent.q)))
            return of(Atom("power", str(exponent), (self.expr(base),)))
        name = scalar.NAME_OF_HEAD[scalar.rule_of(expr).head]
        return polynomial.function(name, *map(self.expr, expr.args))


def apply(matrix: Matrix, turned: bool, vector: Poly) -> Poly:
    """matrix @ vector, or its transpose @ vector, one monomial at a time."""
    result = ZERO
    for mono, c in vector.terms.items():
        outside, inside = _split(mono)
        for (kind, name, transposed), factor in matrix.parts.items():
            if kind == "matrix":
                mark = "'" if transposed != turned else ""
                value = of(Atom("product", name + mark, (inside,)))
            elif kind == "diag":
                value = of(Atom("param", name)) * inside
            else:
                value = inside
            result += (value * outside).times(c * factor)
    return result


def total(value: Poly, size: Poly) -> Poly:
    """The sum over the width, one monomial at a time."""
    result = ZERO
    for mono, c in value.terms.items():
        outside, inside = _split(mono)
        summed = size if inside == ONE else of(Atom("sum", "", (inside,), True))
        result += (summed * outside).times(c)
    return result


def _split(mono: polynomial.Mono) -> tuple[Poly, Poly]:
    """The factors that are one number a row, and the others."""
    outside = tuple(pair for pair in mono if pair[0].scalar)
    inside = tuple(pair for pair in mono if not pair[0].scalar)
    return single(outside), single(inside)


def reduced(step: Step) -> tuple[Step, Canonical, dict[str, str]]:
    """Without states that repeat another, or that no output depends on.

    Two states with the same next value are one if they start from the same value; the third
    result says which state stands for which.
    """
    same: dict[str, str] = {}
    while True:
        vectors = {old: of(Atom("array", new)) for old, new in same.items()}
        found = canonical(step, Meaning(vectors))
        seen: dict[tuple[str, object], str] = {}
        twin = None
        table = step.program.table()
        for state in step.states:
            if state in same:
                continue
            key = (found.states[state].key, table[state].shape)
            if key in seen:
                twin = (state, seen[key])
                break
            seen[key] = state
        if twin is None:
            break
        same = {old: twin[1] if new == twin[0] else new for old, new in same.items()}
        same[twin[0]] = twin[1]
    read = _read_by(found, [s for s in step.states if s not in same])
    kept = tuple(s for s in step.states if s in read)
    nexts = dict(zip(step.states, step.next_states, strict=True))
    states = {s: found.states[s] for s in kept}
    small = replace(step, states=kept, next_states=tuple(nexts[s] for s in kept))
    return small, replace(found, states=states), same


def _read_by(found: Canonical, states: list[str]) -> set[str]:
    waiting = list(found.outputs)
    read: set[str] = set()
    while waiting:
        for name in arrays_in(waiting.pop()):
            if name in states and name not in read:
                read.add(name)
                waiting.append(found.states[name])
    return read


def arrays_in(value: Poly) -> set[str]:
    """Inputs and states that occur, however deep."""
    found = set()
    for atom in value.atoms():
        if atom.kind == "array":
            found.add(atom.name)
        for arg in atom.args:
            found |= arrays_in(arg)
    return found
