"""interpret: every array of a Program, slowly and plainly. The oracle of every test.

In: a Program, the values of its inputs, sizes, and the numbers to compute with.  Out: all arrays.
Not here: rules of a Program (program.py), time (verification/reference.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.program.program import Array, Layout, Map, Matmul, Over, Program, Sum
from derive.symbolic.evaluate import NUMPY, Algebra


def interpret(
    program: Program,
    inputs: Mapping[str, Any],
    *,
    rows: int,
    sizes: Mapping[str, int],
    algebra: Algebra = NUMPY,
) -> dict[str, Any]:
    """Every array of `program`, computed in the plainest way there is.

    inputs: {name: array}; per-row arrays are [rows, *shape], shared ones [*shape].  sizes:
    {dimension name: length}.  The algebra decides the numbers: float64, complex (for the complex
    step) or mpmath.
    """
    table = program.table()
    values: dict[str, Any] = {name: algebra.array(inputs[name]) for name in program.inputs}
    for equation in program.equations:
        out = table[equation.out]
        lengths = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in out.shape)
        shape = (rows, *lengths) if out.per_row else lengths
        if isinstance(equation, Map):
            value = algebra.evaluate(equation.expr, _aligned(equation, values, table), sizes)
        elif isinstance(equation, Sum):
            value = _interpret_sum(equation, values[equation.source], table, algebra)
        else:
            value = _interpret_product(equation, values, table, algebra)
        values[equation.out] = algebra.broadcast(value, shape)
    return values


def _aligned(
    equation: Map, values: Mapping[str, Any], table: Mapping[str, Array]
) -> Mapping[str, Any]:
    """Operands with an axis of length 1 wherever they are repeated."""
    rank = len(table[equation.out].shape)
    if rank == 1 and not equation.places:
        return values
    return {
        name: align(values[name], table[name], equation.place(name), rank)
        for name in equation.operands
    }


def align(value: Any, array: Array, place: tuple[int, ...] | None, rank: int) -> Any:
    """The value of `array` with `rank` axes, on those of `place` its own, else 1 long."""
    if place is None:
        if array.shape != (1,) or rank == 1:
            return value
        place = (0,)
    if list(place) != sorted(place):
        return value.swapaxes(-1, -2)
    axes = tuple(slice(None) if k in place else None for k in range(rank))
    return value[(slice(None), *axes) if array.per_row else axes]


def _interpret_sum(equation: Sum, value: Any, table: Mapping[str, Array], algebra: Algebra) -> Any:
    source, out = table[equation.source], table[equation.out]
    axes = equation.axes_of(source, out)
    rank = len(source.shape)
    if source.per_row and not out.per_row:
        value = algebra.sum(value, axis=0)[0]
    if equation.over.keeps:
        return _running_sum(value, axes[0] - rank, equation.over, algebra)
    for axis in axes:
        if equation.over is Over.MAX:
            value = _largest(value, axis - rank, algebra)
        else:
            value = algebra.sum(value, axis=axis - rank)
    kept = range(rank - 1, rank) if len(axes) == rank else [k for k in range(rank) if k not in axes]
    return value[(..., *(slice(None) if k in kept else 0 for k in range(rank)))]


def _part(axis: int, part: Any) -> tuple[Any, ...]:
    """The index of a part along an axis that is counted from the last, -1."""
    return (..., part, *(slice(None) for _ in range(-1 - axis)))


def _largest(value: Any, axis: int, algebra: Algebra) -> Any:
    length = value.shape[axis]
    if not length:
        return algebra.array(np.full(_with_length(value.shape, axis, 1), -np.inf))
    largest = value[_part(axis, slice(0, 1))]
    for k in range(1, length):
        largest = algebra.functions["maximum"](largest, value[_part(axis, slice(k, k + 1))])
    return largest


def _running_sum(value: Any, axis: int, over: Over, algebra: Algebra) -> Any:
    """A sum over k of value[k] where k <= j, or k >= j, for each j."""
    length = value.shape[axis]
    if not length:
        return value
    counts = np.tril(np.ones((length, length)))
    counts = counts if over is Over.CUMSUM else counts.T
    counts = counts.reshape(length, length, *(1,) * (-1 - axis))
    terms = value[_before(axis)] * algebra.array(counts)
    return algebra.sum(terms, axis=axis)[_part(axis, 0)]


def _before(axis: int) -> tuple[Any, ...]:
    """The index that puts an axis of length 1 before `axis`."""
    return (..., None, *(slice(None) for _ in range(-axis)))


def _with_length(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*shape[:axis], length, *(shape[axis + 1 :] if axis != -1 else ()))


def _interpret_product(
    product: Matmul, values: Mapping[str, Any], table: Mapping[str, Array], algebra: Algebra
) -> Any:
    left, right = values[product.left], values[product.right]
    if product.subscripts:
        return _interpret_axes(product, values, table, algebra)
    if product.layout is Layout.OUTER:
        if table[product.left].per_row:
            return algebra.matmul(left.T, right)
        return left[:, np.newaxis] * right[np.newaxis, :]
    matrix = left if product.layout is Layout.NORMAL else left.T
    # right is [rows, k] or [k]; contraction is positional, the last axis against matrix columns.
    return algebra.matmul(right, matrix.T)


def _interpret_axes(
    product: Matmul, values: Mapping[str, Any], table: Mapping[str, Array], algebra: Algebra
) -> Any:
    """Every product of elements, one axis for each letter; then sums over what `out` lacks."""
    of_left, of_right, of_out = product.letters()
    gone = "".join(dict.fromkeys(c for c in of_left + of_right if c not in of_out))
    every = of_out + gone

    def spread(name: str, own: str) -> Any:
        value, rows = values[name], table[name].per_row
        if not own:  # a scalar
            value = value[..., 0]
        order = sorted(range(len(own)), key=lambda k: every.index(own[k]))
        value = value.transpose(*((0, *(k + 1 for k in order)) if rows else order))
        axes = tuple(slice(None) if c in own else None for c in every)
        return value[(slice(None), *axes) if rows else axes]

    total = spread(product.left, of_left) * spread(product.right, of_right)
    for _ in gone:
        total = algebra.sum(total, axis=-1)[..., 0]
    if table[product.left].per_row and not table[product.out].per_row:
        total = algebra.sum(total, axis=0)[0]
    return total if of_out else total[..., None]
