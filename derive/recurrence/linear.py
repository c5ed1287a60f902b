"""Which arrays are affine in which others: A(p, x) s + b(p, x), with an A that s does not reach.

In: a Program, names of its inputs.  Out: a `Degree` for each array; the coefficients of an
expression.
Not here: which element meets which (jacobian.py).

Values count, not derivatives: floor(s) is not affine although its derivative is 0 everywhere, and
stop_gradient(s) is s.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import cast

import sympy

from derive.program import Map, Matmul, Over, Program, Sum
from derive.symbolic import functions
from derive.symbolic.functions import ONE, ZERO, Expr

#: An affine expression: the coefficient of each symbol, and what is left without them.
Affine = tuple[Mapping[sympy.Symbol, Expr], Expr]


class Degree(enum.IntEnum):
    """How an array depends on others. HIGHER: it is not known to be affine."""

    CONSTANT = 0
    AFFINE = 1
    HIGHER = 2


def degrees(program: Program, of: Collection[str]) -> dict[str, Degree]:
    """{array: how it depends on the inputs `of`, all of them together}."""
    found = {name: Degree.AFFINE if name in of else Degree.CONSTANT for name in program.inputs}
    for equation in program.equations:
        moving = [name for name in dict.fromkeys(equation.operands) if found[name]]
        worst = max((found[name] for name in moving), default=Degree.CONSTANT)
        if worst is Degree.AFFINE and not _keeps(equation, moving):
            worst = Degree.HIGHER
        found[equation.out] = worst
    return found


def _keeps(equation: Map | Matmul | Sum, moving: list[str]) -> bool:
    """Whether affine operands give an affine result."""
    if isinstance(equation, Map):
        return coefficients(equation.expr, frozenset(map(functions.symbol, moving))) is not None
    if isinstance(equation, Sum):
        return equation.over is not Over.MAX
    return len(moving) == 1 and equation.left != equation.right


@lru_cache(maxsize=1 << 14)
def coefficients(expr: Expr, moving: frozenset[sympy.Symbol]) -> Affine | None:
    """`expr` as an affine expression in the symbols; None where none is found."""
    found = _affine(expr, moving)
    if found is None and (expr.is_Add or expr.is_Mul or expr.is_Pow):
        expanded = sympy.expand(expr, log=False, power_base=False, power_exp=False, basic=False)
        found = _affine(expanded, moving) if expanded != expr else None
    if found is None:
        return None
    terms, rest = found
    return {symbol: slope for symbol, slope in terms.items() if slope != 0}, rest


def _affine(expr: Expr, moving: frozenset[sympy.Symbol]) -> Affine | None:
    if expr in moving:
        return {expr: ONE}, ZERO
    if not (expr.free_symbols & moving):
        return {}, expr
    if expr.is_Add:
        return _sum(tuple(_affine(part, moving) for part in expr.args))
    if expr.is_Mul:
        return _product(expr, moving)
    if isinstance(expr, functions.stop_gradient):
        return _affine(expr.args[0], moving)
    if isinstance(expr, functions.where):
        return _chosen(expr, moving)
    return None


def _sum(parts: tuple[Affine | None, ...]) -> Affine | None:
    terms: dict[sympy.Symbol, Expr] = {}
    rest: Expr = ZERO
    for part in parts:
        if part is None:
            return None
        for symbol, slope in part[0].items():
            terms[symbol] = terms.get(symbol, ZERO) + slope
        rest += part[1]
    return terms, rest


def _product(expr: Expr, moving: frozenset[sympy.Symbol]) -> Affine | None:
    """One factor alone may hold the symbols."""
    inside = [factor for factor in expr.args if factor.free_symbols & moving]
    if len(inside) != 1:
        return None
    found = _affine(inside[0], moving)
    if found is None:
        return None
    outside = sympy.Mul(*(factor for factor in expr.args if factor is not inside[0]))
    return {s: slope * outside for s, slope in found[0].items()}, found[1] * outside


def _chosen(expr: Expr, moving: frozenset[sympy.Symbol]) -> Affine | None:
    """where(c, u, v) is affine where both branches are, and c is free of the symbols."""
    condition, *branches = expr.args
    if condition.free_symbols & moving:
        return None
    u, v = (_affine(branch, moving) for branch in branches)
    if u is None or v is None:
        return None
    symbols = dict.fromkeys((*u[0], *v[0]))
    terms = {s: _where(condition, u[0].get(s, ZERO), v[0].get(s, ZERO)) for s in symbols}
    return terms, _where(condition, u[1], v[1])


def _where(condition: Expr, chosen: Expr, other: Expr) -> Expr:
    return chosen if chosen == other else cast(Expr, functions.where(condition, chosen, other))
