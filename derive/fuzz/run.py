"""The loop of `derive fuzz`: chunks of random examples until the time or the number is reached.

In: what to fuzz, a seed, a limit.  Out: findings, each shrunk to the smallest case that fails, and
counts of what ran.
Not here: the rooms, one for each thing that is fuzzed; how findings are printed
(cli/fuzz.py).

A chunk is one run of hypothesis with a seed of its own, `chunk_seed(seed, k)`, so that a finding
can be had again without what came before it: `derive fuzz --seed S --first K --examples 50`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.internal.conjecture import providers

from derive.errors import ArgumentError
from derive.fuzz.fault import Fault

CHUNK = 50
WHAT = ("cells", "axes", "texts", "files", "calls", "devices")

# What hypothesis keeps of its own is of no use to the folder that the user is in.
set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), f"derive-hypothesis-{os.getpid()}"))

_SETTINGS = hypothesis.settings(
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=tuple(HealthCheck),
    verbosity=Verbosity.quiet,
    report_multiple_bugs=False,
    print_blob=False,
)


class Room(Protocol):
    """Something that is fuzzed. counts: what ran, by what it is."""

    counts: Counter[str]

    def example(self, data: st.DataObject) -> None:
        """Draws a case and tries it; a Fault where it fails."""

    def case(self, found: Fault) -> str:
        """The last case, as Python text that can be pasted."""

    def cell_text(self) -> str:
        """The `.cell` text of the last case, or nothing."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault with the smallest case that shows it."""

    what: str
    kind: str
    details: str
    case: str
    cell: str
    chunk: int


@dataclass(slots=True)
class Outcome:
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def chunk_seed(seed: int, chunk: int) -> int:
    return seed * 1_000_003 + chunk


def fuzz(
    rooms: dict[str, Room],
    *,
    seed: int,
    seconds: float | None = None,
    examples: int | None = None,
    first: int = 0,
    keep_going: bool = False,
    shrink: bool = True,
    tick: Callable[[Counter[str], int], None] | None = None,
    tell: Callable[[Finding], None] | None = None,
) -> Outcome:
    """Rooms take turns, a chunk each. seconds or examples: when to stop, the latter for each room;
    first: the chunk to begin with; keep_going: after a finding as well; tick: given the counts and
    the number of chunks that ended, after each example; tell: given each finding at once."""
    if (seconds is None) == (examples is None):
        raise ArgumentError("give a number of seconds or a number of examples, one of the two")
    end = None if seconds is None else time.monotonic() + seconds
    outcome, chunk, left = Outcome(), first, examples
    ended = 0

    def told() -> None:
        if tick is not None:
            tick(_total(rooms), ended)

    def over() -> bool:
        return end is not None and time.monotonic() >= end

    while not over() and left != 0:
        count = CHUNK if left is None else min(CHUNK, left)
        for what, room in rooms.items():
            if over():
                break
            found = _chunk(what, room, chunk_seed(seed, chunk), count, chunk, over, shrink, told)
            ended += 1
            told()
            outcome.counts = _total(rooms)
            if found is not None:
                outcome.findings.append(found)
                if tell is not None:
                    tell(found)
                if not keep_going:
                    return outcome
        chunk += 1
        left = None if left is None else left - count
    outcome.counts = _total(rooms)
    return outcome


class _Over(BaseException):
    """The time is over: not an Exception, which hypothesis would shrink."""


def _total(rooms: dict[str, Room]) -> Counter[str]:
    total: Counter[str] = Counter()
    for room in rooms.values():
        total += room.counts
    return total


def _chunk(
    what: str, room: Room, seed: int, count: int, chunk: int, over: Callable[[], bool],
    shrink: bool, tick: Callable[[], None],
) -> Finding | None:  # fmt: skip
    """One run of hypothesis. Of the last failing example, which is the smallest, a Finding."""
    last: list[Finding] = []
    counted: Counter[str] = Counter()  # what ran before the fault: shrinking is no more of it

    def example(data: st.DataObject) -> None:
        if over() and not last:
            raise _Over
        try:
            room.example(data)
        except Fault as found:
            if not last:
                counted.update(room.counts)
            last[:] = [
                Finding(what, found.kind, found.details, room.case(found), room.cell_text(), chunk)
            ]
            raise
        tick()

    phases = _SETTINGS.phases if shrink else (Phase.generate,)
    settings = hypothesis.settings(_SETTINGS, max_examples=count, phases=phases)
    run: Any = hypothesis.seed(seed)(settings(hypothesis.given(st.data())(example)))
    try:
        with _same_everywhere():
            run()
    except (Fault, _Over):
        pass
    except hypothesis.errors.Flaky as error:
        if not last and over():
            return None  # an example that ended before it began is not what hypothesis remembers
        if not last:
            raise
        one = last[0]
        note = f"{one.details}\nit did not fail each time: {type(error).__name__}"
        last = [Finding(one.what, one.kind, note, one.case, one.cell, one.chunk)]
    if last:
        room.counts.clear()
        room.counts.update(counted)
    return last[0] if last else None


@contextlib.contextmanager
def _same_everywhere() -> Iterator[None]:
    """Hypothesis also draws numbers and words that it finds in the modules loaded so far, so that
    one seed would mean other cells after another import. While this runs it finds none."""
    find = getattr(providers, "_get_local_constants", None)
    if find is None:  # of another version, which has no such thing or another name for it
        yield
        return
    nothing = type(find())()
    setattr(providers, find.__name__, lambda: nothing)
    providers.CONSTANTS_CACHE.cache.clear()
    try:
        yield
    finally:
        setattr(providers, find.__name__, find)
        providers.CONSTANTS_CACHE.cache.clear()


def rooms_of(
    what: Sequence[str], targets: Sequence[str], *, sanitize: bool = False
) -> dict[str, Room]:
    """A room for each thing to fuzz; ArgumentError for an unknown one."""
    rooms: dict[str, Room] = {}
    for name in what:
        if name == "cells":
            from derive.fuzz.cells_room import CellsRoom

            rooms[name] = CellsRoom(targets, sanitize=sanitize)
        elif name == "axes":
            from derive.fuzz.axes_grammar import cells_with_axes
            from derive.fuzz.cells_room import CellsRoom

            rooms[name] = CellsRoom(targets, sanitize=sanitize, drawn=cells_with_axes)
        elif name == "calls":
            from derive.fuzz.calls_room import CallsRoom

            rooms[name] = CallsRoom(sanitize=sanitize)
        elif name == "files":
            from derive.fuzz.files_room import FilesRoom

            rooms[name] = FilesRoom()
        elif name == "devices":
            from derive.fuzz.devices_room import DevicesRoom

            rooms[name] = DevicesRoom()
        elif name == "texts":
            from derive.fuzz.texts_room import TextsRoom

            rooms[name] = TextsRoom()
        else:
            raise ArgumentError(f"unknown {name!r}", facts=(f"known: {', '.join(WHAT)}",))
    return rooms
