"""Products with matrices that all rows share: which of them are products of flat vectors.

In: products along axes, and the arrays that they are of.  Out: `Blocks`: for each place on the axes
`heads` one product of a matrix and a vector, or, summed over rows, one outer product.
Not here: when they run (phases.py), their tiles and panels (emit/c).

| product              | heads | units | depth | turned |                                          |
| -------------------- | ----- | ----- | ----- | ------ | ---------------------------------------- |
| `nij,j->ni`          |       | n, i  | j     | no     | one matrix of n * i rows                 |
| `nij,nj->ni`         | n     | i     | j     | no     | block-diagonal: a matrix for each head   |
| `nij,ni->nj`         | n     | j     | i     | yes    | its transpose                            |
| `nij,ni->j`          |       | j     | n, i  | yes    |                                          |
| rows of `ni,nj->nij` | n     | i     | j     |        | summed over rows: its gradient           |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from derive.program import Array, Equation, Layout, Matmul, Program
from derive.program.program import Dim


@dataclass(frozen=True, slots=True)
class Blocks:
    """A product with a matrix for each place on `heads`, which come first in every array that has
    them. turned: whether matrices are stored [depth, units]."""

    heads: tuple[Dim, ...]
    units: tuple[Dim, ...]
    depth: tuple[Dim, ...]
    turned: bool = False


def has_blocks(program: Program) -> bool:
    """Whether anything would change: products along axes, with matrices that are computed, or
    arrays of several axes for each row."""
    given = set(program.inputs)
    products = (e for e in program.equations if isinstance(e, Matmul))
    return any(
        e.subscripts or (e.left not in given and e.layout is not Layout.OUTER) for e in products
    ) or any(array.per_row and len(array.shape) > 1 for array in program.arrays)


def in_blocks(program: Program) -> Program:
    """The program with the layout BLOCKS wherever it fits; the matrix, or the factor whose axes
    come first, is the left operand. A product with any other matrix that is computed is one along
    axes: it is in no panel."""
    table = program.table()
    given = set(program.inputs)

    def changed(equation: Equation) -> Equation:
        if not isinstance(equation, Matmul):
            return equation
        if equation.layout is Layout.AXES:
            rows = [table[name].per_row for name in (*equation.operands, equation.out)]
            if all(rows):
                return equation
            for left, right, letters in _orders(equation):
                found = replace(
                    equation, left=left, right=right, layout=Layout.BLOCKS, subscripts=letters
                )
                if blocks_of(found, table) is not None:
                    return found
            return equation
        if equation.left in given or table[equation.right].per_row:
            return equation
        return along_axes(equation)

    return replace(program, equations=tuple(map(changed, program.equations)))


def along_axes(product: Matmul) -> Matmul:
    """A product with a matrix as one along axes; an outer product as it is."""
    if product.layout not in (Layout.NORMAL, Layout.TRANSPOSED):
        return product
    left, right, out = product.letters()
    return replace(product, layout=Layout.AXES, subscripts=f"{left},{right}->{out}")


def blocks_of(product: Matmul, table: Mapping[str, Array]) -> Blocks | None:
    """The blocks of a product whose left operand is the matrix, or the factor whose axes come
    first; None where it has none. Of two arrays of rows it is the sum over rows."""
    left, right = table[product.left], table[product.right]
    if not product.subscripts:
        rows, columns = left.shape
        turned = product.layout is Layout.TRANSPOSED
        return Blocks((), (columns,), (rows,), True) if turned else Blocks((), (rows,), (columns,))
    mine, theirs, result = product.letters()
    if not (mine and theirs and result):
        return None
    dims = dict(zip((*mine, *theirs), (*left.shape, *right.shape), strict=True))
    heads = "".join(c for c in mine if c in theirs and c in result)

    def widths(letters: str) -> tuple[Dim, ...]:
        return tuple(dims[c] for c in letters)

    if left.per_row and right.per_row:
        units, depth = (_without(own, heads) for own in (mine, theirs))
        fits = mine == heads + units and theirs == heads + depth and result == heads + units + depth
        found = Blocks(widths(heads), widths(units), widths(depth))
        return found if fits and units and depth else None
    if left.per_row or not right.per_row:
        return None
    units, depth = _without(result, heads), _without(theirs, heads)
    if result != heads + units or theirs != heads + depth or not (units and depth):
        return None
    orders = {heads + units + depth: False, heads + depth + units: True}
    if mine not in orders:
        return None
    return Blocks(widths(heads), widths(units), widths(depth), orders[mine])


def _without(letters: str, others: str) -> str:
    return "".join(c for c in letters if c not in others)


def _orders(product: Matmul) -> tuple[tuple[str, str, str], ...]:
    """Both orders of the operands, with the letters of each."""
    mine, theirs, out = product.letters()
    return (
        (product.left, product.right, product.subscripts),
        (product.right, product.left, f"{theirs},{mine}->{out}"),
    )
