"""How wide a cell is in a race.

In: a cell, a task, a number of parameters.  Out: a length for every dimension of the cell.
Not here: the model that has them (train/model.py).

One dimension is free, and is chosen so that all cells have about as many parameters: the one that
neither the task nor --size says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.signature import Sizes
from derive.layers.sizes import dims_of
from derive.race.task import Task
from derive.train import Model

#: The widths that are tried, and how wide the vector of a symbol is.
_WIDEST, EMBEDDING = 4096, 16


def model_of(cell: Cell, task: Task, sizes: Mapping[str, Any], **options: Any) -> Model:
    """The model that is trained."""
    lift = task.inputs if lifted(cell, task, sizes) else None
    return Model(
        cell, outputs=task.outputs, symbols=task.symbols, lift=lift, **options, **dict(sizes)
    )


def lifted(cell: Cell, task: Task, sizes: Mapping[str, int]) -> bool:
    """Whether a matrix makes the cell's input of the task's vectors: where its width is another."""
    (axis,) = next(iter(cell.inputs.values()))
    width = axis if isinstance(axis, int) else sizes[str(axis)]
    return task.inputs is not None and width != task.inputs


def sizes_of(
    cell: Cell, task: Task, given: Mapping[str, int], *, params: int | None, width: int
) -> dict[str, int]:
    """A length for each dimension.  given: those that --size says.  params: how many numbers are
    trained in all, as near as a width comes; None: the free dimension is `width`."""
    if len(cell.inputs) != 1:
        raise ArgumentError(
            f"{cell.name} has {len(cell.inputs)} inputs, and a race feeds one",
            facts=(f"inputs: {', '.join(cell.inputs) or 'none'}",),
        )
    dims = dims_of_cell(cell)
    sizes = {dim: given[dim] for dim in dims if dim in given}
    (axis,) = next(iter(cell.inputs.values()))
    free = [dim for dim in dims if dim not in sizes]
    if isinstance(axis, str) and axis in free and len(free) > 1:
        sizes[axis] = task.inputs or EMBEDDING
        free.remove(axis)
    if len(free) != 1:
        many = ", ".join(free)
        raise ArgumentError(
            f"{cell.name} has {len(free)} free dimensions, and a race fits one to the parameters",
            facts=(f"free: {many or 'none'}; known: {', '.join(sizes) or 'none'}",),
            hint=f"--size {free[-1]}=4" if free else None,
        )
    (dim,) = free
    if params is None:
        return {**sizes, dim: width}

    def count(length: int) -> int:
        return params_of(cell, task, {**sizes, dim: length})

    low, high = 1, 2
    while count(high) < params and high < _WIDEST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= params else (low, middle)
    best = min((low, high), key=lambda length: abs(count(length) - params))
    return {**sizes, dim: best}


def params_of(cell: Cell, task: Task, sizes: Mapping[str, int]) -> int:
    """How many numbers the model of these sizes trains."""
    lengths = Sizes(0, 0, dict(sizes))

    def count(shape: Iterable[Any]) -> int:
        return prod(lengths.width(axis) for axis in shape)

    wide = count(next(iter(cell.outputs.values())))
    first = task.symbols or (task.inputs if lifted(cell, task, sizes) else None) or 0
    own = sum(map(count, cell.params.values()))
    return own + first * count(next(iter(cell.inputs.values()))) + (wide + 1) * task.outputs


def dims_of_cell(cell: Cell) -> tuple[str, ...]:
    """Every dimension of a cell's arrays."""
    groups = (cell.params, cell.inputs, cell.states, cell.outputs)
    return dims_of(shape for group in groups for shape in group.values())
