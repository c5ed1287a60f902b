"""Tensors that users hold whole, and the parts that kernels work with.

In: a cell, and its tensors.  Out: those of its parts, in the order of an engine; and back.
Not here: which arrays are cut (language/axes/cuts.py), checks (functional.py).

All of it is PyTorch's own: what is cut, joined, repeated over time or over rows is differentiated
by autograd, to any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from derive.cell import Cell
from derive.kernel.signature import Sizes
from derive.widths import Width


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


#: Where each part of an array lies, a slice for each axis; of an array that has no parts ().
Slices = tuple[tuple[slice, ...], ...]


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


def cut_by(slices: Sequence[Slices], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The parts of each tensor, where it has several."""
    return [
        tensor[(..., *at)].contiguous() if at else tensor
        for own, tensor in zip(slices, tensors, strict=True)
        for at in own
    ]


def join_by(slices: Sequence[Slices], parts: Sequence[Tensor]) -> list[Tensor]:
    """Whole tensors."""
    rest, found = list(parts), []
    for own in slices:
        here, rest = rest[: len(own)], rest[len(own) :]
        places = [tuple([part.start for part in at]) for at in own]
        found.append(here[0] if len(own) == 1 else _joined(dict(zip(places, here, strict=True))))
    return found


def cut(cell: Cell, names: Sequence[str], tensors: Sequence[Tensor], sizes: Sizes) -> list[Tensor]:
    return cut_by(slices_of(cell, names, sizes), tensors)


def join(
    cell: Cell, names: Sequence[str], parts: Sequence[Tensor], sizes: Sizes
) -> dict[str, Tensor]:
    """Whole tensors by name."""
    return dict(zip(names, join_by(slices_of(cell, names, sizes), parts), strict=True))


def _joined(parts: Mapping[tuple[int, ...], Tensor]) -> Tensor:
    """Parts by where they begin, put together axis by axis, the last one first."""
    for axis in range(1, len(next(iter(parts))) + 1):
        rows: dict[tuple[int, ...], list[Tensor]] = {}
        for place in sorted(parts):
            rows.setdefault(place[:-1], []).append(parts[place])
        parts = {place: torch.cat(row, dim=-axis) for place, row in rows.items()}
    return next(iter(parts.values()))
