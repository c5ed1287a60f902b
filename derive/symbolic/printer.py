"""SymPy expression -> one line: the one printer of all formats.

In: an expression.  Out: text with no more parentheses than precedence asks for.
Not here: what differs between formats: code.py (NumPy and C), textbook/notation.py (text, LaTeX and
MathML).

SymPy sorts the terms of sums and products alphabetically; a reader wants `f * c + i * g`. So a
printer says in which order they stand. A sum does not begin with a minus if it can help it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import sympy

from derive.symbolic import functions
from derive.symbolic.functions import Expr

#: What binds tighter has the larger number. In `.cell` text a * (W @ x) needs its parentheses.
COMPARISON, SUM, TERM, PRODUCT, POWER, ATOM = range(6)
Written = tuple[str, int]


class Printer(ABC):
    """The walk over an expression, signs, quotients and parentheses; formats fill in the rest."""

    def text(self, expr: Expr, least: int) -> str:
        """In parentheses where it binds less than `least`."""
        text, precedence = self.write(expr)
        return self.group(text) if precedence < least else text

    def write(self, expr: Expr) -> Written:
        if isinstance(expr, sympy.Symbol):
            if functions.is_size(expr):
                return self.size(expr.name.strip("|")), ATOM
            return self.name(expr.name), ATOM
        if functions.is_constant(expr):
            return self.number(expr)
        if expr.is_Add:
            return " ".join(self.terms(expr)), SUM
        if expr.is_Mul:
            return self.product(expr)
        if is_power(expr):
            return self.power(expr)
        return self.call(expr)

    def terms(self, expr: Expr) -> tuple[str, ...]:
        """The terms of a sum, each but the first with its sign: "a", "- b * c"."""
        if not expr.is_Add:
            return (self.text(expr, COMPARISON),)
        first, *rest = sorted(
            arguments(expr), key=lambda term: (self.is_negative(term), self.term_key(term))
        )
        texts = [self.text(first, SUM)]
        for term in rest:
            negative = self.is_negative(term)
            text = self.text(-term if negative else term, TERM)
            texts.append(f"- {text}" if negative else f"+ {text}")
        return tuple(texts)

    def product(self, expr: Expr) -> Written:
        if self.is_negative(expr):
            return "-" + self.text(-expr, PRODUCT), SUM
        coefficient, factors = self.factors(expr)
        factors = sorted(factors, key=self.factor_key)
        above = [factor for factor in factors if not self.is_divisor(factor)]
        below = [cast(Expr, 1 / factor) for factor in factors if self.is_divisor(factor)]
        divisor = self.denominator(coefficient)
        if divisor != 1:
            below.insert(0, divisor)
            coefficient = cast(Expr, coefficient * divisor)
        if coefficient != 1 or not above:
            above.insert(0, coefficient)
        return self.quotient(above, below) if below else (self.times(above), PRODUCT)

    def times(self, factors: Sequence[Expr]) -> str:
        return self.juxtaposed([self.text(factor, PRODUCT) for factor in factors])

    # --- what a format says ---------------------------------------------------------------------

    @abstractmethod
    def name(self, name: str) -> str:
        """An array."""

    @abstractmethod
    def size(self, dim: str) -> str:
        """The number of elements along a dimension."""

    @abstractmethod
    def number(self, value: Expr) -> Written: ...

    @abstractmethod
    def group(self, inner: str) -> str:
        """In parentheses."""

    @abstractmethod
    def juxtaposed(self, factors: Sequence[str]) -> str:
        """A product of what is written already."""

    @abstractmethod
    def quotient(self, above: Sequence[Expr], below: Sequence[Expr]) -> Written: ...

    @abstractmethod
    def power(self, expr: Expr) -> Written: ...

    @abstractmethod
    def call(self, expr: Expr) -> Written:
        """A function, a comparison, or a product of a matrix."""

    @abstractmethod
    def is_negative(self, term: Expr) -> bool:
        """Whether a term is written with a minus before it."""

    @abstractmethod
    def is_divisor(self, factor: Expr) -> bool:
        """Whether a factor stands below a fraction."""

    @abstractmethod
    def factors(self, product: Expr) -> tuple[Expr, list[Expr]]:
        """The number before a product, and its factors."""

    @abstractmethod
    def denominator(self, coefficient: Expr) -> Expr:
        """The part of the number before a product that stands below a fraction."""

    @abstractmethod
    def term_key(self, term: Expr) -> Any:
        """By what the terms of a sum are sorted."""

    @abstractmethod
    def factor_key(self, factor: Expr) -> Any: ...


def is_power(expr: Expr) -> bool:
    """SymPy's exp is a power of e, and no power here."""
    return isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp)


def arguments(expr: Expr) -> tuple[Expr, ...]:
    return cast(tuple[Expr, ...], expr.args)
