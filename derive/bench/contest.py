"""One cell, one shape: every contestant is checked against the others, then timed in turn.

In: a Task, hosts, an Effort.  Out: Records, and what the cell needs; with the measured Machine,
Records with rates.
Not here: calling contestants (host.py), processes (worker.py), the contestants (peers/).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from derive.bench.agree import THIN, allowed, allowed_of_thin, worst
from derive.bench.bound import Bound, bound
from derive.bench.host import Entrant, Failed, First, Host
from derive.bench.record import Record
from derive.bench.task import BYTES, MODES, Results, Task
from derive.kernel.tune.clock import Effort, Times, interleaved
from derive.machine.probe import Machine


@dataclass(slots=True)
class _Entry:
    """A contestant in one mode: what its first calls took, how right it was, or why it failed."""

    entrant: Entrant
    host: Host
    number: int
    mode: str
    first: First | None = None
    error: float | None = None
    where: str = ""
    failure: str = ""

    @property
    def good(self) -> bool:
        return not self.failure and self.error is not None and self.error <= 1

    def turn(self) -> tuple[float, float]:
        if self.failure:
            return math.nan, math.nan
        try:
            return self.host.sample(self.number, self.mode)
        except Failed as error:
            self.failure = str(error)
            return math.nan, math.nan


def contest(
    label: str,
    task: Task,
    hosts: Sequence[Host],
    effort: Effort,
    modes: Sequence[str] = MODES,
) -> tuple[list[Record], Bound]:
    """label: the cell as the user called it."""
    limits: dict[str, dict[str, float]] = {}
    exact, limits["float32"] = allowed(task)
    need = bound(task)
    entries: list[_Entry] = []
    records: list[Record] = []
    for host in hosts:
        entrants, failures = host.enter(task.cell, task.shape, task.threads)
        for name, why in failures.items():
            one = Entrant(name, "float32", name.startswith("derive"), tuple(modes))
            entries += [_Entry(one, host, 0, mode, failure=why) for mode in modes]
        for number, one in enumerate(entrants):
            for mode in (mode for mode in modes if mode in one.modes):
                if one.dtype in THIN and one.dtype not in limits:
                    limits[one.dtype] = allowed_of_thin(task, exact, one.dtype)
                most = limits.get(one.dtype, limits["float32"])
                entries.append(_first(_Entry(one, host, number, mode), exact, most))
    for mode in modes:
        mine = [entry for entry in entries if entry.mode == mode]
        good = [entry for entry in mine if entry.good]
        times = interleaved([entry.turn for entry in good], effort)
        timed = dict(zip(map(id, good), times, strict=True))
        records += _with_ratios(
            [_record(label, task, entry, timed.get(id(entry))) for entry in mine]
        )
    for host in hosts:
        host.leave()
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
        of_peak=flops / machine.peak["float64" if record.dtype == "float64" else "float32"],
        of_bound=limit / record.seconds,
    )


def _first(entry: _Entry, exact: Results, limits: dict[str, float]) -> _Entry:
    """Runs it, and compares what it found."""
    try:
        entry.first = entry.host.first(entry.number, entry.mode)
    except Failed as error:
        entry.failure = str(error)
        return entry
    entry.error, entry.where = worst(entry.first.results, exact, limits)
    entry.first = replace(entry.first, results={})  # they may be large
    return entry


def _record(label: str, task: Task, entry: _Entry, times: Times | None) -> Record:
    one, first = entry.entrant, entry.first
    saved = first.saved if first is not None else None
    record = Record(
        cell=label, shape=task.shape, threads=task.threads, mode=entry.mode, contestant=one.name,
        dtype=one.dtype, ours=one.ours, agrees=entry.good, error=entry.error, where=entry.where,
        failure=entry.failure,
        start=first.start if first is not None else None,
        peak=first.peak if first is not None else None,
        saved=saved * BYTES[one.dtype] if saved is not None else None,
    )  # fmt: skip
    if times is None or entry.failure:
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
