"""Formulas of a gradient -> the same formulas as a textbook writes them.

In: SymPy expressions, the arrays that they are about.  Out: equal expressions.
Not here: which lines there are (derivation.py), the order of terms and factors (notation.py).

| written        | becomes       |                                              |
| -------------- | ------------- | -------------------------------------------- |
| sum(-2 * v)    | -2 * sum(v)   | numbers before sums over the width and rows  |
| sum(s * v)     | s * sum(v)    | for s of width 1, v wider                    |
| d * (m - v)    | -d * (v - m)  | where the author wrote v - m                 |
| sum(v) / |H|   | mean(v)       | for v of width H                             |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import sympy

from derive.program import Array, formulas
from derive.symbolic import functions, heads
from derive.symbolic.functions import Expr

_SUMS = (heads.total, heads.mean, formulas.sum_rows)
#: Functions whose argument has a width and rows of its own.
_APART = (*_SUMS, heads.matmul, formulas.outer)


class Tidy:
    """written: formulas of the author, whose differences keep their sign."""

    def __init__(self, written: Iterable[Expr], table: Mapping[str, Array]) -> None:
        self.differences = {node for value in written for node in value.atoms(sympy.Add)}
        self.table = table

    def __call__(self, value: Expr) -> Expr:
        """From the inside out: what comes out of a bracket goes on out of the sum around it."""
        if not value.args or functions.is_constant(value):
            return value
        args = [self(cast(Expr, arg)) for arg in value.args]
        changed = any(new is not old for new, old in zip(args, value.args, strict=True))
        value = cast(Expr, value.func(*args)) if changed else value
        if value.is_Mul:
            return self._mean(self._factored(value))
        if isinstance(value, _SUMS):
            number, rest = self._apart(cast(Expr, value.args[0]))
            if not isinstance(value, formulas.sum_rows):
                scale, rest = self._scale(rest)
                number *= scale
            result = cast(Expr, number * value.func(rest))
            return self._mean(result) if result.is_Mul else result
        return value

    def _factored(self, value: Expr) -> Expr:
        """Signs of differences as the author has them."""
        sign, factors = functions.ONE, []
        for factor in value.args:
            common, rest = self._common(cast(Expr, factor))
            turned = rest.is_Add and rest not in self.differences and -rest in self.differences
            sign, rest = (-sign, -rest) if turned else (sign, rest)
            # A number times a sum is multiplied out: it stays with its sum.
            factors.append(common * rest)
        return cast(Expr, sign * sympy.Mul(*factors)) if sign != 1 else value

    def _apart(self, value: Expr) -> tuple[Expr, Expr]:
        """The number that all of `value` is multiplied by, and the rest."""
        number, rest = value.as_coeff_Mul()
        if not rest.is_Mul:
            return number, rest
        factors = []
        for factor in rest.args:
            common, inner = self._common(cast(Expr, factor))
            number *= common
            factors.append(inner)
        return number, cast(Expr, sympy.Mul(*factors))

    def _scale(self, value: Expr) -> tuple[Expr, Expr]:
        """The factors that are one number for each row, and the rest, which is wider."""
        wide = [factor for factor in sympy.Mul.make_args(value) if self._is_wide(factor)]
        if not wide:
            return functions.ONE, value
        rest = cast(Expr, sympy.Mul(*wide))
        return cast(Expr, value / rest), rest

    def _is_wide(self, value: Expr) -> bool:
        """Whether a factor may have more than one unit; what is not known is."""
        if isinstance(value, sympy.Symbol):
            known = functions.is_size(value) or value.name in self.table
            return not known or (
                not functions.is_size(value) and self.table[value.name].shape != (1,)
            )
        if isinstance(value, _APART):
            return not isinstance(value, (heads.total, heads.mean))
        return any(self._is_wide(cast(Expr, arg)) for arg in value.args)

    def _common(self, factor: Expr) -> tuple[Expr, Expr]:
        if not factor.is_Add:
            return functions.ONE, factor
        common, rest = factor.primitive()
        return (common, rest) if common.is_Integer else (functions.ONE, factor)

    def _mean(self, value: Expr) -> Expr:
        for factor in value.args:
            if isinstance(factor, heads.total):
                over = self._width(cast(Expr, factor.args[0]))
                if over is not None and 1 / over in value.args:
                    rest = [f for f in value.args if f != factor and f != 1 / over]
                    return cast(Expr, sympy.Mul(*rest, heads.mean(factor.args[0])))
        return value

    def _width(self, value: Expr) -> Expr | None:
        """The size symbol of the width of an elementwise expression."""
        for symbol in elementwise(value):
            shape = self.table[symbol.name].shape if symbol.name in self.table else ()
            if len(shape) == 1 and isinstance(shape[0], str):
                return functions.size(shape[0])
        return None


def elementwise(value: Expr) -> Iterator[sympy.Symbol]:
    """The arrays of an expression that are not inside a product or a sum over an axis."""
    if isinstance(value, sympy.Symbol):
        if not functions.is_size(value):
            yield value
    elif not isinstance(value, _APART):
        for arg in value.args:
            yield from elementwise(cast(Expr, arg))


def fits(value: Expr, wanted: Array, table: Mapping[str, Array]) -> bool:
    """Whether `value` has the shape of `wanted` by itself."""
    if wanted.shape == (1,):
        return not wanted.per_row or _is_per_row(value, table)
    return isinstance(value, heads.matmul) or _has_one_like(value, wanted, table)


def _is_per_row(value: Expr, table: Mapping[str, Array]) -> bool:
    if isinstance(value, sympy.Symbol):
        return not functions.is_size(value) and table[value.name].per_row
    if isinstance(value, (formulas.sum_rows, formulas.outer)):
        return False
    return any(_is_per_row(cast(Expr, arg), table) for arg in value.args)


def fits_within(
    line: Expr, name: str, table: Mapping[str, Array], out: Array | None = None
) -> bool:
    """Whether a narrower value may stand for array `name` wherever `line` reads it: each
    operand that it is added to or multiplied by has the array's shape. out: the array that the
    line gives."""
    wanted, symbol = table[name], functions.symbol(name)

    def around(value: Expr) -> bool:
        """Of the sums and products inside `value`."""
        if isinstance(value, _APART):
            return all(alone(cast(Expr, arg)) for arg in value.args)
        return all(around(cast(Expr, arg)) for arg in value.args)

    def alone(value: Expr) -> bool:
        """Of an expression whose shape nothing around it gives."""
        if symbol in set(elementwise(value)):
            rest = cast(Expr, value.xreplace({symbol: functions.ONE}))
            if not _has_one_like(rest, wanted, table):
                return False
        return around(value)

    if out is not None and out.shape == wanted.shape and out.per_row == wanted.per_row:
        return around(line)
    return alone(line)


def _has_one_like(value: Expr, wanted: Array, table: Mapping[str, Array]) -> bool:
    return any(
        table[symbol.name].shape == wanted.shape and table[symbol.name].per_row == wanted.per_row
        for symbol in elementwise(value)
    )
