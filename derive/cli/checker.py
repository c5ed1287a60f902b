"""Generating and verifying in a process that stays: what it is doing, and what came of it.

In: cells, one after the other.  Out: events: progress, a report, an error.
Not here: what is done (generated_files.py), who shows it (watch_page.py).

The process is another one so that the page follows the next save meanwhile; only the newest cell
that waits is taken. It ends with the process that started it.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.verification import Report


@dataclass(frozen=True, slots=True)
class Event:
    """Of the cell with this number. text: what is done now; or, where `done`, the error, "" for
    none.  report: of a verification, failed or not."""

    number: int
    text: str
    report: Report | None = None
    done: bool = False


class Checker:
    """hear(event) is called in a thread of its own."""

    def __init__(self, targets: Sequence[str], out: str, hear: Callable[[Event], None]) -> None:
        self._given = tuple(targets), out
        self._hear = hear
        self._process: multiprocessing.process.BaseProcess | None = None
        self._line: Connection | None = None
        self._newest = 0

    def check(self, number: int, cell: Cell) -> None:
        """Begins; an earlier cell that waits is forgotten."""
        self._newest = number
        if self._line is not None:
            with suppress(OSError):  # the process has ended: another one takes the cell
                self._line.send((number, cell.to_text()))
                return
        self._start().send((number, cell.to_text()))

    def close(self) -> None:
        """Nothing is heard any more, and no file is left half-written."""
        self._hear = lambda event: None
        if self._process is not None:
            self._process.terminate()
            self._process.join()

    def _start(self) -> Connection:
        # Fork would copy the threads of the server.
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._given))
        self._process.start()
        theirs.close()
        threading.Thread(target=self._listen, args=(self._line,), daemon=True).start()
        return self._line

    def _listen(self, line: Connection) -> None:
        try:
            while True:
                self._hear(line.recv())
        except (EOFError, OSError):
            self._hear(Event(self._newest, "the process that verifies has ended", done=True))


def _serve(line: Connection, targets: tuple[str, ...], out: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that waits
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # as an exception: files are taken back
    from derive.cell import Cell
    from derive.cli import generated_files
    from derive.errors import DeriveError

    while True:
        try:
            number, text = line.recv()
            while line.poll():
                number, text = line.recv()
        except EOFError:
            return
        say = partial(_say, line, number)
        reports: list[Report] = []

        def check(
            files: Mapping[Cell, Mapping[str, str]],
            reports: list[Report] = reports, say: Callable[[str, int, int], None] = say,
        ) -> Sequence[Report]:  # fmt: skip
            reports += [
                generated_files.verified(cell, texts, progress=say) for cell, texts in files.items()
            ]
            return reports

        error = ""
        try:
            generated_files.generate((Cell.parse(text),), targets, out, verify=check)
        except DeriveError as found:
            error = str(found)
        except Exception as found:  # the page shows it; the next save may go well
            error = f"a fault of derive: {type(found).__name__}: {found}"
        line.send(Event(number, error, reports[0] if reports else None, done=True))


def _say(line: Connection, number: int, what: str, done: int, total: int) -> None:
    line.send(Event(number, f"verifying {done}/{total}: {what}"))
