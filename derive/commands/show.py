"""`derive show`: one cell, any stage, any format.

In: a CELL, stages, a format, widths.  Out: text on standard output.
Not here: what is shown and how (inspect/).
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.commands import console
from derive.commands.select import cell_of
from derive.errors import ArgumentError


def run(text: str, stages: Sequence[str], format: str, sizes: Sequence[str]) -> int:
    from derive.inspect import USUAL, chosen_stages, show

    names = [name.strip() for part in stages for name in part.split(",")]
    chosen = chosen_stages(names or USUAL)
    console.result(show(cell_of(text), chosen, format, dict(map(_size, sizes))))
    return 0


def _size(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not sign or not number.strip().isascii() or not number.strip().isdigit():
        raise ArgumentError(f"'{text}' is no width", hint="--size H=256")
    return name.strip(), int(number)
