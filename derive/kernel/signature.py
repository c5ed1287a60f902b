"""Names and shapes of a kernel's arrays: plain data that every target and every caller shares.

In: nothing.  Out: `Signature`, `Sizes`, and the names of types and axes.
Not here: arrays (arguments.py). SymPy is not imported, so that a generated kernel starts fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy.typing as npt

from derive.widths import Dim as Dim
from derive.widths import Width as Sum

#: The axes of an array besides time and rows: one width, or several.
Axes: TypeAlias = Dim | tuple[Dim, ...]
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

    A dimension is a name (its length comes with the arrays), a positive integer, or a sum such as
    "4*H". params: {name: (rows, columns) or (width,)}; inputs, states and outputs: {name: width},
    or {name: axes} where there are several.

    fixed: params without a gradient.  once: inputs that do not change with time.  learned: states
    that start from a parameter, where none is given.  starts: {param: what `init` draws}.  wrt:
    names of those whose gradients are computed; None: of all.
    """

    name: str
    params: Mapping[str, tuple[Dim, ...]]
    inputs: Mapping[str, Axes]
    states: Mapping[str, Axes]
    outputs: Mapping[str, Axes]
    fixed: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    learned: Mapping[str, str] = field(default_factory=dict)
    starts: Mapping[str, Any] = field(default_factory=dict)
    wrt: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("params", "inputs", "states", "outputs", "learned", "starts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        groups = self.params, self.inputs, self.states, self.outputs
        more = self.fixed, self.once, dict(self.learned), dict(self.starts), self.wrt
        return Signature, (self.name, *map(dict, groups), *more)

    def differentiable(self) -> tuple[str, ...]:
        """Names of everything that has a gradient."""
        params = (name for name in self.params if name not in self.fixed)
        return (*params, *self.inputs, *self.states)

    def wants(self, name: str) -> bool:
        """Whether the gradient of a parameter, an input or an initial state is computed."""
        return self.wrt is None or name in self.wrt

    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions whose length comes with the arrays, in order of first use."""
        states = (dim for width in self.states.values() for dim in axes_of(width))
        axes = (*self._axes(), *states)
        return tuple(dict.fromkeys(name for axis in axes for name in names_in(axis)))

    def optional_states(self) -> tuple[str, ...]:
        """States whose width parameters or inputs tell, so that any call may leave them out."""
        told = {name for axis in self._axes() for name in names_in(axis)}
        return tuple(
            name
            for name, width in self.states.items()
            if name not in self.learned
            and told.issuperset(n for axis in axes_of(width) for n in names_in(axis))
        )

    def _axes(self) -> tuple[Dim, ...]:
        """Of parameters and inputs, apart from time and rows."""
        inputs = (axis for width in self.inputs.values() for axis in axes_of(width))
        return (*(axis for shape in self.params.values() for axis in shape), *inputs)


def axes_of(width: Axes) -> tuple[Dim, ...]:
    return width if isinstance(width, tuple) else (width,)


def names_in(dim: Dim) -> tuple[str, ...]:
    """The dimensions of an axis: of "I + H" two."""
    if isinstance(dim, int):
        return ()
    return (dim,) if dim.isidentifier() else Sum.of(dim).names()


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
        if isinstance(dim, int):
            return dim
        return self.dims[dim] if dim in self.dims else Sum.of(dim).length(self.dims)

    def lengths(self, width: Axes) -> tuple[int, ...]:
        """Of the axes of an array besides time and rows."""
        return tuple(self.width(axis) for axis in axes_of(width))

    def shape(self, axes: Iterable[Dim]) -> tuple[int, ...]:
        return tuple(self.width(axis) for axis in axes)
