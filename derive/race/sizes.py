"""How wide a cell is in a race.

In: a cell, a task, a number of parameters.  Out: a length for every dimension of the cell.
Not here: the model that has them (train/model.py).

One dimension is free, and is chosen so that all cells have about as many parameters: the one that
neither the task nor --size says. A cell with several inputs is raced as one with one input, of
which a trained matrix makes each of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.convert import axes_text, shape_text
from derive.language.tree import Binary
from derive.language.variant.rewriting import NOWHERE, Draft, named
from derive.layers.compose import composed
from derive.layers.sizes import dims_of, lengths_of
from derive.race.task import Task
from derive.train import Model

#: The widths that are tried, and how wide the vector of a symbol is.
_WIDEST, EMBEDDING = 4096, 16


def model_of(cell: Cell, task: Task, sizes: Mapping[str, Any], **options: Any) -> Model:
    """The model that is trained."""
    cell = raced(cell)
    lift = task.inputs if lifted(cell, task, sizes) else None
    return Model(
        cell, outputs=task.outputs, symbols=task.symbols, lift=lift, **options, **dict(sizes)
    )


def lifted(cell: Cell, task: Task, sizes: Mapping[str, int]) -> bool:
    """Whether a matrix makes the cell's input of the task's vectors: where its shape is another."""
    return task.inputs is not None and lengths_of(_reads(cell), sizes) != (task.inputs,)


def sizes_of(
    cell: Cell, task: Task, given: Mapping[str, int], *, params: int | None, width: int
) -> dict[str, int]:
    """A length for each dimension.  given: those that --size says.  params: how many numbers are
    trained in all, as near as a width comes; None: the free dimension is `width`. Where none is
    free, the cell has one size."""
    check_cell(cell)
    given_inputs = tuple(cell.inputs.values())
    cell = raced(cell)
    dims = dims_of_cell(cell)
    sizes = {dim: given[dim] for dim in dims if dim in given}
    reads, out = _reads(cell), dims_of([next(iter(cell.outputs.values()))])
    free = [dim for dim in dims if dim not in sizes]
    # An input that has a dimension of its own is as wide as the task's; one that is as wide as what
    # the cell puts out is made of the task's by a matrix.
    for shape in (reads, *given_inputs):
        if len(shape) == 1 and shape[0] in free and shape[0] not in out:
            sizes[str(shape[0])] = task.inputs or EMBEDDING
            free.remove(str(shape[0]))
    if not free:
        return sizes
    if len(free) > 1:
        fitted = next((dim for dim in reversed(free) if dim in out), free[-1])
        if "H" in free:
            fitted = "H"
        others = [dim for dim in free if dim != fitted]
        raise ArgumentError(
            f"{cell.name} has {len(free)} free dimensions, and a race fits one to the parameters",
            facts=(f"free: {', '.join(free)}; known: {', '.join(sizes) or 'none'}",),
            hint=" ".join(f"--size {dim}=4" for dim in others),
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
    cell = raced(cell)

    def count(shape: Iterable[Any]) -> int:
        return prod(lengths_of(shape, sizes))

    wide, fixed = count(next(iter(cell.outputs.values()))), cell.checked.fixed
    first = task.symbols or (task.inputs if lifted(cell, task, sizes) else None) or 0
    own = sum(count(shape) for name, shape in cell.params.items() if name not in fixed)
    return own + first * count(_reads(cell)) + (wide + 1) * task.outputs


@functools.lru_cache(maxsize=64)
def raced(cell: Cell) -> Cell:
    """The cell with one input: itself, or one of whose input each of several is made."""
    if len(cell.inputs) < 2:
        return cell
    draft = Draft(cell.checked)
    width, k = "V", 1
    while width in draft.dims():
        k += 1
        width = f"V_{k}"
    whole = draft.fresh("task")
    inputs, draft.inputs = draft.inputs, {whole: (width,)}
    for place, (name, shape) in enumerate(inputs.items()):
        matrix = draft.fresh(f"lift_{name}")
        draft.params[matrix] = (*shape, width)
        draft.insert(place, name, Binary("@", named(matrix), named(whole), NOWHERE))
    return composed(draft).cell


def check_cell(cell: Cell) -> None:
    """ArgumentError where a race has no values for what the cell needs."""
    if not cell.inputs:
        raise ArgumentError(f"{cell.name} has no inputs, and a task is read by one")
    if once := cell.checked.once:
        raise ArgumentError(
            f"{cell.name} has an input that does not change with time, and a task has none",
            facts=(f"given once: {', '.join(once)}",),
            hint=f"input {once[0]}: {axes_text(cell.inputs[once[0]])}, without 'once'",
        )
    wide = [name for name, shape in cell.inputs.items() if len(shape) > 2]
    if len(cell.inputs) > 1 and wide:
        raise ArgumentError(
            f"{wide[0]} of {cell.name} has three axes, and a matrix that makes it would have four",
            facts=(f"it is {axes_text(cell.inputs[wide[0]])}",),
            hint="an input of two axes, or one input",
        )


def dims_of_fixed(cell: Cell, arrays: Mapping[str, Any]) -> dict[str, int]:
    """Lengths that given fixed arrays tell; ArgumentError where one is missing, or has another
    number of axes."""
    found: dict[str, int] = {}
    for name in cell.checked.fixed:
        shape = cell.params[name]
        if name not in arrays:
            raise ArgumentError(
                f"{name} of {cell.name} is fixed, and no values were given",
                facts=(f"it is {axes_text(shape)}",),
                hint=f"--fixed {name}={name}.npy, a file that numpy.save wrote",
            )
        lengths = arrays[name].shape
        fits = len(lengths) == len(shape)
        for dim, length in zip(shape, lengths, strict=False):
            if isinstance(dim, int):
                fits &= dim == length
            elif dim.isidentifier():
                fits &= found.setdefault(dim, length) == length
        if not fits:
            raise ArgumentError(
                f"fixed array {name} has the wrong shape",
                facts=(f"it is {axes_text(shape)}, given {shape_text(lengths)}",),
            )
    return found


def _reads(cell: Cell) -> tuple[Any, ...]:
    return next(iter(cell.inputs.values()))


def dims_of_cell(cell: Cell) -> tuple[str, ...]:
    """Every dimension of the arrays of a cell as it is raced."""
    cell = raced(cell)
    groups = (cell.params, cell.inputs, cell.states, cell.outputs)
    return dims_of(shape for group in groups for shape in group.values())
