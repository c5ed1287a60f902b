"""One piece of work that every contestant does: a cell, a shape, and the numbers.

In: a Cell and a Shape.  Out: `Task`, with parameters, inputs, initial states and cotangents of
the outputs; names for the results.
Not here: doing it (peers/), judging results (agree.py).

A contestant calls its results `output NAME`, `d_param NAME`, `d_input NAME` and `d_state NAME`.
Forward alone gives the outputs; training also the gradients of sum(d_output * output) with
respect to all parameters, inputs and initial states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.bench.shapes import Shape
from derive.cell import Cell
from derive.inspect.facts.cost import widths
from derive.kernel.signature import Array, Arrays, Dim
from derive.layers.sizes import data_input, lengths_of, sizes_of_layers
from derive.widths import Width

OUTPUT, D_PARAM, D_INPUT, D_STATE = "output", "d_param", "d_input", "d_state"


@dataclass(frozen=True, slots=True)
class Task:
    """Arrays are float32, and laid out as the contract says: inputs {name: [T, B, width]}. Those of
    a stack are what layers.RNN has: parameters NAME_l0 and NAME_l0_reverse, states [layers *
    directions, B, width], both directions of the output side by side."""

    cell: Cell
    shape: Shape
    threads: int
    params: Arrays
    inputs: Arrays
    states: Arrays
    d_outputs: Arrays

    def width(self, dim: Dim) -> int:
        return width_of(dim, self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        return {dim: self.width(dim) for dim in widths(self.cell)}

    def as_dtype(self, dtype: str) -> Task:
        """The same numbers in another precision."""
        groups = (self.params, self.inputs, self.states, self.d_outputs)
        cast = [{name: a.astype(dtype) for name, a in group.items()} for group in groups]
        return Task(self.cell, self.shape, self.threads, *cast)


Results = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A library that does a Task. `infer` and `train` are timed; `read` names their results.

    dtype: of the computation, or of weights where they have fewer bits.  ours: whether derive made
    it.  start: seconds of derivation, tracing and compilation before the first call could begin.
    saved: given what `train` returned, the numbers it kept for its backward pass, for each step and
    row.  held: {mode: bytes of results and workspace that were made before the first call}.
    """

    name: str
    infer: Callable[[], Any] | None
    train: Callable[[], Any] | None
    read: Callable[[Any], Results]
    dtype: str = "float32"
    ours: bool = False
    start: float = 0.0
    saved: Callable[[Any], float] | None = None
    held: Mapping[str, int] = field(default_factory=dict)

    def mode(self, mode: str) -> Callable[[], Any] | None:
        return self.train if mode == "train" else self.infer


MODES = ("infer", "train")

#: Of one weight, by the dtype of a contestant: that of its weights.
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "int8": 1}


def task_of(cell: Cell, shape: Shape, threads: int) -> Task:
    """Numbers from a fixed seed: parameters small enough for a recurrence to stay tame."""
    random = np.random.Generator(np.random.PCG64([shape.T, shape.B, shape.I, shape.H]))

    def draw(shape: tuple[int, ...], size: float = 1.0) -> Array:
        values = size * (2 * random.random(shape) - 1)
        return values.astype(np.float32)

    def width(dim: Dim) -> int:
        return width_of(dim, shape)

    def lengths(axes: tuple[Dim, ...]) -> tuple[int, ...]:
        return tuple(map(width, axes))

    def parameter(found: tuple[int, ...]) -> Array:
        size = (6 / max(sum(found[-2:]), 1)) ** 0.5 if len(found) > 1 else 0.25
        return draw(found, size)

    rows = (shape.T, shape.B)
    if shape.is_stack:
        places, (key, axes) = shape.layers * shape.directions, next(iter(cell.outputs.items()))
        *others, last = lengths(axes)
        return Task(
            cell, shape, threads,
            {
                f"{name}{suffix_of(k, shape)}": parameter(lengths_of(axes, of_layer))
                for k in range(places)
                for of_layer in [sizes_of_stack(cell, shape)[k // shape.directions]]
                for name, axes in cell.params.items()
            },
            {name: draw((*rows, *lengths(cell.inputs[name]))) for name in [data_input(cell)]},
            {n: draw((places, shape.B, *lengths(w)), 0.5) for n, w in cell.states.items()},
            {key: draw((*rows, *others, last * shape.directions))},
        )  # fmt: skip
    params = {name: parameter(lengths(axes)) for name, axes in cell.params.items()}
    return Task(
        cell, shape, threads, params,
        {
            name: draw((*(rows[1:] if name in cell.checked.once else rows), *lengths(axes)))
            for name, axes in cell.inputs.items()
        },
        {name: draw((shape.B, *lengths(axes)), 0.5) for name, axes in cell.states.items()},
        {name: draw((*rows, *lengths(axes))) for name, axes in cell.outputs.items()},
    )  # fmt: skip


def sizes_of_stack(cell: Cell, shape: Shape) -> list[dict[str, int]]:
    """The lengths of each layer's dimensions."""
    given = {dim: width_of(dim, shape) for dim in widths(cell)}
    return sizes_of_layers(cell, given, shape.layers, shape.directions)


def suffix_of(place: int, shape: Shape) -> str:
    """What the names of the parameters of a layer and direction end in."""
    layer, direction = divmod(place, shape.directions)
    return f"_l{layer}{'_reverse' if direction else ''}"


def width_of(dim: Dim, shape: Shape) -> int:
    width = Width.of(dim)
    return width.length({name: shape.width(name) for name in width.names()})


def has_axes(cell: Cell) -> bool:
    """Whether anything that belongs to a row has several axes."""
    groups = (cell.inputs, cell.states, cell.outputs)
    return any(len(axes) > 1 for group in groups for axes in group.values())


def named(**groups: Mapping[str, Any]) -> Results:
    """{"d_param W": array} from d_param={"W": array}."""
    return {
        f"{kind} {name}": np.asarray(array)
        for kind, group in groups.items()
        for name, array in group.items()
    }
