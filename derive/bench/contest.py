"""One cell, one shape: everybody enters, is checked, and is then timed in turn.

In: a Task, an Effort.  Out: Records, and what the cell needs; with the measured Machine, Records
with rates.
Not here: processes (worker.py), the contestants (peers/).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.bench.agree import allowed, worst
from derive.bench.bound import Bound, bound
from derive.bench.machine import Machine
from derive.bench.measure import Effort, Times, interleaved
from derive.bench.peers import Peer
from derive.bench.record import Record
from derive.bench.task import MODES, Contestant, Results, Task

_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A contestant in one mode, with what its first call took and how right it was."""

    contestant: Contestant
    function: Callable[[], Any]
    start: float
    peak: int | None
    error: float
    where: str


def contest(
    label: str,
    task: Task,
    peers: Sequence[Peer],
    effort: Effort,
    modes: Sequence[str] = MODES,
) -> tuple[list[Record], Bound]:
    """label: the cell as the user called it."""
    contestants = [one for peer in peers for one in peer.enter(task)]
    exact, limits = allowed(task)
    need = bound(task)
    records: list[Record] = []
    for mode in modes:
        entries = [
            _first_call(one, function, exact, limits)
            for one in contestants
            if (function := one.mode(mode)) is not None
        ]
        good = [entry for entry in entries if entry.error <= 1]
        times = interleaved([entry.function for entry in good], effort)
        timed = dict(zip(map(id, good), times, strict=True))
        found = [_record(label, task, mode, entry, timed.get(id(entry)), need) for entry in entries]
        records += _with_ratios(found)
    return records, need


def rated(record: Record, need: Bound, machine: Machine) -> Record:
    """With the rates that follow from what the machine can do."""
    limit = need.seconds(record.mode, machine, record.dtype)
    if record.seconds is None:
        return replace(record, bound=limit)
    flops = need.operations(record.mode) / record.seconds
    return replace(
        record,
        bound=limit,
        flops=flops,
        of_peak=flops / machine.peak[record.dtype],
        of_bound=limit / record.seconds,
    )


def _first_call(
    one: Contestant, function: Callable[[], Any], exact: Results, limits: dict[str, float]
) -> _Entry:
    before = _reset_peak()
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    peak = _peak()
    error, where = worst(one.read(result), exact, limits)
    taken = max(peak - before, 0) if peak is not None and before is not None else None
    return _Entry(one, function, one.start + seconds, taken, error, where)


def _record(
    label: str, task: Task, mode: str, entry: _Entry, times: Times | None, need: Bound
) -> Record:
    one = entry.contestant
    saved = one.saved if one.saved is not None else need.saved if one.ours else None
    record = Record(
        cell=label, shape=task.shape, threads=task.threads, mode=mode, contestant=one.name,
        dtype=one.dtype, ours=one.ours, agrees=times is not None, error=entry.error,
        where=entry.where, start=entry.start, peak=entry.peak,
        saved=saved * _BYTES[one.dtype] if saved is not None and mode == "train" else None,
    )  # fmt: skip
    if times is None:
        return record
    return replace(
        record, seconds=times.median, low=times.low, high=times.high, rounds=times.rounds,
        processors=times.processors,
    )  # fmt: skip


def _with_ratios(records: list[Record]) -> list[Record]:
    """Each time by that of the fastest peer of its dtype; derive itself is no peer."""
    fastest: dict[str, float] = {}
    for record in records:
        if record.seconds is not None and not record.ours:
            known = fastest.get(record.dtype, record.seconds)
            fastest[record.dtype] = min(known, record.seconds)
    return [
        replace(record, ratio=record.seconds / fastest[record.dtype])
        if record.seconds is not None and record.dtype in fastest
        else record
        for record in records
    ]


# --- memory, where the system is Linux ------------------------------------------------------


def _reset_peak() -> int | None:
    """Bytes resident now; from here on the peak counts anew."""
    with contextlib.suppress(OSError):
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        return _status("VmRSS:")
    return None


def _peak() -> int | None:
    return _status("VmHWM:")


def _status(key: str) -> int | None:
    if not os.path.exists("/proc/self/status"):
        return None
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(key):
                return 1024 * int(line.split()[1])
    return None
