"""Parameters and sizes of what is exported.

In: a Cell, and what a caller gave: parameters or a file of them, lengths of dimensions, layers
and directions.  Out: `Stack`: parameters and sizes of each layer and direction.
Not here: the model (scan.py, operator.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import axes_text, closest, kind_text, shape_text, to_array, to_width
from derive.kernel.signature import Arrays, Dim, Sizes, names_in
from derive.layers.sequence import kernel_of
from derive.layers.sizes import sizes_of_layers
from derive.weights.array_files import read_arrays


@dataclass(frozen=True, slots=True)
class Stack:
    """params, sizes: of each place: layer by layer, both directions of one after another."""

    cell: Cell
    layers: int
    directions: int
    params: tuple[Arrays, ...]
    sizes: tuple[Mapping[str, int], ...]

    @property
    def is_one(self) -> bool:
        return self.layers * self.directions == 1

    def suffix(self, place: int) -> str:
        """The end of the names of a layer and direction, as layers.RNN has them."""
        return "" if self.is_one else suffix_of(place, self.directions)

    def lengths(self, place: int, shape: tuple[Dim, ...]) -> list[int]:
        sizes = Sizes(1, 1, self.sizes[place])
        return [sizes.width(dim) for dim in shape]


def suffix_of(place: int, directions: int) -> str:
    layer, reverse = divmod(place, directions)
    return f"_l{layer}" + "_reverse" * reverse


def stack_of(
    cell: Cell, params: Any, given: Mapping[str, int], layers: int, directions: int,
    dtype: str, seed: int,
) -> Stack:  # fmt: skip
    """ArgumentError where parameters are missing, strange, or do not fit each other."""
    places = layers * directions
    if params is None:
        if places > 1:
            sizes = [s for s in sizes_of_layers(cell, given, layers, directions)
                     for _ in range(directions)]  # fmt: skip
        else:
            sizes = [_complete(cell, {n: to_width(v, n) for n, v in given.items()})]
        kernel = kernel_of(cell, dtype, "numpy")
        found = []
        for place, own in enumerate(sizes):
            named = {d: own[d] for shape in cell.params.values() for n in shape
                     for d in names_in(n)}  # fmt: skip
            found.append(kernel.init(named, seed=seed + place))
        if cell.checked.fixed:
            raise ArgumentError(
                f"{cell.name} has fixed arrays, which are given", hint="params={name: array}"
            )
        return Stack(cell, layers, directions, tuple(found), tuple(sizes))
    arrays = _arrays(params)
    groups = [_of_place(cell, arrays, place, layers, directions, dtype) for place in range(places)]
    used = {n + _end(cell, arrays, k, places, directions) for k in range(places)
            for n in cell.params}  # fmt: skip
    strange = [name for name in arrays if name not in used]
    more = [name for name in strange if re.sub(r"_l\d+(_reverse)?$", "", name) in cell.params]
    if more:
        raise ArgumentError(
            f"{more[0]} belongs to a layer or direction that is not exported",
            facts=(f"layers: {layers}, directions: {directions}",),
            hint="num_layers=2, bidirectional=True; derive export: --layers 2, --bidirectional",
        )
    if strange and not isinstance(params, (str, os.PathLike)):
        raise ArgumentError(
            f"{cell.name} has no parameter {strange[0]!r}", hint=closest(strange[0], sorted(used))
        )
    sizes = [_sizes(cell, own, given) for own in groups]
    return Stack(cell, layers, directions, tuple(groups), tuple(sizes))


def _arrays(params: Any) -> Mapping[str, Any]:
    if isinstance(params, (str, os.PathLike)):
        return read_arrays(os.fspath(params))
    if not isinstance(params, Mapping):
        raise ArgumentTypeError(
            f"params must be a mapping from names to arrays, or a path, not {kind_text(params)}"
        )
    return params


def _end(
    cell: Cell, arrays: Mapping[str, Any], place: int, places: int, directions: int
) -> str:  # fmt: skip
    """What the names of one layer and direction end in."""
    if places > 1:
        return suffix_of(place, directions)
    if not set(cell.params) <= set(arrays) and f"{next(iter(cell.params), '')}_l0" in arrays:
        return "_l0"  # as layers.RNN saves a single layer
    return ""


def _of_place(
    cell: Cell, arrays: Mapping[str, Any], place: int, layers: int, directions: int, dtype: str
) -> Arrays:
    end = _end(cell, arrays, place, layers * directions, directions)
    found = {}
    for name in cell.params:
        if name + end not in arrays:
            raise ArgumentError(
                f"parameter {name + end} is missing",
                facts=(f"given: {', '.join(map(str, arrays)) or 'none'}",),
                hint=closest(name + end, arrays) or "weights.load maps other systems' names",
            )
        array = to_array(arrays[name + end], f"parameter {name + end}", np.dtype(dtype))
        found[name] = array.reshape(1) if array.ndim == 0 else array
    return found


def _sizes(cell: Cell, params: Arrays, given: Mapping[str, int]) -> dict[str, int]:
    """Lengths of dimensions from the shapes of parameters, and what is given besides."""
    sizes = {name: to_width(length, name) for name, length in given.items()}
    for name, shape in cell.params.items():
        if len(shape) != params[name].ndim:
            raise ArgumentError(
                f"parameter {name} has {len(shape)} axes",
                facts=(f"given {shape_text(params[name].shape)}",),
            )
        for dim, length in zip(shape, params[name].shape, strict=True):
            if isinstance(dim, str) and dim.isidentifier():
                sizes.setdefault(dim, length)
    sizes = _complete(cell, sizes)
    known = Sizes(1, 1, sizes)
    for name, shape in cell.params.items():
        wanted = tuple(known.width(dim) for dim in shape)
        if params[name].shape != wanted:
            raise ArgumentError(
                f"parameter {name} has the wrong shape",
                facts=(f"it is {axes_text(shape)} = {shape_text(wanted)}, "
                       f"given {shape_text(params[name].shape)}",),
            )  # fmt: skip
    return sizes


def _complete(cell: Cell, sizes: dict[str, int]) -> dict[str, int]:
    needed = list(dict.fromkeys(_dims(cell)))
    if strange := [name for name in sizes if name not in needed]:
        raise ArgumentTypeError(
            f"{cell.name} has no dimension {strange[0]!r}",
            facts=(f"it has {', '.join(needed)}",),
            hint=closest(strange[0], needed),
        )
    if missing := [dim for dim in needed if dim not in sizes]:
        wanted = ", ".join(f"{dim}={sizes.get(dim, 4)}" for dim in needed)
        raise ArgumentError(
            f"the length of {', '.join(missing)} is missing",
            hint=f"derive.onnx.export(cell, {wanted})",
        )
    return sizes


def _dims(cell: Cell) -> Iterator[str]:
    groups = (cell.params, cell.inputs, cell.states, cell.outputs)
    for group in groups:
        for shape in group.values():
            for dim in shape:
                yield from names_in(dim)
    yield from (dim for dim in cell.step.program.dims() if dim.isidentifier())
