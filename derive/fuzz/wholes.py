"""The arrays of a call as the interpreter takes them, and its results as a user gets them.

In: a Cell, arrays of a call.  Out: a Point of the cell's step; arrays of the cell's own names.
Not here: what the arrays are (calls.py), what must come out (truth.py). A kernel cuts and joins in
derive/kernel/whole.py, of which nothing is used here.

Three things are not in a step: an array that is cut into parts, an input that is given once, a
state that starts from a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.fuzz.running import Given
from derive.verification.reference import Point
from derive.widths import Dim, Width

Arrays = dict[str, Any]
#: A value and how far rounding may take it, in units of roundoff.
Bounded = tuple[Any, Any]


def lengths_of(shape: tuple[Dim, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """How long the axes of an array are."""
    return tuple(Width.of(axis).length(sizes) for axis in shape)


def point_of(cell: Cell, given: Given, reverse: bool) -> Point:
    """What is left out is 0, or starts from its parameter."""
    sizes, rows, steps = given.sizes, given.rows, given.steps
    inputs = dict(given.inputs)
    for name in cell.checked.once:
        inputs[name] = np.repeat(inputs[name][None], steps, axis=0)
    states = {}
    for name, shape in cell.states.items():
        start = np.zeros((rows, *lengths_of(shape, sizes)))
        if name in cell.checked.learned:
            start = start + given.params[cell.checked.learned[name]]
        states[name] = given.states.get(name, start)
    d_states = {name: given.d_states.get(name, np.zeros(a.shape)) for name, a in states.items()}
    d_outputs = {
        key: given.d_outputs.get(key, np.zeros((steps, rows, *lengths_of(shape, sizes))))
        for key, shape in cell.outputs.items()
    }
    cut_outputs = _cut(cell, d_outputs, sizes)
    keys = zip(cell.output_keys, cell.step.outputs, strict=True)
    return Point(
        sizes, steps, rows, _cut(cell, given.params, sizes), _cut(cell, inputs, sizes),
        _cut(cell, states, sizes), {name: cut_outputs[key] for key, name in keys},
        _cut(cell, d_states, sizes), given.lengths, reverse,
    )  # fmt: skip


def whole(cell: Cell, given: Given, parts: Mapping[str, Bounded]) -> dict[str, Bounded]:
    """What a user gets: {"output h_next": ..., "state h": ..., "d W": ...}."""
    checked = cell.checked
    names = {"output": tuple(cell.outputs), "state": tuple(cell.states),
             "d": (*cell.params, *cell.inputs, *cell.states)}  # fmt: skip
    found = {
        f"{word} {name}": _join(cell, word, name, parts, given.sizes)
        for word, group in names.items()
        for name in group
    }
    for name in checked.once:
        found[f"d {name}"] = _sum(found[f"d {name}"])
    for state, start in checked.learned.items():
        if state not in given.states:
            of_rows = _sum(found[f"d {state}"])
            value, error = found[f"d {start}"]
            if value.shape == (1,) and of_rows[0].shape != (1,):
                of_rows = _sum((of_rows[0].reshape(-1, 1), of_rows[1].reshape(-1, 1)))
            found[f"d {start}"] = value + of_rows[0], error + of_rows[1] + abs(of_rows[0])
    for name in checked.fixed:
        del found[f"d {name}"]
    return found


def _sum(bounded: Bounded) -> Bounded:
    """Over the first axis."""
    value, error = bounded
    return value.sum(axis=0), (error + len(value) * abs(value)).sum(axis=0)


def _parts(cell: Cell, name: str, sizes: Mapping[str, int]) -> list[tuple[str, tuple[Any, ...]]]:
    """The parts of an array and where each lies in it."""
    return [
        (part, tuple(slice(*lengths_of(bounds, sizes)) for bounds in axes))
        for part, axes in cell.checked.wholes.get(name, ((name, ()),))
    ]


def _cut(cell: Cell, arrays: Mapping[str, Any], sizes: Mapping[str, int]) -> Arrays:
    return {
        part: array[(..., *at)] if at else array
        for name, array in arrays.items()
        for part, at in _parts(cell, name, sizes)
    }


def _join(
    cell: Cell, word: str, name: str, parts: Mapping[str, Bounded], sizes: Mapping[str, int]
) -> Bounded:
    own = _parts(cell, name, sizes)
    if not own[0][1]:
        return parts[f"{word} {name}"]
    first, _ = parts[f"{word} {own[0][0]}"]
    lengths = [max(at[k].stop for _, at in own) for k in range(len(own[0][1]))]
    before = first.shape[: first.ndim - len(lengths)]
    value, error = np.full((*before, *lengths), np.nan), np.full((*before, *lengths), np.nan)
    for part, at in own:
        value[(..., *at)], error[(..., *at)] = parts[f"{word} {part}"]
    return value, error
