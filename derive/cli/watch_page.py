"""`derive watch --page`: a page in the browser that follows a file.

In: a path, targets, a folder.  Out: an address; the page follows each save until Ctrl-C.
Not here: the server (page_server.py), the page's looks (inspect/html/live.py), verification
(checker.py), when a file was saved (watched_file.py).

A save is shown in three parts, each as soon as it is there: what changed, the equations, the graph
and the gradient; then the whole page; then, from a process of its own, the verification.
"""

from __future__ import annotations

import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

from derive.cell import Cell
from derive.cli import console, select, watched_file
from derive.cli.checker import Checker, Event
from derive.cli.page_server import Board, served
from derive.comparison.diff import diff
from derive.errors import DeriveError
from derive.inspect import usual
from derive.inspect.html import live


def run(
    file: str, target: str, out: str, *, port: int = 0, open_: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> int:  # fmt: skip
    """Until Ctrl-C."""
    path, board = Path(file), Board()
    targets = select.targets_of(target)
    shown = Shown(board, out)
    checker = Checker(targets, out, shown.hear)
    with served(lambda nonce: live.shell(path.name, nonce), board, port) as address:
        console.result(address)
        if open_ and not webbrowser.open(address):
            console.say("no browser answered; open the address by hand")
        try:
            for _ in watched_file.saves(path, sleep):
                shown.save(path, checker)
        except KeyboardInterrupt:
            console.say("no longer watched")
        finally:
            checker.close()
    return 0


class Shown:
    """What the board holds, of a file that is saved again and again."""

    def __init__(self, board: Board, out: str) -> None:
        self._board, self._out = board, out
        self._lock = threading.Lock()  # between a save and what is heard of the one before
        self._number = 0
        self._current: Cell | None = None
        # The last one that was not found wrong before the next save.
        self._good: Cell | None = None
        self._failed = False

    def save(self, path: Path, checker: Checker) -> None:
        """Shows the file as it is now."""
        began = time.perf_counter()
        with self._lock:
            self._number += 1
            number = self._number
            if self._current is not None and not self._failed:
                self._good = self._current
            self._current, self._failed = None, False
        try:
            cell = Cell.load(path)
            change = "" if self._good is None else str(diff(self._good, cell))
            first = live.body(cell, live.FIRST)
        except DeriveError as error:
            console.say(str(error))
            self._board.put(
                status=f"{_clock()}  an error; below it the last version that was derived",
                error=str(error), checking="", stale="yes",
            )  # fmt: skip
            return
        select.announce(cell)
        if change:
            console.result(change)
        self._current = cell
        self._board.put(
            status=f"{_clock()}  {cell.name} derived in {time.perf_counter() - began:.2f} s",
            title=cell.name, error="", stale="", change=change, body=first,
            checking="generating and verifying", verification="",
        )  # fmt: skip
        checker.check(number, cell)
        try:
            self._board.put(body=live.body(cell, usual("html")))
        except DeriveError as error:
            console.say(str(error))
            self._board.put(error=str(error))

    def hear(self, event: Event) -> None:
        """From the checker, in a thread of its own."""
        with self._lock:
            cell = self._current
            if event.number != self._number or cell is None:
                return  # of an earlier version
            if not event.done:
                self._board.put(checking=event.text)
                return
            if event.report is not None:
                self._board.put(verification=live.checked(cell, event.report))
            self._failed = bool(event.text)
            if event.text:
                self._board.put(checking="not verified", error=event.text)
            else:
                self._board.put(checking=f"verified; {self._out} is up to date")
        console.say(event.text or f"{cell.name} is verified; {self._out} is up to date")


def _clock() -> str:
    return time.strftime("%H:%M:%S")
