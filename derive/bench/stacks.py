"""A stack of layers as Tasks of single layers: the reference, and what it needs at least.

In: a Task of a stack.  Out: its results, layer after layer; the Task of each layer and direction.
Not here: what one layer computes (peers/numpy_loop.py) or needs (bound.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from derive.bench.task import (
    D_INPUT,
    D_PARAM,
    D_STATE,
    OUTPUT,
    Results,
    Task,
    named,
    sizes_of_stack,
    suffix_of,
)
from derive.kernel.signature import Array
from derive.layers.sizes import data_input, lengths_of


def layers_of(task: Task) -> list[Task]:
    """The Task of each layer and direction, with zeros for what only a run tells: inputs of upper
    layers, and cotangents. A backward direction runs forward on what is reversed."""
    cell, shape = task.cell, task.shape
    x = data_input(cell)
    sizes = sizes_of_stack(cell, shape)
    found = []
    for k in range(shape.layers * shape.directions):
        own, end = sizes[k // shape.directions], suffix_of(k, shape)
        wide = replace(shape, layers=1, directions=1, named=tuple(own.items()))
        of_x = lengths_of(cell.inputs[x], own)
        like = next(iter(task.inputs.values())).dtype
        found.append(
            Task(
                cell, wide, task.threads,
                {name: task.params[f"{name}{end}"] for name in cell.params},
                {x: np.zeros((shape.T, shape.B, *of_x), like)},
                {name: of_all[k] for name, of_all in task.states.items()},
                {name: np.zeros((shape.T, shape.B, *lengths_of(axes, own)), like)
                 for name, axes in cell.outputs.items()},
            )
        )  # fmt: skip
    return found


def results(task: Task, run: Callable[[Task], Results]) -> Results:
    """run: the results of one layer and direction, gradients included."""
    cell, directions = task.cell, task.shape.directions
    x, key = data_input(cell), next(iter(cell.outputs))
    layers, (below,) = layers_of(task), task.inputs.values()
    for first in range(0, len(layers), directions):
        outputs = []
        for k in range(first, first + directions):
            layers[k] = replace(layers[k], inputs={x: _turned(below, k, directions)})
            outputs.append(_turned(run(layers[k])[f"{OUTPUT} {key}"], k, directions))
        below = np.concatenate(outputs, -1)
    found, (d,) = named(output={key: below}), task.d_outputs.values()
    d_states: dict[str, list[Any]] = {name: [None] * len(layers) for name in cell.states}
    for first in reversed(range(0, len(layers), directions)):
        d_below: Any = 0
        for k, part in enumerate(np.split(d, directions, -1), start=first):
            own = layers[k]
            seeds = {**own.d_outputs, key: _turned(part, k, directions)}
            of_layer = run(replace(own, d_outputs=seeds))
            end = suffix_of(k, task.shape)
            found |= {f"{D_PARAM} {n}{end}": of_layer[f"{D_PARAM} {n}"] for n in cell.params}
            for name, of_all in d_states.items():
                of_all[k] = of_layer[f"{D_STATE} {name}"]
            d_below = d_below + _turned(of_layer[f"{D_INPUT} {x}"], k, directions)
        d = d_below
    return found | named(
        d_input={x: d}, d_state={name: np.stack(of_all) for name, of_all in d_states.items()}
    )


def _turned(array: Array, place: int, directions: int) -> Array:
    """In the order in which a direction runs."""
    return np.ascontiguousarray(array[::-1]) if place % directions else array
