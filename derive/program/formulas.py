"""A Program's equations as SymPy equations that a person reads.

In: a Program, and which of its arrays get no line of their own.
Out: `sympy.Eq` objects; products, outer products and sums are functions SymPy never evaluates.
Not here: how an equation is printed (inspect/).

| in a formula     | meaning                                                            |
| ---------------- | ------------------------------------------------------------------ |
| matmul(W, v)     | W v, and matmul(transpose(W), v) is W' v                           |
| outer(a, b)      | a b', summed over the rows of the batch                            |
| sum_rows(v)      | the sum over the rows of the batch                                 |
| sum(v)           | the sum over the width, the last axis                              |
| sum(v, N)        | the sum over the axis N; likewise max, cumsum, cumsum_back         |
| outer(a, b)      | in a product along axes: a b' of each row                          |
| einsum(a, b, s)  | any other product along axes, with its subscripts                  |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import sympy

from derive.program.program import Array, Equation, Layout, Map, Matmul, Over, Program, Sum
from derive.symbolic import functions, heads
from derive.symbolic.functions import Expr


class _OverRows(sympy.Function):  # type: ignore[misc]
    """A real function that looks at all rows of the batch."""

    def _eval_is_extended_real(self) -> bool:
        return True


class outer(_OverRows):
    """outer(a, b): the product of a column a and a row b, summed over the rows of the batch."""

    nargs = 2


class sum_rows(_OverRows):
    """sum_rows(v): the sum over the rows of the batch."""

    nargs = 1


def formulas(
    program: Program,
    *,
    expand: Collection[str] = (),
    rename: Collection[str] = (),
) -> tuple[sympy.Eq, ...]:
    """One equation for each array, in the Program's order.

    expand: arrays that get no line and are written out where they are used.
    rename: arrays that, where they only repeat another, are called by its name in later lines.
    """
    table = program.table()
    written: dict[str, Expr] = {}
    result = []
    for equation in program.equations:
        value = formula(equation, table).xreplace(
            {functions.symbol(n): written[n] for n in equation.operands if n in written}
        )
        out = equation.out
        if out in expand or (out in rename and repeats(value, out, table)):
            written[out] = value
        if out not in expand:
            result.append(sympy.Eq(functions.symbol(out), value, evaluate=False))
    return tuple(result)


def formula(equation: Equation, table: Mapping[str, Array]) -> Expr:
    """The right-hand side of an equation."""
    if isinstance(equation, Map):
        turned = {
            functions.symbol(name): heads.transpose(functions.symbol(name))
            for name, place in equation.places
            if list(place) != sorted(place)
        }
        return cast(Expr, equation.expr.xreplace(turned))
    if isinstance(equation, Sum):
        value: Expr = functions.symbol(equation.source)
        source, out = table[equation.source], table[equation.out]
        if equation.over is not Over.SUM or equation.axes:
            value = _along_axes(equation, source, out)
        elif source.shape != out.shape:
            value = heads.total(value)
        if source.per_row and not out.per_row:
            value = sum_rows(value)
        return value
    return _product(equation)


def _along_axes(equation: Sum, source: Array, out: Array) -> Expr:
    """sum(v), max(v, N), cumsum(v), ...; over several axes one after the other."""
    value: Expr = functions.symbol(equation.source)
    axes = equation.axes_of(source, out)
    head = heads.OVER_AXES[equation.over.value]
    if len(axes) == len(source.shape) and len(axes) > 1:
        return cast(Expr, head(value))
    for axis in sorted(axes, reverse=True):
        last = axis == len(source.shape) - 1
        dim = () if last else (functions.symbol(f"|{source.shape[axis]}|"),)
        value = cast(Expr, head(value, *dim))
    return value


def _product(equation: Matmul) -> Expr:
    left, right = functions.symbol(equation.left), functions.symbol(equation.right)
    if equation.subscripts:
        return _of_axes(equation, left, right)
    if equation.layout is Layout.OUTER:
        return cast(Expr, outer(left, right))
    if equation.layout is Layout.TRANSPOSED:
        return cast(Expr, heads.matmul(heads.transpose(left), right))
    return cast(Expr, heads.matmul(left, right))


def _of_axes(equation: Matmul, left: Expr, right: Expr) -> Expr:
    """A product along axes, as A v, A' v or an outer product where it is one."""
    mine, theirs, out = equation.letters()
    shared = [letter for letter in mine if letter in theirs and letter not in out]
    if mine and theirs and len(shared) == 1 and theirs[-1] == shared[0]:
        rest = out[-1:] and out[-1] in mine and out[-1] not in theirs
        if rest and mine[-1] == shared[0]:
            return cast(Expr, heads.matmul(left, right))
        if rest and mine[-2:-1] == shared[0]:
            return cast(Expr, heads.matmul(heads.transpose(left), right))
    if not shared and len(out) > 1 and out[-2] == mine[-1:] and out[-1] == theirs[-1:]:
        return cast(Expr, heads.OVER_AXES["outer"](left, right))
    return cast(Expr, heads.OVER_AXES["einsum"](left, right, _word(equation.subscripts)))


def _word(text: str) -> Expr:
    """Subscripts: no array, and so between bars, as sizes are."""
    return cast(Expr, functions.symbol(f"|{text}|"))


def repeats(value: Expr, out: str, table: Mapping[str, Array]) -> bool:
    """Whether `out` is another array of the same shape under a second name."""
    if not isinstance(value, sympy.Symbol) or functions.is_size(value):
        return False
    source = table[value.name]
    return source.shape == table[out].shape and source.per_row == table[out].per_row
