"""Options of load and save: which there are is in the tables, what they may be is here.

In: what a caller gave.  Out: a System and its options, complete; an error where one is wrong.
Not here: arrays (name_scopes.py) and parameters (exchange.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text
from derive.weights.array_files import is_archive
from derive.weights.systems import SYSTEMS, System


def check_cell(cell: Any) -> None:
    if not isinstance(cell, Cell):
        raise ArgumentTypeError(
            f"cell must be a Cell, not {kind_text(cell)}", hint="derive.cells.lstm()"
        )


def check_prefix(prefix: Any) -> None:
    if not isinstance(prefix, str | None):
        raise ArgumentTypeError(
            f"prefix must be text, not {kind_text(prefix)}", hint='prefix="encoder."'
        )


def system_of(name: Any) -> System:
    if not isinstance(name, str) or name not in SYSTEMS:
        raise ArgumentError(
            f"unknown system {name!r}",
            facts=(f"known: {', '.join(SYSTEMS)}",),
            hint=closest(name, SYSTEMS),
        )
    return SYSTEMS[name]


def options_of(system: System, given: Mapping[str, Any]) -> dict[str, Any]:
    known = system.options
    for key, value in given.items():
        if key not in known:
            raise ArgumentTypeError(
                f"{system.title} has no option {key!r}",
                facts=(f"its options are prefix, {', '.join(known)}",),
                hint=closest(key, known),
            )
        if not _VALID[key](value):
            raise ArgumentError(f"{key} cannot be {value!r}", facts=(f"it is {_VALUES[key]}",))
    return {**known, **given}


def float_type(dtype: Any) -> np.dtype[Any]:
    """float32 or float64, or the error that says so."""
    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError):
        kind = np.dtype(object)
    if kind.name not in ("float32", "float64"):
        raise ArgumentTypeError(
            f"dtype is float32 or float64, not {dtype!r}", hint='dtype="float64"'
        )
    return kind


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, int, np.bool_, np.integer)) and int(value) in (0, 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and bool(np.isfinite(value))


_VALUES = {
    "forget_bias": "a number, or None for that of the cell",
    "bias": "True or False",
    "layer": "0, 1, ..., or None for names without a layer",
    "reverse": "True or False",
    "direction": '"forward" or "reverse"',
    "input_forget": "0 or 1, or None for what the cell has",
    "linear_before_reset": "0 or 1, or None for what the cell has",
    "node": "the name of a node or of one of its outputs, or None",
    "api": '"linen" or "nnx", or None',
    "nested": "True or False",
}
_VALID: Mapping[str, Any] = {
    "forget_bias": lambda v: v is None or _is_number(v),
    "bias": _is_flag,
    "layer": lambda v: v is None or (isinstance(v, (int, np.integer)) and v >= 0),
    "reverse": _is_flag,
    "direction": lambda v: v in ("forward", "reverse"),
    "input_forget": lambda v: v is None or _is_flag(v),
    "linear_before_reset": lambda v: v is None or _is_flag(v),
    "node": lambda v: v is None or isinstance(v, str),
    "api": lambda v: v in (None, "linen", "nnx"),
    "nested": _is_flag,
}


def is_model(arrays: Any) -> bool:
    """Whether it is an ONNX model, or a file that is no archive of arrays."""
    if isinstance(arrays, (str, os.PathLike)):
        return not is_archive(os.fspath(arrays))
    return isinstance(arrays, bytes) or hasattr(arrays, "graph")
