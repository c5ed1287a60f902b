"""How wide each layer is: upper layers read what lower ones put out.

In: a Cell, the lengths of its dimensions, how many layers and directions.
Out: {dimension: length} of each layer; an error where layers do not fit on each other.
Not here: the layers (rnn.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import axes_text, closest, to_width
from derive.kernel.signature import Dim, Sizes, names_in

Lengths = tuple[int, ...]


def data_input(cell: Cell) -> str:
    """The one input that changes with time; ArgumentError where there is none, or several."""
    found = [name for name in cell.inputs if name not in cell.checked.once]
    if len(found) != 1:
        raise ArgumentError(
            f"{cell.name} has {len(found)} inputs, and layers pass on one",
            facts=(f"inputs: {', '.join(found) or 'none'}",),
            hint="derive.compile(cell), or derive.torch.run(cell, params, inputs)",
        )
    return found[0]


def sizes_of_layers(
    cell: Cell, given: Mapping[str, int], num_layers: int, directions: int
) -> list[dict[str, int]]:
    """Layer 0 has the sizes given; of the others the input's width is that of the layer below."""
    groups = (cell.params, cell.inputs, cell.states)
    dims = dims_of(shape for group in groups for shape in group.values())
    for name in given:
        if name not in dims:
            raise ArgumentTypeError(
                f"{cell.name} has no dimension {name!r}",
                facts=(f"it has {', '.join(dims)}",),
                hint=closest(name, dims),
            )
    if missing := [dim for dim in dims if dim not in given]:
        wanted = ", ".join(f"{dim}={given.get(dim, 4)}" for dim in dims)
        raise ArgumentError(
            f"the length of {', '.join(missing)} is missing", hint=f"RNN(cell, {wanted})"
        )
    first = {name: to_width(length, name) for name, length in given.items()}
    x, y = cell.inputs[data_input(cell)], next(iter(cell.outputs.values()))
    sizes = [first]
    for _ in range(1, num_layers):
        *others, last = lengths_of(y, sizes[-1])
        below, reads = (*others, last * directions), lengths_of(x, first)
        free = len(x) == len(y) == 1 and x[0] not in dims_of(cell.states.values())
        free = free and isinstance(x[0], str) and x[0].isidentifier()
        if not free and below != reads:
            raise _misfit(cell, x, y, reads, below)
        sizes.append({**first, str(x[0]): below[0]} if free else dict(first))
    return sizes


def _misfit(
    cell: Cell, x: tuple[Dim, ...], y: tuple[Dim, ...], reads: Lengths, below: Lengths
) -> ArgumentError:
    if len(x) == len(y) == 1:
        fact = f"each reads width {x[0]} = {reads[0]}, the one below puts out {below[0]}"
        return ArgumentError(f"layers of {cell.name} do not fit on each other", facts=(fact,))
    shown = [f"{axes_text(axes)} = {list(of)}" for axes, of in ((x, reads), (y, below))]
    return ArgumentError(
        f"layers of {cell.name} do not fit on each other",
        facts=(f"each reads {shown[0]}, the one below puts out {shown[1]}",),
        hint=f"num_layers=1, or an output of width {' x '.join(map(str, x))}",
    )


def dims_of(shapes: Iterable[tuple[Dim, ...]]) -> tuple[str, ...]:
    """Names of the dimensions, in order of first use."""
    return tuple(dict.fromkeys(n for shape in shapes for dim in shape for n in names_in(dim)))


def lengths_of(shape: Iterable[Dim], sizes: Mapping[str, int]) -> Lengths:
    """Of the axes of an array."""
    return Sizes(1, 1, sizes).shape(shape)
