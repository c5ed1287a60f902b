"""Lengths for the dimensions of two cells that are run side by side.

In: two Cells.  Out: a length for each dimension of either; arrays of one under the names of the
other.
Not here: what is run (fits.py, rank.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from derive.program import Step
from derive.program.program import Dim


class Fitted(Protocol):
    """A Cell, or what has its arrays with their shapes."""

    @property
    def name(self) -> str: ...
    @property
    def step(self) -> Step: ...
    @property
    def params(self) -> Mapping[str, tuple[Dim, ...]]: ...
    @property
    def inputs(self) -> Mapping[str, tuple[Dim, ...]]: ...
    @property
    def states(self) -> Mapping[str, tuple[Dim, ...]]: ...
    @property
    def outputs(self) -> Mapping[str, tuple[Dim, ...]]: ...
    def __hash__(self) -> int: ...


def lengths(
    a: Fitted, b: Fitted, hidden: int, inputs: int, *, strict: bool = True
) -> tuple[dict[str, int], dict[str, int]] | None:
    """Equal lengths where inputs and outputs pair: `inputs` for widths of inputs alone.

    strict: None if a dimension of `b` is left that no input and no output tells: then b may be
    wider than that. Otherwise such a dimension of `a` is one more than `hidden`, of `b` two more.
    """
    here: dict[str, int] = {}
    there: dict[str, int] = {}
    outputs = list(zip(a.outputs.values(), b.outputs.values(), strict=True))
    sources = list(zip(a.inputs.values(), paired(a.inputs, b.inputs).values(), strict=True))
    for length, pairs in ((hidden, outputs), (inputs, sources)):
        axes = ((m, n) for mine, theirs in pairs for m, n in zip(mine, theirs, strict=True))
        for one, other in axes:
            known = one if isinstance(one, int) else here.get(one)
            known = known or (other if isinstance(other, int) else there.get(other)) or length
            for dim, sizes in ((one, here), (other, there)):
                if isinstance(dim, str):
                    if sizes.setdefault(dim, known) != known:
                        return None
                elif dim != known:
                    return None
    for cell, sizes, more in ((a, here, 1), (b, there, 2)):
        for dim in cell.step.program.dims():
            if dim not in sizes:
                if strict and cell is b:
                    return None
                sizes[dim] = hidden + more
    return here, there


def shape_of(shape: tuple[Any, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in shape)


def paired(names: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays under the names of the other cell: by name, else by place."""
    names = list(names)
    if set(names) == set(values):
        return {name: values[name] for name in names}
    return dict(zip(names, values.values(), strict=True))
