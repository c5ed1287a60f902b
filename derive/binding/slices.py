"""Where the parts of arrays that users hold whole lie, and arrays made of their parts.

In: a cell, lengths of its dimensions.  Out: slices for each part; whole arrays.
Not here: which arrays are cut (language/axes/cuts.py), kernels of NumPy's arrays
(kernel/whole.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from derive.cell import Cell
from derive.kernel.signature import Sizes
from derive.widths import Width

#: Where each part of an array lies, a slice for each axis; of an array that has no parts ().
Slices: TypeAlias = tuple[tuple[slice, ...], ...]


def sizes_of(arrays: Sequence[tuple[Sequence[Any], Sequence[int]]]) -> Sizes:
    """Lengths of dimensions: arrays as (axes, lengths)."""
    known: dict[str, int] = {}
    waiting = [(Width.of(axis), length) for axes, lengths in arrays
               for axis, length in zip(axes, lengths, strict=True)]  # fmt: skip
    for _ in range(len(waiting)):
        for width, length in waiting:
            found = width.solve(length, known)
            if found is not None and found[0]:
                known[found[0]] = found[1]
    return Sizes(0, 0, known)


def slices_of(cell: Cell, names: Iterable[str], sizes: Sizes) -> tuple[Slices, ...]:
    """Of each array."""
    wholes = cell.checked.wholes
    return tuple(
        tuple(
            tuple(slice(sizes.width(a), sizes.width(b)) for a, b in bounds)
            for _, bounds in wholes.get(name, ((name, ()),))
        )
        for name in names
    )


def join_by(
    slices: Sequence[Slices], parts: Sequence[Any], concatenated: Callable[[list[Any], int], Any]
) -> list[Any]:
    """Whole arrays. concatenated(arrays, axis): along an axis, counted from the last, -1."""
    rest, found = list(parts), []
    for own in slices:
        here, rest = rest[: len(own)], rest[len(own) :]
        places = [tuple([part.start for part in at]) for at in own]
        if len(own) == 1:
            found.append(here[0])
        else:
            found.append(_joined(dict(zip(places, here, strict=True)), concatenated))
    return found


def _joined(
    parts: Mapping[tuple[int, ...], Any], concatenated: Callable[[list[Any], int], Any]
) -> Any:
    """Parts by where they begin, put together axis by axis, the last one first."""
    for axis in range(1, len(next(iter(parts))) + 1):
        rows: dict[tuple[int, ...], list[Any]] = {}
        for place in sorted(parts):
            rows.setdefault(place[:-1], []).append(parts[place])
        parts = {place: concatenated(row, -axis) for place, row in rows.items()}
    return next(iter(parts.values()))
