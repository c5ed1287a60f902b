"""derive: recurrent cells from equations to verified kernels.

    import derive

    cell = derive.Cell.parse(text)            # or derive.load("janet.cell")
    cell = derive.cells.lstm(forget_bias=1.0)  # the catalogue
    gradient = derive.differentiate(cell)
    files = derive.emit(cell, target="c")
    kernel = derive.compile(cell, target="c", dtype="float32", threads=1)
    report = derive.verify(cell)

SymPy is imported when a name that needs it is first used, so `import derive` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derive import cells as cells
    from derive.cell import Cell as Cell
    from derive.cell import load as load
    from derive.errors import DeriveError as DeriveError
    from derive.pipeline import compile as compile
    from derive.pipeline import differentiate as differentiate
    from derive.pipeline import emit as emit
    from derive.pipeline import schedule as schedule
    from derive.symbols import arrays as arrays
    from derive.verify import verify as verify

__version__ = "0.1.0"

#: Public name -> (module, attribute); an empty attribute is the module itself.
_PUBLIC = {
    "Cell": ("derive.cell", "Cell"),
    "DeriveError": ("derive.errors", "DeriveError"),
    "arrays": ("derive.symbols", "arrays"),
    "cells": ("derive.cells", ""),
    "compile": ("derive.pipeline", "compile"),
    "differentiate": ("derive.pipeline", "differentiate"),
    "emit": ("derive.pipeline", "emit"),
    "load": ("derive.cell", "load"),
    "schedule": ("derive.pipeline", "schedule"),
    "verify": ("derive.verify", "verify"),
}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604 - names are strings


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'derive' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value: Any = importlib.import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
