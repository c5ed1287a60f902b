"""SymPy expression -> one line of NumPy or C.

In: an expression over the closed function set, a `Syntax`, and an order of names.
Out: text with no more parentheses than precedence asks for.
Not here: what the line is part of (numpy_view.py, c_view.py, templates/).

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

from derive import scalar
from derive.program import Program

Expr = scalar.Expr

_SUM, _PRODUCT, _NEGATION, _ATOM = range(4)
_Text = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Syntax:
    """How one target writes numbers, names and functions."""

    number: Callable[[float], str]  # where a scalar is enough
    whole: Callable[[float], str]  # where an array is needed
    name: Callable[[str], str]
    size: Callable[[str], str]
    functions: Mapping[str, str]  # name in scalar.RULES, or sqrt, power -> callee
    comparisons: Mapping[str, str]  # less ... -> "{0} < {1}" or a call
    power: Callable[[str, float], str]  # base raised to a constant that is no small integer


def rank(program: Program, first: Sequence[str] = ()) -> dict[str, int]:
    """Reading order of the names of a Program: `first`, then definitions, then inputs."""
    names = [*first, *(equation.out for equation in program.equations), *reversed(program.inputs)]
    return {name: k for k, name in reversed(list(enumerate(names)))}


def print_expression(expr: Expr, syntax: Syntax, order: Mapping[str, int]) -> str:
    """`expr` in the target's syntax. A bare number prints as a whole array."""
    if expr.is_number:
        return syntax.whole(_value(expr))
    return _Printer(syntax, order).text(expr, _SUM)


def _value(expr: Expr) -> float:
    return float(expr) if expr.is_Rational else float(sympy.N(expr, 30))


class _Printer:
    def __init__(self, syntax: Syntax, order: Mapping[str, int]) -> None:
        self.syntax = syntax
        self.order = order

    def text(self, expr: Expr, least: int) -> str:
        text, precedence = self._print(expr)
        return f"({text})" if precedence < least else text

    def _print(self, expr: Expr) -> _Text:
        if expr.is_Symbol:
            symbol = cast(sympy.Symbol, expr)
            if scalar.is_size(symbol):
                return self.syntax.size(symbol.name.strip("|")), _ATOM
            return self.syntax.name(symbol.name), _ATOM
        if expr.is_number:
            value = _value(expr)
            return self.syntax.number(value), _ATOM if value >= 0 else _NEGATION
        if expr.is_Add:
            return self._sum(expr)
        if expr.is_Mul:
            return self._product(expr)
        if isinstance(expr, sympy.Pow) and not isinstance(expr, scalar.exp):
            return self._power(expr)
        return self._call(expr)

    # --- sums and products ------------------------------------------------------------------

    def _sum(self, expr: Expr) -> _Text:
        terms = sorted(expr.args, key=self._term_key)
        text = self.text(cast(Expr, terms[0]), _SUM)
        for term in terms[1:]:
            negated = -term if _is_negative(term) else None
            sign, part = (" - ", negated) if negated is not None else (" + ", term)
            text += sign + self.text(cast(Expr, part), _PRODUCT)
        return text, _SUM

    def _term_key(self, term: Expr) -> tuple[int, int, str]:
        # Positive terms first, so that 1 - i does not print as -i + 1; numbers after names.
        return (int(_is_negative(term)), *self._key(term))

    def _key(self, expr: Expr) -> tuple[int, str]:
        names = [s.name for s in expr.free_symbols if not scalar.is_size(s)]
        position = min((self.order.get(name, len(self.order)) for name in names), default=1 << 20)
        return position, sympy.srepr(expr) if position == 1 << 20 else str(sorted(names)) + str(expr)

    def _product(self, expr: Expr) -> _Text:
        coefficient: Expr = sympy.Mul(*(f for f in expr.args if f.is_number))
        if _value(coefficient) < 0:
            return "-" + self.text(-expr, _PRODUCT), _SUM
        above: list[Expr] = []
        below: list[Expr] = []
        for factor in expr.args:
            if factor.is_number:
                continue
            base, exponent = factor.as_base_exp()
            if exponent.is_number and _value(exponent) < 0 and not isinstance(factor, scalar.exp):
                below.append(base**-exponent)
            else:
                above.append(factor)
        above.sort(key=self._factor_key)
        below.sort(key=self._factor_key)
        if coefficient != 1:
            above.insert(0, coefficient)
        text = " * ".join(self.text(factor, _PRODUCT) for factor in above) or self.syntax.number(1)
        if below:
            divisor, precedence = self._print(sympy.Mul(*below)) if len(below) == 1 else (
                " * ".join(self.text(factor, _PRODUCT) for factor in below),
                _PRODUCT,
            )
            text += f" / {divisor}" if precedence > _PRODUCT else f" / ({divisor})"
        return text, _PRODUCT

    def _factor_key(self, factor: Expr) -> tuple[int, int, str]:
        base = factor.as_base_exp()[0]
        kind = 0 if factor.is_Symbol else 1 if base.is_Symbol else 2 if factor.is_Add else 3
        return (kind, *self._key(factor))

    def _power(self, expr: sympy.Pow) -> _Text:
        base, exponent = cast(tuple[Expr, Expr], expr.args)
        if _value(exponent) < 0:
            below, precedence = self._print(base**-exponent)
            below = below if precedence > _PRODUCT else f"({below})"
            return f"{self.syntax.number(1)} / {below}", _PRODUCT
        if exponent == scalar.HALF:
            return f"{self.syntax.functions['sqrt']}({self._argument(base)})", _ATOM
        if exponent == 2 and base.is_Symbol:
            name = self.text(base, _ATOM)
            return f"{name} * {name}", _PRODUCT
        if exponent == 2:
            return f"{self.syntax.functions['square']}({self._argument(base)})", _ATOM
        return self.syntax.power(self._argument(base), _value(exponent)), _ATOM

    # --- calls ------------------------------------------------------------------------------

    def _call(self, expr: Expr) -> _Text:
        name = scalar.NAME_OF_HEAD[scalar.rule_of(expr).head]
        arguments = [self._argument(cast(Expr, argument)) for argument in expr.args]
        if name in self.syntax.comparisons:
            return self.syntax.comparisons[name].format(*arguments), _SUM
        return f"{self.syntax.functions[name]}({', '.join(arguments)})", _ATOM

    def _argument(self, expr: Expr) -> str:
        if expr.is_number:
            return self.syntax.whole(_value(expr))
        return self.text(expr, _SUM)


def _is_negative(term: Expr) -> bool:
    if term.is_number:
        return _value(term) < 0
    return bool(term.is_Mul) and _value(sympy.Mul(*(f for f in term.args if f.is_number))) < 0


def shortest(value: float, dtype: type[np.floating]) -> str:
    """The shortest decimal text that gives `value` back in `dtype`."""
    text = str(dtype(value))
    return text if any(c in text for c in ".en") else text + ".0"
