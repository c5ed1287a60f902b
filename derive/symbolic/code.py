"""SymPy expression -> one line of NumPy or C.

In: an expression over the closed function set, a `Syntax`, and an order of names.
Out: text with no more parentheses than precedence asks for.
Not here: the walk (printer.py), what the line is part of (emit/numpy/module.py, emit/c/stages.py,
templates/).

Factors and terms stand in the order of their first name: cotangents, then gates in the order in
which the author defined them, then states, inputs and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import sympy

from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.printer import (
    ATOM,
    COMPARISON,
    PRODUCT,
    SUM,
    Printer,
    Written,
    arguments,
    is_power,
)

#: With the number on the right, where the target knows the mirrored comparison.
_MIRRORED = {
    "less": "greater",
    "less_equal": "greater_equal",
    "equal": "equal",
    "not_equal": "not_equal",
}


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Syntax:
    """How one target writes numbers, names and functions."""

    number: Callable[[float], str]  # where a scalar is enough
    whole: Callable[[float], str]  # where an array is needed
    name: Callable[[str], str]
    size: Callable[[str], str]
    functions: Mapping[str, str]  # name of a function, or square -> callee
    comparisons: Mapping[str, str]  # less, maybe greater ... -> "{0} < {1}" or a call
    power: Callable[[str, float], str]  # base raised to a constant that is no small integer
    # A power of a dimension alone is a scalar; without this it is written like any other.
    size_power: Callable[[str, float], str] | None = None
    size_quotient: Callable[[str, str], str] | None = None
    # Around the first branch of a `where` between two constants, which no array gives a type.
    constant_branch: Callable[[str], str] = _as_it_is


def print_expression(expr: Expr, syntax: Syntax, order: Mapping[str, int]) -> str:
    """`expr` in the target's syntax. A bare number prints as a whole array."""
    if functions.is_constant(expr):
        return syntax.whole(value_of(expr))
    return _Code(syntax, order).text(expr, COMPARISON)


def print_terms(expr: Expr, syntax: Syntax, order: Mapping[str, int]) -> tuple[str, ...]:
    """`expr` as the terms of a sum, each but the first with its sign: "a", "- b * c"."""
    return _Code(syntax, order).terms(expr)


def value_of(expr: Expr) -> float:
    """The double nearest to an expression without symbols."""
    return float(expr) if expr.is_Rational else float(sympy.N(expr, 30))


def shortest(value: float, dtype: type[np.floating]) -> str:
    """The shortest decimal text that gives `value` back in `dtype`."""
    text = str(dtype(value))
    return text if any(c in text for c in ".en") else text + ".0"


