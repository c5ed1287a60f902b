"""A cell for many parameters at once: an axis of its own before all others.

In: a Program, values [n, rows, ...] and, of what all rows share, [n, ...].  Out: all of its arrays;
or the outputs over time.
Not here: fits (fits.py), the oracle (program/interpret.py), which knows one of each.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.comparison.widths import Fitted, shape_of
from derive.emit.normal_tail import DOUBLE
from derive.program import Array, Map, Matmul, Over, Program, Sum
from derive.symbolic.evaluate import NUMPY

#: Sums of so many products are written out.
FEW = 8


def _normal(v: Any) -> Any:
    """The normal distribution function, to 1e-16 of 1: the oracle's takes one number at a time."""
    k, *terms = DOUBLE.numbers
    size = np.minimum(np.abs(v), 38.0)
    tail = np.exp(-0.5 * size * size) * np.polyval(terms, (size - k) / (size + k)) / (1 + size)
    return np.where(np.isnan(v), v, np.where(v > 0, 1 - tail, tail))


def _erf(v: Any) -> Any:
    return 2 * _normal(math.sqrt(2) * v) - 1


_QUICK = {"erf": _erf, "gelu": lambda v: v * _normal(v)}
_ALGEBRA = replace(NUMPY, functions={**NUMPY.functions, **_QUICK})


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
            value = _ALGEBRA.evaluate(equation.expr, own, sizes)
        elif isinstance(equation, Sum):
            value = _reduced(equation, values[equation.source], table[equation.source], out)
        else:
            value = _product(equation, values, table)
        shape = shape_of(out.shape, sizes)
        values[equation.out] = _ALGEBRA.broadcast(value, (n, rows, *shape) if out.per_row else
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
    names = (product.left, product.right)
    gone = [letter for letter in letters[0] if letter not in letters[2]]
    sides = [
        _spread(values[name] if own else values[name][..., 0], own, letters[2], gone,
                per_row=table[name].per_row)
        for name, own in zip(names, letters, strict=False)
    ]  # fmt: skip
    lengths = sides[0].shape[sides[0].ndim - len(gone) :]
    if math.prod(lengths) <= FEW:
        # einsum takes its time for each sum of two.
        at = itertools.product(*map(range, lengths))
        value = functools.reduce(operator.add, (sides[0][..., *k] * sides[1][..., *k] for k in at))
    else:
        axes = "NR" + letters[2]
        value = np.einsum(f"{axes}{''.join(gone)},{axes}{''.join(gone)}->{axes}", *sides)
    if not table[product.out].per_row:
        value = value[:, 0]
    return value if letters[2] else value[..., np.newaxis]


def _spread(value: Any, own: str, out: str, gone: list[str], *, per_row: bool) -> Any:
    """[n, rows or 1, the axes of the result or 1 ..., those that are summed over ...]"""
    value = value if per_row else value[:, np.newaxis]
    kept = [letter for letter in out if letter in own]
    value = value.transpose(0, 1, *(2 + own.index(letter) for letter in (*kept, *gone)))
    at = (slice(None) if letter in own else np.newaxis for letter in out)
    return value[(slice(None), slice(None), *at, ...)]


def outputs(
    cell: Fitted,
    params: Mapping[str, Any],
    x: Mapping[str, Any],
    first: Mapping[str, Any],
    sizes: Mapping[str, int],
    steps: int,
    rows: int,
) -> dict[str, Any]:
    """{output array: [n, T, rows, ...]} for params [n, ...] and states [n, rows, ...]."""
    step, states = cell.step, dict(first)
    table = step.program.table()
    found: dict[str, list[Any]] = {name: [] for name in step.outputs}
    n = max((len(v) for v in (*params.values(), *states.values())), default=1)
    for t in range(steps):
        values = {**params, **{name: value[t][np.newaxis] for name, value in x.items()}, **states}
        run_many(step.program, values, sizes, n, rows)
        nexts = zip(step.states, step.next_states, strict=True)
        states = {state: _by_row(table[name], values[name], n, rows) for state, name in nexts}
        for name in step.outputs:
            found[name].append(_by_row(table[name], values[name], n, rows))
    return {name: np.stack(parts, axis=1) for name, parts in found.items()}


def _by_row(array: Array, value: Any, n: int, rows: int) -> Any:
    """[n, rows, ...], also of what is the same in all rows or for all parameters."""
    value = value if array.per_row else value[:, np.newaxis]
    return np.broadcast_to(value, (n, rows, *value.shape[2:]))
