"""What a notebook shows of an object: HTML and LaTeX that somewhere higher up draws.

In: the drawing functions, handed down once by derive/__init__.  Out: mixins for classes; tables.
Not here: any drawing (inspect/notebook.py). It is loaded when a notebook asks, so that a program
without one loads none of it. An object whose `str` is made for reading needs none.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

#: Loads the two functions (HTML, LaTeX) of an object.
Loader = Callable[[], tuple[Callable[[Any], str], Callable[[Any], str]]]

_loaders: list[Loader] = []


def draw_with(loader: Loader) -> None:
    """Says how objects are drawn; the last loader counts."""
    _loaders.append(loader)


class Displayed:
    """An object that notebooks show by its equations, not by its repr."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        drawn, _ = _loaders[-1]()
        return drawn(self)

    def _repr_latex_(self) -> str:
        _, latex = _loaders[-1]()
        return latex(self)


class Printed:
    """An object that notebooks show as the text it prints: `print(verdict)`."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self), quote=False)}</pre>"

    def _repr_markdown_(self) -> str:
        return f"```text\n{self}\n```"


def text_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()
) -> str:
    """A table as plain text, as wide as its cells. numeric: columns aligned to the right."""
    cells = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if k in numeric else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
