"""Lengths of dimensions that a user gives.

In: a cell, sizes of a module or lengths by name.  Out: {dimension: length}; errors.
Not here: lengths of upper layers (layers/sizes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text, to_width
from derive.kernel.signature import names_in
from derive.widths import Width


def lengths_given(
    cell: Cell, shapes: Iterable[tuple[Any, ...]], sizes: Any, named: Mapping[str, Any], call: str
) -> dict[str, int]:
    """Of the dimensions of some arrays, and others of the cell. call: how a good one begins."""
    if not isinstance(sizes, Mapping | None):
        raise ArgumentTypeError(
            f"sizes must be a mapping from dimensions to lengths, not {kind_text(sizes)}",
            hint=f"{call}H=4)",
        )
    given = {**(sizes or {}), **named}
    groups = (cell.params, cell.inputs, cell.states)
    known = _dims(shape for group in groups for shape in group.values())
    for name in given:
        if name not in known:
            raise ArgumentTypeError(
                f"{cell.name} has no dimension {name!r}",
                facts=(f"it has {', '.join(known) or 'none'}",),
                hint=closest(name, known),
            )
    needed = _dims(shapes)
    if missing := [name for name in needed if name not in given]:
        example = ", ".join(f"{name}={given.get(name, 4)}" for name in needed)
        raise ArgumentError(
            f"the length of {', '.join(missing)} is missing",
            facts=(f"{cell.name} takes {', '.join(needed)}",),
            hint=f"{call}{example})",
        )
    return {name: to_width(length, name) for name, length in given.items()}


def _dims(shapes: Iterable[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n for shape in shapes for axis in shape for n in names_in(axis)))


def module_sizes(
    cell: Cell, x: str, sizes: tuple[tuple[str, Any], tuple[str, Any]], named: Mapping[str, int]
) -> dict[str, int]:
    """The length of each dimension that a module's arguments tell.

    x: the input that changes with time.  sizes: name and value of what tells its width, and that
    of the first state; a number, or a tuple where there are several axes.
    """
    given = dict(named)
    axes_of = (cell.inputs[x], next(iter(cell.states.values())))
    waiting = [
        (dim, length, name)
        for axes, (name, size) in zip(axes_of, sizes, strict=True)
        for dim, length in zip(axes, _lengths(cell, axes, size, name), strict=True)
    ]
    for dim, length, name in (*waiting, *waiting):  # one may tell what another needs
        found = Width.of(dim).solve(length, given)
        if found is not None and found[0]:
            given[found[0]] = found[1]
        elif found is not None and not _is_so(dim, length, given):
            known = Width.of(dim)
            told = set(known.names()) <= given.keys()
            raise ArgumentError(
                f"{name} is {known.length(given) if told else dim} in {cell.name}, not {length}",
                facts=(f"its equations give that axis the width {dim}",),
            )
    return given


def _is_so(dim: Any, length: int, given: Mapping[str, int]) -> bool:
    width = Width.of(dim)
    return set(width.names()) <= given.keys() and width.length(given) == length


def _lengths(cell: Cell, axes: Sequence[Any], size: Any, name: str) -> tuple[int, ...]:
    """One length for each axis: a number, or a tuple where there are several."""
    lengths = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if len(lengths) != len(axes):
        letters = " x ".join(map(str, axes))
        raise ArgumentError(
            f"{name} of {cell.name} is {letters}, a number for each axis",
            facts=(f"given {size!r}",),
            hint=f"{name}=({', '.join('4' for _ in axes)})" if len(axes) > 1 else f"{name}=4",
        )
    return tuple(to_width(length, name) for length in lengths)
