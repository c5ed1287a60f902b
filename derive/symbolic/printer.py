"""SymPy expression -> one line of NumPy or C.

In: an expression over the closed function set, a `Syntax`, and an order of names.
Out: text with no more parentheses than precedence asks for.
Not here: what the line is part of (module.py, stages.py, templates/).

SymPy sorts the terms of sums and products alphabetically; a reader wants `f * c + i * g`.
So factors and terms are ordered by `rank`: cotangents, then gates in the order in which the
author defined them, then states, inputs and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import sympy

from derive.symbolic import functions

Expr = functions.Expr

#: What binds tighter has the larger number. A right operand of - and / needs one more.
_COMPARISON, _SUM, _PRODUCT, _ATOM = range(4)
_Text = tuple[str, int]

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
    functions: Mapping[str, str]  # name in functions.RULES, or sqrt, square -> callee
    comparisons: Mapping[str, str]  # less, maybe greater ... -> "{0} < {1}" or a call
    power: Callable[[str, float], str]  # base raised to a constant that is no small integer
    # A power of a dimension alone is a scalar; without this it is written like any other.
    size_power: Callable[[str, float], str] | None = None
    # Around the first branch of a `where` between two constants, which no array gives a type.
    constant_branch: Callable[[str], str] = _as_it_is


def print_expression(expr: Expr, syntax: Syntax, order: Mapping[str, int]) -> str:
    """`expr` in the target's syntax. A bare number prints as a whole array."""
    if functions.is_constant(expr):
        return syntax.whole(value_of(expr))
    return _Printer(syntax, order).text(expr, _COMPARISON)


def print_terms(expr: Expr, syntax: Syntax, order: Mapping[str, int]) -> tuple[str, ...]:
    """`expr` as the terms of a sum, each but the first with its sign: "a", "- b * c"."""
    return _Printer(syntax, order).terms(expr)


def value_of(expr: Expr) -> float:
    """The double nearest to an expression without symbols."""
    return float(expr) if expr.is_Rational else float(sympy.N(expr, 30))


def shortest(value: float, dtype: type[np.floating]) -> str:
    """The shortest decimal text that gives `value` back in `dtype`."""
    text = str(dtype(value))
    return text if any(c in text for c in ".en") else text + ".0"


