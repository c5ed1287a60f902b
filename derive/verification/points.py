"""Random points at which a cell is finite and keeps off its kinks.

In: a Step, sizes, a seed.  Out: a `Found` point with its run in BOUNDED numbers.
Not here: what is checked there.

Every number is a float32, so that kernels of both dtypes are given the very same point.
Points are drawn until one is good; kinds of draws take turns, since a cell with log or sqrt
may be finite on positive numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.program import Step, Sum
from derive.verification.kinks import Closeness, Kink, closeness, constants
from derive.verification.reference import Point, Result, run
from derive.verification.rounding import BOUNDED

#: (sign of parameters, sign of inputs and states, size of both): 0 is both signs, 2 one sign
#: for each array.
KINDS = (
    (0, 0, 1.0), (0, 0, 1.0), (0, 0, 0.5), (0, 0, 1.0),
    (1, 1, 1.0), (0, 1, 1.0), (1, 0, 1.0), (2, 2, 1.0),
    (2, 2, 1.0), (0, 0, 0.1), (1, 1, 0.1), (2, 2, 0.5),
)  # fmt: skip

#: Points keep this many roundoffs of float32 away from kinks, so that small steps stay on
#: their side too.
ROOM = 2.0**-24 * 64


@dataclass(frozen=True, slots=True)
class Found:
    """A point, its run in BOUNDED numbers, and how close its kinks are."""

    point: Point
    bounded: Result
    close: Closeness
    finite: bool


class Random:
    """Uniform numbers from a seed and the name of their purpose; the same on every machine."""

    def __init__(self, seed: int, *purpose: int) -> None:
        self.bits = np.random.Generator(np.random.PCG64([seed, *purpose]))

    def uniform(self, shape: tuple[int, ...], size: float = 1.0, sign: int = 0) -> Any:
        values = size * (2 * self.bits.random(shape) - 1)
        if sign:
            values = abs(values) + 0.05 * size
        if sign == 2 and self.bits.random() < 0.5:
            values = -values
        return values.astype(np.float32).astype(np.float64)

    def choice(self, options: Any) -> Any:
        return options[int(self.bits.random() * len(options))]

    def order(self, options: Any) -> list[Any]:
        """The options, shuffled."""
        keys = self.bits.random(len(options))
        return [options[int(k)] for k in np.argsort(keys, kind="stable")]


def small_sizes(step: Step) -> dict[str, int]:
    """A length of its own for every dimension, so that a transposed array does not fit.

    Where the width is summed over the smallest is 4: normalised vectors of 2 have no slope.
    """
    table = step.program.table()
    equations = step.program.equations
    sums = any(
        isinstance(e, Sum) and (table[e.source].shape != table[e.out].shape or e.over.keeps)
        for e in equations
    )
    return {dim: k + (4 if sums else 2) for k, dim in enumerate(step.program.dims())}


def find(
    step: Step,
    kinks: tuple[Kink, ...],
    sizes: Mapping[str, int],
    steps: int,
    rows: int,
    *,
    seed: tuple[int, ...],
    scale: float = 1.0,
    lengths: Any = None,
    reverse: bool = False,
    stretch: float = 1.0,
    room: float = ROOM,
) -> Found:
    """The first good point, or the best of those drawn; `finite` and `close` tell which.

    scale: how large inputs and states are; stretch: how large parameters are.
    """
    best: Found | None = None
    for attempt, kind in enumerate(KINDS):
        random = Random(*seed, attempt)
        point = draw(step, sizes, steps, rows, random, kind, scale, stretch)
        point = with_lengths(replace(point, reverse=reverse), lengths)
        with np.errstate(all="ignore"):
            bounded = run(step, point, BOUNDED)
            found = Found(point, bounded, closeness(kinks, point, bounded), is_finite(bounded))
        if best is None or _rank(found) > _rank(best):
            best = found
        if found.finite and not found.close.exact and found.close.clearance > room:
            break
    assert best is not None
    return best


def with_lengths(point: Point, lengths: Any) -> Point:
    """With NaN wherever a row has ended: nothing there may count."""
    if lengths is None:
        return point
    ended = np.arange(point.steps)[:, None] >= lengths

    def spoil(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {
            n: np.where(ended.reshape(*ended.shape, *(1,) * (a.ndim - 2)), np.nan, a)
            for n, a in arrays.items()
        }

    return replace(
        point,
        inputs=spoil(point.inputs),
        d_outputs=spoil(point.d_outputs),
        lengths=lengths,
    )


def zeros_like(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.zeros_like(array) for name, array in arrays.items()}


def on_kinks(step: Step, kinks: tuple[Kink, ...], seed: int) -> tuple[Found, ...]:
    """Points that lie exactly on kinks in any rounding: matrices are 0, vectors one number.

    The numbers are 0 and the constants that arguments are compared with. A point is left out
    where rounding could decide on which side of a kink an argument lies.
    """
    if not kinks:
        return ()
    found = []
    for k, value in enumerate((0.0, *constants(kinks))):
        random = Random(seed, 5, k)
        point = draw(step, small_sizes(step), 2, 2, random, KINDS[0], 1.0, 1.0)
        params = {n: np.full(a.shape, value * (a.ndim == 1)) for n, a in point.params.items()}
        point = replace(
            point,
            params=params,
            inputs={n: np.full(a.shape, value) for n, a in point.inputs.items()},
            states={n: np.full(a.shape, value) for n, a in point.states.items()},
        )
        with np.errstate(all="ignore"):
            bounded = run(step, point, BOUNDED)
            close = closeness(kinks, point, bounded)
        if is_finite(bounded) and close.clearance > 2.0**-24 and close.exact and not close.unsure:
            found.append(Found(point, bounded, close, True))
    return tuple(found)


def _rank(found: Found) -> tuple[bool, int, float]:
    return found.finite, -len(found.close.exact), found.close.clearance


def is_finite(bounded: Result) -> bool:
    """Whether outputs, last states and their error bounds are."""
    arrays = (*bounded.outputs.values(), *bounded.states.values())
    return all(np.isfinite(a.value).all() and np.isfinite(a.error).all() for a in arrays)


def draw(
    step: Step,
    sizes: Mapping[str, int],
    steps: int,
    rows: int,
    random: Random,
    kind: tuple[int, int, float],
    scale: float,
    stretch: float,
) -> Point:
    table = step.program.table()
    of_params, of_data, size = kind

    def shape(name: str) -> tuple[int, ...]:
        return tuple(sizes[d] if isinstance(d, str) else d for d in table[name].shape)

    def param(name: str) -> Any:
        dims = shape(name)
        # Matrices do not stretch what they multiply by much, so that errors do not explode.
        reach = min(1.5 / math.sqrt(dims[-1]), 4 / dims[-1]) if len(dims) > 1 else 1.0
        return random.uniform(dims, stretch * reach * min(size, 1.0), of_params)

    params = {name: param(name) for name in step.params}
    data = size * scale
    return Point(
        sizes,
        steps,
        rows,
        params,
        {n: random.uniform((steps, rows, *shape(n)), data, of_data) for n in step.inputs},
        {n: random.uniform((rows, *shape(n)), data, of_data) for n in step.states},
        {n: random.uniform((steps, rows, *shape(n))) for n in step.outputs},
        {n: random.uniform((rows, *shape(n))) for n in step.states},
    )
