"""Lines of a terminal: equations below each other, lists that wrap, tables.

In: names, values, cells of tables.  Out: lines of at most `WIDTH` characters, where they can break.
Not here: what is said (report.py, parts.py, cost.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from derive.inspect.text.line_breaking import folded
from derive.textbook.derivation import Line
from derive.textbook.notation import TEXT, Notation, write

WIDTH = 100
Block = Iterable[str]


def shape_text(shape: Sequence[object]) -> str:
    return " x ".join(map(str, shape))


def lines_of(lines: Sequence[Line], notation: Notation = TEXT) -> Block:
    """`name = value`, the signs below each other; a long sum goes on below its first term."""
    names = max((len(notation.name(line.name)) for line in lines), default=0)
    for line in lines:
        first, *rest = folded(write(line.value, notation, line.order), WIDTH - names - 3)
        yield f"{notation.name(line.name).ljust(names)} = {first}"
        yield from (" " * (names + 3) + row for row in rest)


def wrapped(label: str, items: Iterable[str]) -> Block:
    text = ", ".join(item.replace(" ", "\0") for item in items) or "none"
    lines = textwrap.wrap(text, WIDTH - len(label), break_long_words=False)
    for k, line in enumerate(lines):
        yield (label if k == 0 else " " * len(label)) + line.replace("\0", " ")


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Block:
    """Rows of cells below each other. right: columns that end below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    for row in rows:
        cells = (
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "   ".join(cells).rstrip()
