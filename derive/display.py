"""What a notebook shows of an object: HTML and LaTeX that somewhere higher up draws.

In: the drawing functions, handed down once by derive/__init__.  Out: a mixin for classes.
Not here: any drawing (inspect/notebook.py). It is loaded when a notebook asks, so that a program
without one loads none of it.
"""

from __future__ import annotations

from collections.abc import Callable
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
        html, _ = _loaders[-1]()
        return html(self)

    def _repr_latex_(self) -> str:
        _, latex = _loaders[-1]()
        return latex(self)
