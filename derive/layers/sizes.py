"""How wide each layer is: upper layers read what lower ones put out.

In: a Cell, the lengths of its dimensions, how many layers and directions.
Out: {dimension: length} of each layer; an error where layers do not fit on each other.
Not here: the layers (rnn.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, to_width
from derive.kernel.signature import Dim, Sizes, names_in


def _of_vectors(cell: Cell) -> None:
    """ArgumentError for a cell whose arrays layers cannot pass on: they know vectors."""
    groups = (cell.inputs, cell.states, cell.outputs)
    shapes = {name: shape for group in groups for name, shape in group.items()}
    odd = [name for name, shape in shapes.items() if len(shape) != 1]
    odd += [*cell.checked.wholes, *cell.checked.once, *cell.checked.fixed, *cell.checked.learned]
    if odd:
        raise ArgumentError(
            f"layers take cells of vectors, and '{odd[0]}' of {cell.name} is more than one",
            facts=("with axes, parts, a learned start, once or fixed, it needs a call of its own",),
            hint="derive.compile(cell), or derive.torch.run(cell, params, inputs)",
        )


def sizes_of_layers(
    cell: Cell, given: Mapping[str, int], num_layers: int, directions: int
) -> list[dict[str, int]]:
    """Layer 0 has the sizes given; of the others the input's width is that of the layer below."""
    _of_vectors(cell)
    dims = dims_of((*cell.params.values(), *cell.inputs.values(), *cell.states.values()))
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
    ((x,),) = cell.inputs.values()
    y = next(iter(cell.outputs.values()))[0]
    sizes = [first]
    for _ in range(1, num_layers):
        width = _length(y, sizes[-1]) * directions
        if (isinstance(x, int) or x in dims_of(cell.states.values())) and width != _length(
            x, first
        ):
            raise ArgumentError(
                f"layers of {cell.name} do not fit on each other",
                facts=(
                    f"each reads width {x} = {_length(x, first)}, the one below puts out {width}",
                ),
            )
        sizes.append({**first, x: width} if isinstance(x, str) else dict(first))
    return sizes


def dims_of(shapes: Iterable[tuple[Dim, ...]]) -> tuple[str, ...]:
    """Names of the dimensions, in order of first use."""
    return tuple(dict.fromkeys(n for shape in shapes for dim in shape for n in names_in(dim)))


def _length(dim: Dim, sizes: Mapping[str, int]) -> int:
    return Sizes(1, 1, sizes).width(dim)
