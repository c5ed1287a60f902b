"""One step of a cell for many parameters at once: an axis of its own before all others.

In: a Program, values [n, rows, ...] and, of what all rows share, [n, ...].  Out: all of its arrays.
Not here: time and fits (fits.py), the oracle (program/interpret.py), which knows one of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.comparison.widths import shape_of
from derive.program import Array, Map, Matmul, Over, Program, Sum
from derive.symbolic.evaluate import NUMPY


def run_many(
    program: Program,
    values: dict[str, Any],
    sizes: Mapping[str, int],
    n: int,
    rows: int,
) -> None:
    """Puts every array into `values`, which holds the inputs."""
    table = program.table()
    for equation in program.equations:
        out = table[equation.out]
        if isinstance(equation, Map):
            own = {name: _lying(equation, values[name], table[name], out) for name in
                   equation.operands}  # fmt: skip
            value = NUMPY.evaluate(equation.expr, own, sizes)
        elif isinstance(equation, Sum):
            value = _reduced(equation, values[equation.source], table[equation.source], out)
        else:
            value = _product(equation, values, table)
        shape = shape_of(out.shape, sizes)
        values[equation.out] = NUMPY.broadcast(value, (n, rows, *shape) if out.per_row else
                                               (n, *shape))  # fmt: skip


def _lying(equation: Map, value: Any, array: Array, out: Array) -> Any:
    """An operand with all axes of the result, 1 long where it is repeated."""
    if out.per_row and not array.per_row:
        value = value[:, np.newaxis]
    rank, place = len(out.shape), equation.place(array.name)
    if place is None:
        if array.shape != (1,) or rank == 1:
            return value
        place = (0,)
    if list(place) != sorted(place):
        return np.swapaxes(value, -1, -2)
    return value[(..., *(slice(None) if k in place else np.newaxis for k in range(rank)))]


def _reduced(equation: Sum, value: Any, source: Array, out: Array) -> Any:
    rank = len(source.shape)
    axes = tuple(axis - rank for axis in equation.axes_of(source, out))
    if equation.over is Over.CUMSUM:
        return np.cumsum(value, axis=axes[0])
    if equation.over is Over.CUMSUM_BACK:
        return np.flip(np.cumsum(np.flip(value, axes[0]), axis=axes[0]), axes[0])
    if not axes:
        return value
    value = value.max(axis=axes) if equation.over is Over.MAX else value.sum(axis=axes)
    return value[..., np.newaxis] if len(axes) == rank else value


def _product(product: Matmul, values: Mapping[str, Any], table: Mapping[str, Array]) -> Any:
    letters = product.letters()
    specs, operands = [], []
    for name, own in zip((product.left, product.right), letters, strict=False):
        operands.append(values[name] if own else values[name][..., 0])
        specs.append(("NR" if table[name].per_row else "N") + own)
    out = ("NR" if table[product.out].per_row else "N") + letters[2]
    value = np.einsum(f"{','.join(specs)}->{out}", *operands)
    return value if letters[2] else value[..., np.newaxis]
