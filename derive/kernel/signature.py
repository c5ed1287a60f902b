"""Names and shapes of a kernel's arrays: plain data that every target and every caller shares.

In: nothing.  Out: `Signature`, `Sizes`, and the names of types and axes.
Not here: arrays (arguments.py). SymPy is not imported, so that a generated kernel starts fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
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

    def __post_init__(self) -> None:
        for name in ("params", "inputs", "states", "outputs"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        groups = self.params, self.inputs, self.states, self.outputs
        return Signature, (self.name, *map(dict, groups))

    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions whose length comes with the arrays, in order of first use."""
        axes = (*self._axes(), *self.states.values())
        return tuple(dict.fromkeys(a for a in axes if isinstance(a, str)))

    def optional_states(self) -> tuple[str, ...]:
        """States whose width parameters or inputs tell, so that any call may leave them out."""
        told = set(self._axes())
        return tuple(n for n, w in self.states.items() if isinstance(w, int) or w in told)

    def _axes(self) -> tuple[Dim, ...]:
        """Of parameters and inputs, apart from time and rows."""
        return (*(axis for shape in self.params.values() for axis in shape), *self.inputs.values())


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths of one call: `steps` is T, `rows` is B, `dims` every named dimension."""

    steps: int
    rows: int
    dims: Mapping[str, int]

    def __post_init__(self) -> None:
        # Calls with the same sizes share one of these, and a caller sees it in a Run.
        object.__setattr__(self, "dims", MappingProxyType(dict(self.dims)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Sizes, (self.steps, self.rows, dict(self.dims))

    def width(self, dim: Dim) -> int:
        return dim if isinstance(dim, int) else self.dims[dim]

    def shape(self, axes: Iterable[Dim]) -> tuple[int, ...]:
        return tuple(self.width(axis) for axis in axes)
