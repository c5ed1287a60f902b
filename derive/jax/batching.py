"""vmap of the primitives: samples as rows of one call, or a call for each sample.

In: operands, some of which have an axis for samples.  Out: results that have one too.
Not here: derivatives (primitives.py).

| parameters and their directions | gradients of parameters wanted | is                            |
| ------------------------------- | ------------------------------ | ----------------------------- |
| shared by all samples           | no                             | one call, n * B rows          |
| otherwise                       |                                | a loop of n calls in XLA      |

What forward keeps for backward is, of one call with n * B rows, that of all samples together: it
has no axis for samples. Backward takes it where its own rows are the same ones, which its size
tells, and otherwise runs forward once more. No samples at all are a loop of no calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
from jax import numpy as jnp
from jax.interpreters import batching

from derive.jax.engine import Arrays
from derive.jax.primitives import PRIMITIVES, Parted, Way

#: The axis of rows of an array of each kind: inputs, outputs and states.
_OF_INPUTS, _OF_STATES = 1, 0


def _batched(operands: Arrays, dims: Sequence[Any], *, way: Way) -> tuple[list[Any], list[Any]]:
    count = next(a.shape[dim] for a, dim in zip(operands, dims, strict=True) if dim is not None)
    if count and _fold(way, way.parted(dims)):
        return _folded(operands, dims, way, count)
    return _looped(operands, dims, way)


def _fold(way: Way, dims: Parted) -> bool:
    """Whether all samples have the same parameters, and nothing sums over their rows."""
    params = way.engine.counts[0]
    of_params = dims.arrays[:params]
    for flags, own in zip(way.given, dims.directions, strict=True):
        of_params += own[: sum(flags[:params])]
    return all(dim is None for dim in of_params) and not any(way.wanted[:params])


def _folded(
    operands: Arrays, dims: Sequence[Any], way: Way, count: int
) -> tuple[list[Any], list[Any]]:
    parted, own = way.parted(operands), way.parted(dims)
    engine = way.engine
    params, inputs, states = engine.counts
    axes = [None] * params + [_OF_INPUTS] * inputs + [_OF_STATES] * states
    outputs = len(engine.outputs)
    of_results = [_OF_INPUTS] * outputs + [_OF_STATES] * states

    def together(values: Arrays, their: Arrays, at: Sequence[int | None]) -> list[Any]:
        found = []
        for value, dim, axis in zip(values, their, at, strict=True):
            found.append(value if axis is None else _together(value, dim, axis, count))
        return found

    def picked(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
        return [value for value, flag in zip(values, flags, strict=True) if flag]

    folded = Parted(
        together(parted.ends, own.ends, [0] * way.ends),
        together(parted.arrays, own.arrays, axes),
        parted.saved,
        together(parted.cotangents, own.cotangents, picked(of_results, way.on) if way.on else []),
        [
            together(values, their, picked(axes, flags))
            for values, their, flags in zip(
                parted.directions, own.directions, way.given, strict=True
            )
        ],
    )
    way, folded = _where_saved_fits(way, folded, own.saved)
    results = way.bind(folded)
    found_axes: list[Any] = list(of_results)
    if way.wanted:
        found_axes = picked(axes, way.wanted)
    apart = [_apart(r, axis, count) for r, axis in zip(results, found_axes, strict=False)]
    if way.training:
        return [*apart, results[-1]], [*found_axes, None]
    return apart, found_axes


def _where_saved_fits(way: Way, parted: Parted, dims: Arrays) -> tuple[Way, Parted]:
    """Without what was kept for backward, where other rows kept it."""
    if not way.kept:
        return way, parted
    (dim,) = dims
    needed = way.engine.saved(way.engine.sizes(parted.arrays), parted.arrays[0].dtype)
    if dim is None and parted.saved[0].shape == (needed,):
        return way, parted
    return way.without_saved(parted)


def _looped(operands: Arrays, dims: Sequence[Any], way: Way) -> tuple[list[Any], list[Any]]:
    parted = way.parted(dims)
    moving = any(dim is not None for dim in (*parted.ends, *parted.arrays))
    if way.kept and moving and parted.saved[0] is None:  # it is of all samples together
        rest = way.parted(operands)
        way, rest = way.without_saved(rest)
        operands, dims = rest.flat(), replace(parted, saved=[]).flat()
    given = [
        jnp.moveaxis(a, dim, 0)
        for a, dim in zip(operands, dims, strict=True) if dim is not None
    ]  # fmt: skip

    def one(samples: Arrays) -> list[Any]:
        rest = iter(samples)
        own = [a if dim is None else next(rest) for a, dim in zip(operands, dims, strict=True)]
        return way.bind(way.parted(own))

    results = jax.lax.map(one, given)
    return list(results), [0] * len(results)


def _together(value: Any, dim: int | None, axis: int, count: int) -> Any:
    """Samples side by side as rows. axis: that of rows, in an array of one sample."""
    if dim is None:
        shape = list(value.shape)
        shape.insert(axis, count)
        value = jnp.broadcast_to(jnp.expand_dims(value, axis), shape)
    else:
        value = jnp.moveaxis(value, dim, axis)
    shape = list(value.shape)
    shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    return value.reshape(shape)


def _apart(value: Any, axis: int, count: int) -> Any:
    shape = list(value.shape)
    shape[axis : axis + 1] = [count, shape[axis] // count]
    return value.reshape(shape)


for _primitive in PRIMITIVES:
    batching.primitive_batchers[_primitive] = lambda args, dims, **params: _batched(
        args, dims, **params
    )
