"""Arrays of other systems as blocks of a cell's parameters.

In: an `Entry`, which says where each parameter lies in an array.  Out: the lengths of all
dimensions from the shapes of arrays; {parameter: array} from an array; and back.
Not here: which system has which arrays (systems.py), what parameters mean (transfer.py).

A parameter goes by the catalogue's name, and its name says its shape: W_k [H, I], U_k [H, P]
(P = H without projection), W_p [P, H], any other [H].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from derive.kernel.signature import Array, Arrays

Grid = tuple[tuple[str, ...], ...]
Lengths = dict[str, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One array: its name and the parameters in it, as rows of blocks.

    transposed: each block is the transpose of its parameter, [inputs, units].  feature: what
    the array belongs to that may be absent as a whole: "bias", "peephole", "projection".
    stacked: vectors lie in rows, [rows, width], and not in one vector.  aliases: other names.
    """

    name: str
    grid: Grid
    transposed: bool = False
    feature: str = ""
    stacked: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(role for row in self.grid for role in row)

    def axes(self) -> tuple[tuple[str | int, ...], ...]:
        """The dimensions that make up each axis: (("I", "H"), ("H", "H", "H", "H"))."""
        first = self.grid[0]
        if len(dims_of(first[0])) == 1:
            across: tuple[str | int, ...] = tuple(dims_of(role)[0] for role in first)
            return ((len(self.grid),), across) if self.stacked else (across,)
        down, along = (1, 0) if self.transposed else (0, 1)
        return (
            tuple(dims_of(row[0])[down] for row in self.grid),
            tuple(dims_of(role)[along] for role in first),
        )

    def shape(self, lengths: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(
            sum(lengths[dim] if isinstance(dim, str) else dim for dim in axis)
            for axis in self.axes()
        )

    def axes_text(self) -> str:
        """For example "[I + P, 4H]"."""
        return f"[{', '.join(_sum_text(axis) for axis in self.axes())}]"


def dims_of(role: str) -> tuple[str, ...]:
    if role == "W_p":
        return ("P", "H")
    return {"W": ("H", "I"), "U": ("H", "P")}.get(role.split("_")[0], ("H",))


def lengths_of(
    entries: Iterable[Entry], shapes: Mapping[str, tuple[int, ...]], projected: bool
) -> Lengths | None:
    """H, I and P from the shapes of arrays; None where they contradict the entries."""
    known: Lengths = {}
    axes = []
    for entry in entries:
        if len(entry.axes()) != len(shapes[entry.name]):
            return None
        axes += list(zip(entry.axes(), shapes[entry.name], strict=True))
    for _ in range(3):  # each pass finds at least one of H, I, P
        for axis, length in axes:
            names = Counter("H" if d == "P" and not projected else d for d in axis if d != 1)
            if all(isinstance(dim, int) for dim in axis):
                if sum(dim for dim in axis if isinstance(dim, int)) != length:
                    return None
                continue
            missing = [dim for dim in names if dim not in known]
            rest = length - sum(
                count * known[str(dim)] for dim, count in names.items() if dim in known
            )
            if not missing and rest:
                return None
            if len(missing) == 1:
                value, remainder = divmod(rest, names[missing[0]])
                if remainder or value < 0:
                    return None
                known[str(missing[0])] = value
    if not projected and "H" in known:
        known["P"] = known["H"]
    return known if {"H", "I", "P"} <= set(known) else None


def split(entry: Entry, array: Array, lengths: Mapping[str, int]) -> Arrays:
    """{parameter: array} of one array. The results are copies."""
    found: Arrays = {}
    top = 0
    for number, row in enumerate(entry.grid):
        if len(dims_of(row[0])) == 1:
            line, left = (array[number] if entry.stacked else array), 0
            for role in row:
                right = left + lengths[dims_of(role)[0]]
                found[role] = line[left:right].copy()
                left = right
            continue
        height = left = 0
        for role in row:
            rows, columns = (lengths[dim] for dim in dims_of(role))
            height, width = (columns, rows) if entry.transposed else (rows, columns)
            block = array[top : top + height, left : left + width]
            found[role] = np.array(block.T if entry.transposed else block, order="C")
            left += width
        top += height
    return found


def join(entry: Entry, params: Mapping[str, Array]) -> Array:
    """The array that `split` takes apart."""
    rows = [
        np.concatenate([params[r].T if entry.transposed else params[r] for r in row], axis=-1)
        for row in entry.grid
    ]
    if entry.stacked:
        return np.stack(rows)
    return np.ascontiguousarray(np.concatenate(rows, axis=0))


def _sum_text(axis: tuple[str | int, ...]) -> str:
    counts = Counter(axis)
    return " + ".join(
        str(dim) if count == 1 or isinstance(dim, int) else f"{count}{dim}"
        for dim, count in counts.items()
    )
