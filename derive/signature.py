"""Names and shapes of a kernel's arrays: plain data that every target and every caller shares.

In: nothing.  Out: `Signature`, `Sizes`, and the names of types and axes.
Not here: arrays (arguments.py). SymPy is not imported, so that a generated kernel starts fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

Dim: TypeAlias = str | int
Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = dict[str, Array]

# Axes that no cell declares. The blank keeps them apart from dimension names, which may well
# be called T or B.
STEPS = "time steps"
ROWS = "batch rows"
LETTERS = {STEPS: "T", ROWS: "B"}


@dataclass(frozen=True, slots=True)
class Signature:
    """Names and shapes of a cell's arrays, in declared order.

    A dimension is a name (its length comes with the arrays) or a positive integer. params:
    {name: (rows, columns) or (width,)}; inputs, states and outputs: {name: width}.
    """

    name: str
    params: Mapping[str, tuple[Dim, ...]]
    inputs: Mapping[str, Dim]
    states: Mapping[str, Dim]
    outputs: Mapping[str, Dim]

    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions whose length comes with the arrays, in order of first use."""
        widths = (*self.inputs.values(), *self.states.values())
        axes = [axis for shape in self.params.values() for axis in shape]
        return tuple(dict.fromkeys(a for a in (*axes, *widths) if isinstance(a, str)))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of one call: `steps` is T, `rows` is B, `dims` every named dimension."""

    steps: int
    rows: int
    dims: Mapping[str, int]

    def width(self, dim: Dim) -> int:
        return dim if isinstance(dim, int) else self.dims[dim]

    def shape(self, axes: Iterable[Dim]) -> tuple[int, ...]:
        return tuple(self.width(axis) for axis in axes)
