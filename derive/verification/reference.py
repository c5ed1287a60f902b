"""What is right: a whole sequence, in the plainest way there is, and its slope.

In: a Step and a `Point` (arrays and sizes).  Out: outputs and last states, in the numbers of
any algebra; slopes of a loss by the complex step.
Not here: any derived gradient, generated text or kernel. This is the oracle, so it shares no
code with them: time, lengths and direction are written once more, by hand, and rows that have
ended are not computed at all instead of being selected away.

The loss is the sum of every output and every last state, each element with a weight of its
own (`d_outputs`, `d_states`): what a kernel's `backward` differentiates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from derive.program import Step, interpret
from derive.symbolic.evaluate import NUMPY, Algebra

Arrays = Mapping[str, Any]

STEP = 2.0**-100


@dataclass(frozen=True, slots=True)
class Point:
    """Where a cell is looked at.

    sizes: {dimension: length}; params: {name: array}; inputs: {name: [T, B, width]}; states:
    {name: [B, width]}; d_outputs: {output array: [T, B, width]}; d_states: {state: [B, width]},
    weights of the last states; lengths: [B] or None.
    """

    sizes: Mapping[str, int]
    steps: int
    rows: int
    params: Arrays
    inputs: Arrays
    states: Arrays
    d_outputs: Arrays
    d_states: Arrays
    lengths: Any = None
    reverse: bool = False

    def given(self) -> dict[str, Any]:
        """Everything a gradient is taken by: {name: array}."""
        return {**self.params, **self.inputs, **self.states}

    def moved(self, by: Arrays) -> Point:
        """The point with arrays of `by` added to those of the same name."""

        def add(group: Arrays) -> dict[str, Any]:
            return {name: group[name] + by[name] if name in by else group[name] for name in group}

        return replace(
            self, params=add(self.params), inputs=add(self.inputs), states=add(self.states)
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """One turn of the loop: `rows` take a step at `times`; `values` are all its arrays."""

    rows: Any
    times: Any
    values: Arrays


@dataclass(frozen=True, slots=True)
class Result:
    """outputs: {output array: [T, B, width]}; states: {name: [B, width]}; one Moment a turn."""

    outputs: Arrays
    states: Arrays
    moments: tuple[Moment, ...]


def run(step: Step, point: Point, algebra: Algebra = NUMPY) -> Result:
    """All steps of all rows."""
    table = step.program.table()
    states = {name: algebra.array(point.states[name]).copy() for name in step.states}
    params = {name: algebra.array(point.params[name]) for name in step.params}
    inputs = {name: algebra.array(point.inputs[name]) for name in step.inputs}
    if any(np.iscomplexobj(a) for a in (*params.values(), *inputs.values(), *states.values())):
        states = {name: array.astype(complex) for name, array in states.items()}
    lengths = np.full(point.rows, point.steps) if point.lengths is None else point.lengths
    moments = []
    outputs: dict[str, Any] = {}
    for turn in range(point.steps):
        rows = np.flatnonzero(lengths > turn)
        if not len(rows):
            break
        times = lengths[rows] - 1 - turn if point.reverse else np.full(len(rows), turn)
        here = {
            **params,
            **{name: array[times, rows] for name, array in inputs.items()},
            **{name: array[rows] for name, array in states.items()},
        }
        values = interpret(step.program, here, rows=len(rows), sizes=point.sizes, algebra=algebra)
        moments.append(Moment(rows, times, values))
        for name, after in zip(step.states, step.next_states, strict=True):
            states[name][rows] = values[after]
        for name in step.outputs:
            if name not in outputs:
                shape = table[name].shape
                lengths_ = tuple(point.sizes[d] if isinstance(d, str) else d for d in shape)
                outputs[name] = _zeros(values[name], (point.steps, point.rows, *lengths_), algebra)
            outputs[name][times, rows] = values[name]
    return Result(outputs, states, tuple(moments))


def _zeros(model: Any, shape: tuple[int, ...], algebra: Algebra) -> Any:
    zeros = np.zeros(shape, complex if np.iscomplexobj(model) else float)
    return algebra.array(zeros)


def loss_of_rows(step: Step, point: Point) -> Any:
    """[B]: the loss, row by row. Padding past a row's length takes no part."""
    result = run(step, point)
    total = np.zeros(point.rows)
    for moment in result.moments:
        for name in step.outputs:
            weight = point.d_outputs[name][moment.times, moment.rows]
            part = _sum_of_row(weight * moment.values[name])
            total = total + _scatter(part, moment.rows, point.rows)
    for name in step.states:
        total = total + _sum_of_row(point.d_states[name] * result.states[name])
    return total


def _sum_of_row(array: Any) -> Any:
    return array.reshape(len(array), -1).sum(axis=-1) if array.size else np.zeros(len(array))


def _scatter(part: Any, rows: Any, count: int) -> Any:
    whole = np.zeros(count, dtype=np.asarray(part).dtype)
    whole[rows] = part
    return whole


def slope(step: Step, point: Point, direction: Arrays) -> Any:
    """[B]: d loss / d direction, row by row, by one complex step.

    The error of a complex step of 2^-100 is 2^-200 relative: what remains is rounding. Every
    function of `algebra.NUMPY` branches on real parts alone, so this holds for piecewise
    functions too, anywhere but on a kink.
    """
    by = {name: 1j * STEP * np.asarray(array) for name, array in direction.items()}
    return np.imag(loss_of_rows(step, point.moved(by))) / STEP


def gradient(step: Step, point: Point, name: str) -> Any:
    """d loss / d (array `name`), element by element, each by a complex step of its own.

    Rows of a batch do not meet, so one step serves the same element of all rows.
    """
    array = np.asarray(point.given()[name], dtype=float)
    result = np.zeros(array.shape)
    if name in point.params:
        for index in np.ndindex(array.shape):
            result[index] = slope(step, point, {name: _unit(array.shape, index)}).sum()
    elif name in point.states:
        for at in np.ndindex(array.shape[1:]):
            index = (slice(None), *at)
            result[index] = slope(step, point, {name: _unit(array.shape, index)})
    else:
        for t, *rest in np.ndindex(array.shape[0], *array.shape[2:]):
            here = (t, slice(None), *rest)
            result[here] = slope(step, point, {name: _unit(array.shape, here)})
    return result


def _unit(shape: tuple[int, ...], index: Any) -> Any:
    unit = np.zeros(shape)
    unit[index] = 1.0
    return unit


#: Steps of the central differences, each a quarter of the one before.
DISTANCES = tuple(2.0**-k for k in range(8, 19, 2))


def difference(step: Step, point: Point, direction: Arrays) -> float:
    """d loss / d direction by central differences, extrapolated (Richardson).

    Of the extrapolated values that of the two steps that agree best: at large steps a strong
    curvature or a kink shows, at small ones rounding. The derivative under test has no say.
    """

    def central(h: float) -> float:
        ahead = {name: h * np.asarray(array) for name, array in direction.items()}
        behind = {name: -array for name, array in ahead.items()}
        forward = loss_of_rows(step, point.moved(ahead))
        return float((forward - loss_of_rows(step, point.moved(behind))).sum()) / (2 * h)

    plain = [central(h) for h in DISTANCES]
    better = [(16 * fine - coarse) / 15 for coarse, fine in pairwise(plain)]
    _, best = min((abs(fine - coarse), fine) for coarse, fine in pairwise(better))
    return best
