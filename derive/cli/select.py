"""CELL and --target on the command line -> a Cell, targets, and a line about the parameters that
a cell infers.

In: `lstm`, `lstm:peephole=true`, or a path to a `.cell` file; `numpy,c`.  Out: a Cell, names of
targets; DeriveError.
Not here: the catalogue (catalogue/), reading the file (cell.py).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from derive import targets as table
from derive.cli import console
from derive.errors import ArgumentError, CellError

if TYPE_CHECKING:
    from derive.cell import Cell

SUFFIX = ".cell"


def cell_of(text: str, *, quiet: bool = False) -> Cell:
    """The cell; its inferred parameters are named on standard error unless `quiet`."""
    cell = _cell_of(text)
    if not quiet:
        announce(cell)
    return cell


def announce(cell: Cell) -> None:
    """Names the parameters that no line declares: a slip in a name shows there."""
    if cell.inferred:
        shapes = (f"{name}: {' x '.join(map(str, s))}" for name, s in cell.inferred.items())
        console.say(f"{cell.name}: inferred parameters {', '.join(shapes)}")


def _cell_of(text: str) -> Cell:
    if is_path(text):
        return _from_file(text)
    from derive import cells

    entry = text.partition(":")[0].strip()
    if entry in cells.names():
        return cells.from_spec(text)
    near = difflib.get_close_matches(entry, cells.names(), n=3, cutoff=0.5)
    facts = [f"close: {', '.join(near)}"] if near else []
    hint = "derive list   shows the catalogue; a file is given by its path, such as my.cell"
    if Path(text + SUFFIX).is_file():
        hint = f"{text}{SUFFIX}"
    raise ArgumentError(f"no cell is called '{entry}'", facts=tuple(facts), hint=hint)


def cells_of(texts: Sequence[str]) -> tuple[Cell, ...]:
    """The given cells, or the whole catalogue. Two different cells of one name are an error."""
    from derive import cells

    found: dict[str, Cell] = {}
    for text in texts or cells.names():
        cell = cell_of(text, quiet=not texts)
        if found.setdefault(cell.name, cell) != cell:
            raise ArgumentError(
                f"two different cells are called {cell.name}",
                facts=(f"'{text}' is one of them",),
                hint="rename one: the name stands in its first line",
            )
    return tuple(found.values())


def targets_of(text: str) -> tuple[str, ...]:
    """Targets with commas."""
    return tuple(dict.fromkeys(table.row(name.strip()).name for name in text.split(",")))


def is_path(text: str) -> bool:
    return text.endswith(SUFFIX) or "/" in text or os.sep in text or os.path.isfile(text)


def _from_file(text: str) -> Cell:
    from derive.pipeline import load

    path = Path(text)
    if not path.exists():
        others = sorted(str(p) for p in path.parent.glob(f"*{SUFFIX}"))
        near = difflib.get_close_matches(text, others, n=3, cutoff=0.5)
        facts = (f"close: {', '.join(near)}",) if near else ()
        raise CellError(f"there is no file {text}", facts=facts)
    return load(text)


def size_of(text: str) -> tuple[str, int]:
    """A dimension and its length, H=256."""
    name, sign, number = text.partition("=")
    if not sign or not number.strip().isascii() or not number.strip().isdigit():
        raise ArgumentError(f"'{text}' is no width", hint="--size H=256")
    return name.strip(), int(number)