class _Printer:
    def __init__(self, syntax: Syntax, order: Mapping[str, int]) -> None:
        self.syntax = syntax
        self.order = order

    def text(self, expr: Expr, least: int) -> str:
        text, precedence = self.print(expr)
        return f"({text})" if precedence < least else text

    def print(self, expr: Expr) -> _Text:
        if isinstance(expr, sympy.Symbol):
            if functions.is_size(expr):
                return self.syntax.size(expr.name.strip("|")), _ATOM
            return self.syntax.name(expr.name), _ATOM
        if functions.is_constant(expr):
            value = value_of(expr)
            return self.syntax.number(value), _ATOM if value >= 0 else _SUM
        if expr.is_Add:
            return " ".join(self.terms(expr)), _SUM
        if expr.is_Mul:
            return self.product(expr)
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            return self.power(expr)
        return self.call(expr)

    # --- sums and products ------------------------------------------------------------------

    def terms(self, expr: Expr) -> tuple[str, ...]:
        if not expr.is_Add:
            return (self.text(expr, _COMPARISON),)
        # Positive terms first, so that 1 - i does not print as -i + 1.
        first, *rest = sorted(_args(expr), key=lambda term: (_is_negative(term), *self.key(term)))
        texts = [self.text(first, _SUM)]
        for term in rest:
            negative = _is_negative(term)
            text = self.text(-term if negative else term, _PRODUCT)
            texts.append(f"- {text}" if negative else f"+ {text}")
        return tuple(texts)

    def product(self, expr: Expr) -> _Text:
        coefficient = _coefficient(expr)
        if value_of(coefficient) < 0:
            return "-" + self.text(-expr, _PRODUCT), _SUM
        factors = sorted((f for f in _args(expr) if not f.is_number), key=self.factor_key)
        above = [factor for factor in factors if not _is_divisor(factor)]
        if coefficient != 1 or not above:
            above.insert(0, coefficient)
        text = " * ".join(self.text(factor, _PRODUCT) for factor in above)
        below = [1 / factor for factor in factors if _is_divisor(factor)]
        if below:
            text += f" / {self.divisor(below)}"
        return text, _PRODUCT

    def divisor(self, factors: Sequence[Expr]) -> str:
        if len(factors) == 1:
            return self.text(factors[0], _ATOM)
        return f"({' * '.join(self.text(factor, _PRODUCT) for factor in factors)})"

    def factor_key(self, factor: Expr) -> tuple[int, int, str]:
        base = factor.base if isinstance(factor, sympy.Pow) else factor
        kind = 0 if factor.is_Symbol else 1 if base.is_Symbol else 2 if factor.is_Add else 3
        return kind, *self.key(factor)

    def key(self, expr: Expr) -> tuple[int, str]:
        """By the earliest name in `expr`; what has no name comes last."""
        last = len(self.order)
        names = sorted(s.name for s in expr.free_symbols if not functions.is_size(s))
        position = min((self.order.get(name, last) for name in names), default=last + 1)
        return position, f"{names}{expr}"

    def power(self, expr: sympy.Pow) -> _Text:
        base, exponent = _args(expr)
        value = value_of(exponent)
        if _is_inverse_power(expr):
            return self.inverse_power(base, exponent)
        if value < 0:
            return f"{self.syntax.number(1.0)} / {self.text(1 / expr, _ATOM)}", _PRODUCT
        if self.syntax.size_power and all(map(functions.is_size, base.free_symbols)):
            return self.syntax.size_power(self.text(base, _ATOM), value), _ATOM
        if exponent == functions.HALF:
            return f"{self.syntax.functions['sqrt']}({self.argument(base)})", _ATOM
        if base.is_Symbol and exponent in (2, 3):
            return " * ".join([self.text(base, _ATOM)] * int(value)), _PRODUCT
        if exponent == 2:
            return f"{self.syntax.functions['square']}({self.argument(base)})", _ATOM
        return self.syntax.power(self.argument(base), value), _ATOM

    def inverse_power(self, base: Expr, exponent: Expr) -> _Text:
        """v to a negative exponent, which 1 / v**n is not where v**n overflows or is subnormal."""
        value = value_of(exponent)
        if not exponent.is_Integer:
            return self.syntax.power(self.argument(base), value), _ATOM
        inverse = f"{self.syntax.number(1.0)} / {self.text(base, _ATOM)}"
        square = f"{self.syntax.functions['square']}({inverse})"
        if value == -2:
            return square, _ATOM
        if value == -3 and base.is_Symbol:
            return f"{square} / {self.text(base, _ATOM)}", _PRODUCT
        return self.syntax.power(inverse, -value), _ATOM

    # --- calls ------------------------------------------------------------------------------

    def call(self, expr: Expr) -> _Text:
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        if name == "stop_gradient":
            return self.print(_args(expr)[0])
        arguments = [self.argument(argument) for argument in _args(expr)]
        if name in self.syntax.comparisons:
            mirrored = _MIRRORED[name]
            if _args(expr)[0].is_number and mirrored in self.syntax.comparisons:
                name, arguments = mirrored, arguments[::-1]
            return self.syntax.comparisons[name].format(*arguments), _COMPARISON
        if name == "where" and not any(has_arrays(branch) for branch in _args(expr)[1:]):
            arguments[1] = self.syntax.constant_branch(arguments[1])
        return f"{self.syntax.functions[name]}({', '.join(arguments)})", _ATOM

    def argument(self, expr: Expr) -> str:
        if functions.is_constant(expr):
            return self.syntax.whole(value_of(expr))
        return self.text(expr, _COMPARISON)


def has_arrays(expr: Expr) -> bool:
    return not all(map(functions.is_size, expr.free_symbols))


def _args(expr: Expr) -> tuple[Expr, ...]:
    return cast(tuple[Expr, ...], expr.args)


def _coefficient(product: Expr) -> Expr:
    return cast(Expr, sympy.Mul(*(factor for factor in product.args if factor.is_number)))


def _is_negative(term: Expr) -> bool:
    if term.is_number:
        return value_of(term) < 0
    return bool(term.is_Mul) and value_of(_coefficient(term)) < 0


def _is_divisor(factor: Expr) -> bool:
    if not isinstance(factor, sympy.Pow) or isinstance(factor, functions.exp):
        return False
    if not factor.exp.is_number or _is_inverse_power(factor):
        return False
    return value_of(cast(Expr, factor.exp)) < 0


def _is_inverse_power(power: sympy.Pow) -> bool:
    """Whether the exponent is below 0, and neither -1 nor -1/2: those are quotients.

    A dimension is no array, and neither large nor small.
    """
    base, exponent = _args(power)
    if not exponent.is_number or exponent in (-functions.ONE, -functions.HALF):
        return False
    return value_of(exponent) < 0 and has_arrays(base)
