"""Gradient -> the chain rule under each of its lines: what every consumer contributes.

In: a Gradient, and the names of the lines that are printed.
Out: `Link`s: a consuming equation, its slope, and the term that it adds to the cotangent.
Not here: the derivative itself (derivative/gradient.py); this repeats its rules for the reader, and
a test holds the sum of the terms against it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy

from derive.derivative import Gradient
from derive.program import Array, Equation, Layout, Map, Matmul, Sum
from derive.program.formulas import formula, outer, sum_rows
from derive.symbolic import functions, heads
from derive.symbolic.functions import Expr
from derive.textbook.derivation import Derivation, tidy_for

_VECTOR = "a product: the transposed matrix takes the cotangent back"
_MATRIX = "a product: each row of the batch adds an outer product"
_SUM = "a sum: every term receives the cotangent of the whole"


@dataclass(frozen=True, slots=True)
class Link:
    """One contribution to a cotangent.

    consumer: the array whose equation reads the array; "" for a cotangent from outside.
    value: the right-hand side of that equation.  slope: the partial derivative, None where a
    rule, in words, takes its place.  term: what is added.  behind: the links of the consumer's
    own cotangent, where no line of the gradient shows it.
    """

    consumer: str
    value: Expr
    slope: Expr | None
    rule: str
    term: Expr
    behind: tuple[Link, ...]


def chain_rule(gradient: Gradient, found: Derivation) -> dict[str, tuple[Link, ...]]:
    """{line of the gradient: the contributions that add up to it}."""
    printed = [line.name for line in found.gradient]
    chain = Chain(gradient, printed, found.orders)
    of = {name: array for array, name in gradient.derivative.of}
    return {name: chain.links(of[name]) for name in printed}


class Chain:
    """The chain rule of one step.

    printed: cotangents that have a line of their own.  shown: arrays of the forward pass that
    have one; the others are written out where they are used.
    """

    def __init__(
        self, gradient: Gradient, printed: Collection[str], shown: Collection[str]
    ) -> None:
        self.step = gradient.step.program
        self.table: Mapping[str, Array] = self.step.table()
        self.cotangent = dict(gradient.derivative.of)
        self.seeds = gradient.derivative.seeds
        self.printed = set(printed)
        self.shown = {*shown, *self.step.inputs}
        self.tidy = tidy_for(gradient)

    @cached_property
    def written(self) -> dict[sympy.Symbol, Expr]:
        """What has no line, in terms of what has one."""
        found: dict[sympy.Symbol, Expr] = {}
        for equation in self.step.equations:
            if equation.out not in self.shown:
                value = formula(equation, self.table)
                found[functions.symbol(equation.out)] = value.xreplace(found)
        return found

    def links(self, array: str) -> tuple[Link, ...]:
        """The contributions to the cotangent of `array`: those from outside, elementwise ones,
        last consumer first, then those through products in the order of the forward pass."""
        given = [
            Link("", functions.symbol(array), None, "", functions.symbol(seed), ())
            for of, seed in self.seeds
            if of == array
        ]
        readers = [e for e in self.step.equations if array in e.operands]
        products = [e for e in readers if isinstance(e, Matmul)]
        others = [e for e in reversed(readers) if not isinstance(e, Matmul)]
        through = (link for e in (*others, *products) for link in self._through(e, array))
        return (*given, *through)

    def name(self, array: str) -> str:
        """The cotangent of `array`, under the name of the one that it repeats."""
        if self.cotangent[array] in self.printed or any(of == array for of, _ in self.seeds):
            return self.cotangent[array]
        users = [e for e in self.step.equations if array in e.operands]
        if len(users) == 1 and isinstance(users[0], Map):
            out = users[0].out
            slope = self._slope(users[0], array)
            if slope == 1 and self._alike(array, out):
                return self.name(out)
        return self.cotangent[array]

    def _through(self, equation: Equation, array: str) -> list[Link]:
        d_out = functions.symbol(self.name(equation.out))
        value = formula(equation, self.table).xreplace(self.written)
        behind = () if d_out.name in self.printed else self.links(equation.out)
        if isinstance(equation, Map):
            slope = self._slope(equation, array)
            if slope == 0:
                return []
            slope = slope.xreplace(self.written)
            term = self.tidy(self._reduced(d_out * slope, array, equation.out))
            return [Link(equation.out, value, slope, "", term, behind)]
        if isinstance(equation, Sum):
            return [Link(equation.out, value, None, _SUM, d_out, behind)]
        return [
            Link(equation.out, value, None, rule, term.xreplace(self.written), behind)
            for rule, term in _of_product(equation, array, d_out)
        ]

    def _slope(self, equation: Map, array: str) -> Expr:
        by, at = functions.symbol(array), functions.symbol(equation.out)
        return functions.partial(equation.expr, by, at)

    def _alike(self, one: str, other: str) -> bool:
        a, b = self.table[one], self.table[other]
        return a.shape == b.shape and a.per_row == b.per_row

    def _reduced(self, term: Expr, array: str, out: str) -> Expr:
        """The term, summed over the axes that `array` lacks and `out` has."""
        source, result = self.table[out], self.table[array]
        if source.shape != result.shape:
            term = heads.total(term)
        if source.per_row and not result.per_row:
            term = sum_rows(term)
        return term


def _of_product(equation: Matmul, array: str, d_out: Expr) -> list[tuple[str, Expr]]:
    left, right = functions.symbol(equation.left), functions.symbol(equation.right)
    assert equation.layout is not Layout.OUTER  # only a gradient holds outer products
    normal = equation.layout is Layout.NORMAL
    found: list[tuple[str, Expr]] = []
    if array == equation.right:
        matrix = heads.transpose(left) if normal else left
        found.append((_VECTOR, heads.matmul(matrix, d_out)))
    if array == equation.left:
        found.append((_MATRIX, outer(d_out, right) if normal else outer(right, d_out)))
    return found
