"""A file, looked at again and again -> a round of work for each time it was saved.

In: a path.  Out: its text, whenever that changed; what a round came to.
Not here: printing (cli/watched_file.py).

The file is polled: that needs nothing installed, works over networks and in containers, and a
save through a temporary file is seen like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from derive.cell import Cell
from derive.comparison.diff import Comparison, diff
from derive.errors import DeriveError

SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Round:
    """error: why there is no good version now. change: from the last good one, if there was."""

    cell: Cell | None
    error: DeriveError | None
    change: Comparison | None


def saves(path: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[bytes | None]:
    """What the file holds, at first and after each change; None where it cannot be read."""
    last: bytes | None = b""
    first = True
    while True:
        try:
            now: bytes | None = path.read_bytes()
        except OSError:
            now = None
        if first or now != last:
            yield now
        first, last = False, now
        sleep(SECONDS)


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
