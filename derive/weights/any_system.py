"""Parameters of a cell from a file of any system that is known.

In: a Cell, the path of a file, and where to look where that is not plain.  Out: {parameter: array}.
Not here: one named system (exchange.py), what a file holds in all (contents.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from derive.cell import Cell
from derive.errors import ArgumentError, DeriveError
from derive.kernel.convert import closest, shape_text, to_path
from derive.kernel.signature import Arrays
from derive.weights.array_files import is_onnx, read_arrays
from derive.weights.exchange import load
from derive.weights.found import Found, found_in
from derive.weights.options import check_cell
from derive.weights.systems import SYSTEMS

#: What layers.RNN puts behind the names of its first layer.
_FIRST = "_l0"


def load_any(
    cell: Cell, path: str | os.PathLike[str], source: str | None = None, **options: Any
) -> Arrays:
    """The cell's parameters: by its own names, by those of layers.RNN with one layer, or by the
    names of a system, if the file holds one recurrent layer that fits.

    source, options: as for `load`, where that is not plain: "pytorch", prefix="encoder.", layer=1.
    ArgumentError where nothing fits, and where several layers do.
    """
    check_cell(cell)
    shown = to_path(path, "path")
    if source is not None:
        return load(cell, source, shown, **options)
    if is_onnx(shown):
        return load(cell, "onnx", shown, **options)
    arrays = read_arrays(shown)
    if not options:
        for end in ("", _FIRST):
            if {f"{name}{end}" for name in cell.params} <= set(arrays):
                _check_alone(cell, shown, arrays)
                return {name: arrays[f"{name}{end}"] for name in cell.params}
    parts = [part for part in found_in(arrays) if _chosen(part, options)]
    if not parts:
        raise _nothing(cell, shown, arrays)
    loaded: list[tuple[Found, Arrays]] = []
    reasons: list[DeriveError] = []
    for part in parts:
        try:
            loaded.append((part, load(cell, part.system, arrays, **{**part.options, **options})))
        except ArgumentError as error:
            reasons.append(error)
    if not loaded:
        raise reasons[0]
    if len(loaded) > 1:
        raise ArgumentError(
            f"{shown} holds {len(loaded)} layers that fit {cell.name}",
            facts=tuple(f"{part.system}: {part.place}" for part, _ in loaded),
            hint=f"--from {loaded[-1][0].system} {_words(loaded[-1][0].options)}".rstrip(),
        )
    return loaded[0][1]


def _check_alone(cell: Cell, path: str, arrays: Arrays) -> None:
    """ArgumentError where layers.RNN had more than one layer, or two directions."""
    first = next(iter(cell.params), "")
    ends = [end for end in (f"{_FIRST}_reverse", "_l1") if f"{first}{end}" in arrays]
    if ends and f"{first}{_FIRST}" in arrays:
        raise ArgumentError(
            f"{path} holds more than one layer of {cell.name}",
            facts=(f"{first}{_FIRST} and {first}{ends[0]} are there",),
            hint=f'one layer in a file of its own, as "{first}"',
        )


def _chosen(part: Found, options: Mapping[str, Any]) -> bool:
    known = SYSTEMS[part.system].options
    return all(
        part.options.get(key, known.get(key, "" if key == "prefix" else None)) == value
        for key, value in options.items()
    )


def _words(options: Mapping[str, Any]) -> str:
    """As options of `derive export`."""
    words = (f"--{key}" if value is True else f"--{key} {value}" for key, value in options.items()
             if value is not None)  # fmt: skip
    return " ".join(words)


def _nothing(cell: Cell, path: str, arrays: Arrays) -> ArgumentError:
    missing = [name for name in cell.params if name not in arrays]
    near = closest(missing[0], list(arrays)) if missing else None
    return ArgumentError(
        f"{path} has no parameters of {cell.name} that are known by their names",
        facts=(
            f"it holds {', '.join(f'{n} {shape_text(a.shape)}' for n, a in arrays.items())}",
            f"{cell.name} has the parameters {', '.join(cell.params)}",
        ),
        hint=near or f"derive weights {path}   lists what is in a file",
    )
