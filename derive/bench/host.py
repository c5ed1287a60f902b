"""Peers and what they do, one order at a time: enter, run once, run for the clock.

In: peers, a Task.  Out: `Entrant`s, first results with what they took, samples of time.
Not here: what the numbers mean (contest.py), processes (worker.py).

A host numbers the contestants of all its peers; everything else is asked for by that number, so
that a host can as well live in another process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from derive.bench.peers import Peer
from derive.bench.shapes import Shape
from derive.bench.task import MODES, Contestant, Results, task_of
from derive.cell import Cell
from derive.cells import from_spec
from derive.kernel.tune.clock import Clock

#: A cell that a peer runs before the first that is measured: what its libraries load and set up on
#: first use is no memory of a call. A closed list has the second.
_WARM = ("ugrnn", "rnn")
_WARM_SHAPE = Shape(2, 2, 3, 4)


class Failed(Exception):
    """A contestant could not do its work; the reason in words."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contestant that runs in another process. See `task.Contestant`."""

    name: str
    dtype: str
    ours: bool
    modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class First:
    """The first calls of a contestant in one mode.

    start: seconds from the cell to the first result.  peak: bytes of memory beyond the arguments,
    at the highest, or None where that cannot be known.  saved: numbers kept for backward, for
    each step and row.
    """

    results: Results
    start: float
    peak: int | None
    saved: float | None


class Host(Protocol):
    def enter(self, cell: Cell, shape: Shape, threads: int) -> tuple[list[Entrant], dict[str, str]]:
        """The contestants that have the cell, and {peer: why it failed}."""
        ...

    def first(self, number: int, mode: str) -> First: ...

    def sample(self, number: int, mode: str) -> tuple[float, float]:
        """After `first`: seconds of a call by the clock, and of all processors together."""
        ...

    def leave(self) -> None:
        """Let go of all that was entered."""
        ...


class Local:
    """Peers in this process."""

    def __init__(self, peers: Sequence[Peer], *, warm: bool = False) -> None:
        self._peers = peers
        self._found: list[Contestant] = []
        self._before: dict[int, int | None] = {}
        self._clocks: dict[tuple[int, str], Clock] = {}
        if warm:
            for one in peers:
                self._warm(one)

    def enter(self, cell: Cell, shape: Shape, threads: int) -> tuple[list[Entrant], dict[str, str]]:
        task, failures = task_of(cell, shape, threads), {}
        self.leave()
        for one in self._peers:
            if shape.is_stack and not getattr(one, "STACKS", False):
                continue
            try:
                self._found += one.enter(task)
            except Exception as error:  # other people's libraries raise what they like
                failures[one.NAME] = _reason(error)
        return [
            Entrant(one.name, one.dtype, one.ours, tuple(m for m in MODES if one.mode(m)))
            for one in self._found
        ], failures

    def first(self, number: int, mode: str) -> First:
        one = self._found[number]
        function = one.mode(mode)
        assert function is not None
        # What calls keep between them is theirs too: all modes count from the same point.
        before = self._before.setdefault(number, _resident())
        try:
            start = time.perf_counter()
            function()
            seconds = time.perf_counter() - start
            result, peak, again = _with_peak(function)
            self._clocks[number, mode] = Clock(function, again)
            taken = None
            if peak is not None and before is not None:
                taken = max(peak - before, 0) + one.held.get(mode, 0)
            saved = one.saved(result) if one.saved is not None and mode == "train" else None
            return First(one.read(result), one.start + seconds, taken, saved)
        except Exception as error:
            raise Failed(_reason(error)) from error

    def sample(self, number: int, mode: str) -> tuple[float, float]:
        try:
            return self._clocks[number, mode].sample()
        except Exception as error:
            raise Failed(_reason(error)) from error

    def leave(self) -> None:
        self._found, self._before, self._clocks = [], {}, {}
        gc.collect()

    def _warm(self, one: Peer) -> None:
        alone = Local([one])
        for spec in _WARM:
            entrants, _ = alone.enter(from_spec(spec), _WARM_SHAPE, 1)
            for number, entrant in enumerate(entrants):
                for mode in entrant.modes:
                    with contextlib.suppress(Failed):
                        alone.first(number, mode)
            if entrants:
                break


def _reason(error: Exception) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


# --- memory, where the system is Linux ------------------------------------------------------


def _resident() -> int | None:
    """Bytes resident now, with free memory given back."""
    _trim()
    return _status("VmRSS:")


def _with_peak(function: Callable[[], Any]) -> tuple[Any, int | None, float]:
    """A result, the most bytes resident while it was computed, and its time."""
    _trim()
    known = _reset_peak()
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    return result, _status("VmHWM:") if known else None, seconds


def _reset_peak() -> bool:
    """Lets the peak count anew, where that can be."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True


def _trim() -> None:
    """Free memory that the allocator holds would hide what the next call takes."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _status(key: str) -> int | None:
    if not os.path.exists("/proc/self/status"):
        return None
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(key):
                return 1024 * int(line.split()[1])
    return None
