"""A file, looked at again and again -> a round of work for each time it was saved.

In: a path.  Out: its text, whenever that or a file that it is a variant of changed; what a round
came to.
Not here: printing (watch.py), the page (watch_page.py).

The file is polled: that needs nothing installed, works over networks and in containers, and a
save through a temporary file is seen like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from derive.catalogue import vary_text
from derive.cell import Cell
from derive.comparison.diff import Comparison, diff
from derive.errors import DeriveError

SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Round:
    """error: why there is no good version now. change: from the last good one, if there was."""

    cell: Cell | None
    error: DeriveError | None
    change: Comparison | None


def saves(path: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[bytes | None]:
    """What the file holds, at first and after each change of it or of a file that it is based on;
    None where it cannot be read."""
    last: tuple[tuple[Path, bytes | None], ...] = ()
    while True:
        now = tuple((each, _held(each)) for each in vary_text.sources(path))
        if now != last:
            yield now[0][1]
        last = now
        sleep(SECONDS)


def _held(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def rounds(
    path: Path,
    work: Callable[[Cell], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Round]:
    """work(cell) generates and verifies; DeriveError where that fails."""
    good: Cell | None = None
    for _ in saves(path, sleep):
        try:
            cell = Cell.load(path)
            work(cell)
        except DeriveError as error:
            yield Round(None, error, None)
            continue
        yield Round(cell, None, None if good is None else diff(good, cell))
        good = cell
