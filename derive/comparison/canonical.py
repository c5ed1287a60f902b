"""Step -> canonical polynomials of its next values and outputs, everything inlined.

In: a cell's Step, and what its inputs, states and parameters stand for.  Out: `Canonical`; its
`Slopes`, the same for directional derivatives.
Not here: the algebra (comparison/polynomial/), the comparison of two cells (equal.py, diff.py).

Two steps that compute the same up to the order of terms, the names of intermediates and the
identities of comparison/polynomial/ have the same canonical form. The converse does not hold: that
two forms differ proves nothing.

Identities of comparison/polynomial/ hold wherever both sides are numbers. Where a step is a number
is told apart from them, by `domain`: forms that are 0 just where no logarithm, root or quotient
leaves the numbers. Slopes follow the conventions of the derived gradient at kinks
(symbolic/functions.py), so two steps with equal slopes have equal gradients, at ties as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import sympy

from derive.comparison import polynomial
from derive.comparison.matrices import Matrix, apply, named
from derive.comparison.polynomial import ONE, ZERO, Atom, Poly, constant, of, total
from derive.comparison.tangents import tangent_of, tangent_of_matrix
from derive.program import Array, Layout, Map, Matmul, Step, Sum
from derive.program.program import Dim
from derive.symbolic import functions


@dataclass(frozen=True, slots=True)
class Meaning:
    """What names stand for: vectors as polynomials, matrices as sums, sizes by name."""

    vectors: Mapping[str, Poly] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    sizes: Mapping[str, Dim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canonical:
    """Polynomials: of the next value of each state, of each output, of every array.

    domain: polynomials that are 0 exactly where everything needed is a number; steep: those
    that are 0 where all its derivatives are.
    """

    states: Mapping[str, Poly]
    outputs: tuple[Poly, ...]
    arrays: Mapping[str, Poly]
    domain: frozenset[Poly] = frozenset()
    steep: frozenset[Poly] = frozenset()


@dataclass(frozen=True, slots=True)
class Slopes:
    """Directional derivatives; the direction of an array or parameter a is the array "d a"."""

    states: Mapping[str, Poly]
    outputs: tuple[Poly, ...]
    domain: frozenset[Poly]


def canonical(step: Step, meaning: Meaning | None = None) -> Canonical:
    """polynomial.TooLarge where a form grows beyond all use."""
    walk = _walked(step, meaning or Meaning())
    return Canonical(
        {s: walk.values[n] for s, n in zip(step.states, step.next_states, strict=True)},
        tuple(walk.values[name] for name in step.outputs),
        walk.values,
        frozenset(walk.outside),
        frozenset((*walk.outside, *walk.steep)),
    )


def rewritings(
    step: Step, meaning: Meaning
) -> Iterator[tuple[Map | Matmul | Sum, Poly, tuple[str, ...], tuple[str, ...]]]:
    """Of each equation that is not simply written out: its form in its own operands, the identities
    that this takes, and those that it takes with everything written out."""
    walk, needed = _Walk(step, meaning, sloped=False), step.needed()
    alone = _Walk(step, Meaning(sizes=meaning.sizes), sloped=False)
    for array in step.program.arrays:
        if not array.is_matrix:
            alone.values[array.name] = of(Atom("array", array.name, (), array.width == 1))
    for equation in step.program.equations:
        with polynomial.explained() as far:
            walk.add(equation, needed=False)
        if far and equation.out in needed:
            with polynomial.explained() as near:
                form = alone.expr(equation.expr) if isinstance(equation, Map) else ZERO
            yield equation, form, tuple(near), tuple(far)


def canonical_of_nexts(step: Step, meaning: Meaning, nexts: Mapping[str, Poly]) -> tuple[Poly, ...]:
    """Outputs, in which arrays that hold next values stand for themselves, as `nexts` says."""
    walk = _Walk(step, meaning, sloped=False)
    for equation in step.program.equations:
        walk.add(equation)
        if equation.out in nexts:
            walk.values[equation.out] = nexts[equation.out]
    return tuple(walk.values[name] for name in step.outputs)


def slopes(step: Step, meaning: Meaning | None = None) -> Slopes:
    """polynomial.TooLarge where a form grows beyond all use, tangents.Kinked where a state or
    parameter stands for something whose own slope is not known at kinks."""
    walk = _walked(step, meaning or Meaning(), sloped=True)
    return Slopes(
        {s: walk.slopes[n] for s, n in zip(step.states, step.next_states, strict=True)},
        tuple(walk.slopes[name] for name in step.outputs),
        frozenset(walk.outside),
    )


def _walked(step: Step, meaning: Meaning, *, sloped: bool = False) -> _Walk:
    walk = _Walk(step, meaning, sloped=sloped)
    needed = step.needed()
    for equation in step.program.equations:
        if equation.out in needed or not sloped:
            walk.add(equation, needed=equation.out in needed)
    return walk


class _Walk:
    def __init__(self, step: Step, meaning: Meaning, *, sloped: bool) -> None:
        self.meaning = meaning
        self.sloped = sloped
        self.table: Mapping[str, Array] = step.program.table()
        self.values: dict[str, Poly] = {}
        self.slopes: dict[str, Poly] = {}
        self.outside: dict[Poly, None] = {}
        self.steep: dict[Poly, None] = {}
        for name in step.program.inputs:
            if not self.table[name].is_matrix:
                kind = "param" if name in step.params else "array"
                own = of(Atom(kind, name, (), self.table[name].width == 1))
                value = self.meaning.vectors.get(name, own)
                self.values[name] = value
                if sloped:
                    self.slopes[name] = tangent_of(value)

    def add(self, equation: Map | Matmul | Sum, *, needed: bool = True) -> None:
        slope = ZERO
        if isinstance(equation, Map):
            value = self.expr(equation.expr)
            if needed:
                self.leaves(equation.expr, ONE)
            if self.sloped:
                slope = self.slope(equation.expr)
        elif isinstance(equation, Sum):
            size = self.size(self.table[equation.source].width)
            value = total(self.values[equation.source], size)
            if self.sloped:
                slope = total(self.slopes[equation.source], size)
        else:
            assert equation.layout is not Layout.OUTER
            turned = equation.layout is Layout.TRANSPOSED
            matrix = self.meaning.matrices.get(equation.left, named(equation.left))
            value = apply(matrix, turned, self.values[equation.right])
            if self.sloped:
                slope = apply(matrix, turned, self.slopes[equation.right])
                slope += apply(tangent_of_matrix(matrix), turned, self.values[equation.right])
        self.values[equation.out] = value
        if self.sloped:
            self.slopes[equation.out] = slope

    def slope(self, expr: functions.Expr) -> Poly:
        result = ZERO
        for symbol in sorted(expr.free_symbols, key=lambda each: each.name):
            if functions.is_size(symbol) or not self.slopes[symbol.name].terms:
                continue
            partial = functions.partial(expr, symbol)
            if partial != 0:
                self.leaves(partial, ONE)
                result += self.expr(partial) * self.slopes[symbol.name]
        return result

    def leaves(self, expr: functions.Expr, where: Poly) -> None:
        """Notes where `expr` is no number, as long as `where` is 1."""
        if not expr.args or not where.terms:
            return
        if isinstance(expr, functions.where):
            condition = self.expr(expr.args[0])
            self.leaves(expr.args[0], where)
            self.leaves(expr.args[1], where * condition)
            self.leaves(expr.args[2], where * (ONE - condition))
            return
        for arg in expr.args:
            self.leaves(arg, where)
        outside = ZERO
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            base, exponent = expr.args
            if exponent.is_Integer and exponent > 0:
                return
            inner = polynomial.without_factor(self.expr(base))
            if exponent < 0:
                outside = polynomial.function("zero", inner)
            if not exponent.is_Integer:
                outside = outside + polynomial.function("positive", inner.times(Fraction(-1)))
                if exponent > 0:
                    steep = where * polynomial.function("zero", inner)
                    self.steep |= {steep: None} if steep.terms else {}
        elif isinstance(expr, (functions.log, functions.log1p)):
            inner = self.expr(expr.args[0])
            inner = inner if isinstance(expr, functions.log) else inner + ONE
            outside = ONE - polynomial.function("positive", inner)
        outside = outside * where
        if outside.terms:
            self.outside.setdefault(outside)

    def size(self, dim: str | int) -> Poly:
        found = dim if isinstance(dim, int) else self.meaning.sizes.get(dim, dim)
        return constant(found) if isinstance(found, int) else of(Atom("size", found, (), True))

    def expr(self, expr: functions.Expr) -> Poly:
        if expr.is_Symbol:
            if functions.is_size(expr):
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
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            base, exponent = expr.args
            if exponent.is_Rational:
                return polynomial.power(self.expr(base), Fraction(int(exponent.p), int(exponent.q)))
            return of(Atom("power", str(exponent), (self.expr(base),)))
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        return polynomial.function(name, *map(self.expr, expr.args))


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
    if not same and kept == step.states:
        return step, found, same
    nexts = dict(zip(step.states, step.next_states, strict=True))
    small = replace(step, states=kept, next_states=tuple(nexts[s] for s in kept))
    # Where an unread state leaves the numbers, nothing that is compared does.
    vectors = {old: of(Atom("array", new)) for old, new in same.items()}
    return small, canonical(small, Meaning(vectors)), same


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
    return {atom.name for atom in deep_atoms([value]) if atom.kind == "array"}


def substitute(value: Poly, arrays: Mapping[str, Poly]) -> Poly:
    """With polynomials in place of the arrays of these names."""
    known: dict[Atom, Poly] = {}

    def put(atom: Atom) -> Poly:
        if atom.kind == "array":
            return arrays.get(atom.name) or of(atom)
        if not atom.args:
            return of(atom)
        if atom not in known:
            args = [walk(arg) for arg in atom.args]
            if atom.kind == "product":
                name = atom.name.removesuffix("'")
                known[atom] = apply(named(name), name != atom.name, args[0])
            else:
                known[atom] = polynomial.rebuilt(atom, args)
        return known[atom]

    def walk(part: Poly) -> Poly:
        result = ZERO
        for mono, c in part.terms.items():
            term = constant(c)
            for atom, n in mono:
                term = term * polynomial.power(put(atom), Fraction(n))
            result += term
        return result

    return walk(value)


def deep_atoms(values: Iterable[Poly]) -> set[Atom]:
    """All atoms that occur, however deep, each once."""
    found: set[Atom] = set()
    waiting = list(values)
    while waiting:
        for mono in waiting.pop().terms:
            for atom, _ in mono:
                if atom not in found:
                    found.add(atom)
                    waiting.extend(atom.args)
    return found