class _Code(Printer):
    def __init__(self, syntax: Syntax, order: Mapping[str, int]) -> None:
        self.syntax = syntax
        self.order = order

    def name(self, name: str) -> str:
        return self.syntax.name(name)

    def size(self, dim: str) -> str:
        return self.syntax.size(dim)

    def number(self, value: Expr) -> Written:
        number = value_of(value)
        return self.syntax.number(number), ATOM if number >= 0 else SUM

    def group(self, inner: str) -> str:
        return f"({inner})"

    def juxtaposed(self, factors: Sequence[str]) -> str:
        return " * ".join(factors)

    # --- products and powers --------------------------------------------------------------------

    def is_negative(self, term: Expr) -> bool:
        if term.is_number:
            return value_of(term) < 0
        return bool(term.is_Mul) and value_of(_coefficient(term)) < 0

    def factors(self, product: Expr) -> tuple[Expr, list[Expr]]:
        return _coefficient(product), [f for f in arguments(product) if not f.is_number]

    def denominator(self, coefficient: Expr) -> Expr:
        return functions.ONE  # a / 3 is a product with the number next to 1/3

    def is_divisor(self, factor: Expr) -> bool:
        if not is_power(factor) or _is_inverse_power(factor):
            return False
        exponent = arguments(factor)[1]
        return bool(exponent.is_number) and value_of(exponent) < 0

    def quotient(self, above: Sequence[Expr], below: Sequence[Expr]) -> Written:
        if self.syntax.size_quotient and _all_sizes((*above, *below)):
            return self.syntax.size_quotient(self.times(above), self.times(below)), ATOM
        divisor = self.text(below[0], ATOM) if len(below) == 1 else f"({self.times(below)})"
        return f"{self.times(above)} / {divisor}", PRODUCT

    def power(self, expr: Expr) -> Written:
        base, exponent = arguments(expr)
        value = value_of(exponent)
        if _is_inverse_power(expr):
            return self.inverse_power(base, exponent)
        if value < 0:
            return self.inverse(cast(Expr, 1 / expr)), PRODUCT
        if self.syntax.size_power and all(map(functions.is_size, base.free_symbols)):
            return self.syntax.size_power(self.text(base, ATOM), value), ATOM
        if exponent == functions.HALF:
            return f"{self.syntax.functions['sqrt']}({self.argument(base)})", ATOM
        if base.is_Symbol and exponent in (2, 3):
            return " * ".join([self.text(base, ATOM)] * int(value)), PRODUCT
        if exponent == 2:
            return f"{self.syntax.functions['square']}({self.argument(base)})", ATOM
        return self.syntax.power(self.argument(base), value), ATOM

    def inverse(self, expr: Expr) -> str:
        one = self.syntax.number(1.0)
        if self.syntax.size_quotient and _all_sizes((expr,)):
            return self.syntax.size_quotient(one, self.text(expr, SUM))
        return f"{one} / {self.text(expr, ATOM)}"

    def inverse_power(self, base: Expr, exponent: Expr) -> Written:
        """v to a negative exponent, which 1 / v**n is not where v**n overflows or is subnormal."""
        value = value_of(exponent)
        if not exponent.is_Integer:
            return self.syntax.power(self.argument(base), value), ATOM
        inverse = self.inverse(base)
        square = f"{self.syntax.functions['square']}({inverse})"
        if value == -2:
            return square, ATOM
        if value == -3 and base.is_Symbol:
            return f"{square} / {self.text(base, ATOM)}", PRODUCT
        return self.syntax.power(inverse, -value), ATOM

    # --- calls ----------------------------------------------------------------------------------

    def call(self, expr: Expr) -> Written:
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        if name == "stop_gradient":
            return self.write(arguments(expr)[0])
        texts = [self.argument(argument) for argument in arguments(expr)]
        if name in self.syntax.comparisons:
            mirrored = _MIRRORED[name]
            if arguments(expr)[0].is_number and mirrored in self.syntax.comparisons:
                name, texts = mirrored, texts[::-1]
            return self.syntax.comparisons[name].format(*texts), COMPARISON
        if name == "where" and not any(has_arrays(branch) for branch in arguments(expr)[1:]):
            texts[1] = self.syntax.constant_branch(texts[1])
        return f"{self.syntax.functions[name]}({', '.join(texts)})", ATOM

    def argument(self, expr: Expr) -> str:
        if functions.is_constant(expr):
            return self.syntax.whole(value_of(expr))
        return self.text(expr, COMPARISON)

    # --- order ----------------------------------------------------------------------------------

    def term_key(self, term: Expr) -> tuple[int, str]:
        """By the earliest name; what has no name comes last."""
        last = len(self.order)
        names = sorted(s.name for s in term.free_symbols if not functions.is_size(s))
        position = min((self.order.get(name, last) for name in names), default=last + 1)
        return position, f"{names}{term}"

    def factor_key(self, factor: Expr) -> tuple[int, int, str]:
        base = factor.base if isinstance(factor, sympy.Pow) else factor
        kind = 0 if factor.is_Symbol else 1 if base.is_Symbol else 2 if factor.is_Add else 3
        return kind, *self.term_key(factor)


def has_arrays(expr: Expr) -> bool:
    return not all(map(functions.is_size, expr.free_symbols))


def _all_sizes(factors: Sequence[Expr]) -> bool:
    """Whether there are numbers and lengths of axes alone, of which one may be 0."""
    return all(functions.is_size(s) for factor in factors for s in factor.free_symbols)


def _coefficient(product: Expr) -> Expr:
    return cast(Expr, sympy.Mul(*(factor for factor in product.args if factor.is_number)))


def _is_inverse_power(power: Expr) -> bool:
    """Whether the exponent is below 0, and neither -1 nor -1/2: those are quotients.

    A dimension is no array, and neither large nor small.
    """
    base, exponent = arguments(power)
    if not exponent.is_number or exponent in (-functions.ONE, -functions.HALF):
        return False
    return value_of(exponent) < 0 and has_arrays(base)
