"""What is reported: one `Record` for each contestant, mode, cell, shape and number of threads.

In: nothing.  Out: `Record`, `Report`, and their plain data for JSON.
Not here: measuring (contest.py), the table (table.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from derive.bench.shapes import Shape

#: Changes with the meaning of the fields.
SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Record:
    """Seconds are medians of a call. What is unknown or has no meaning is None.

    agrees: whether the results were right; without that there is no time. error: the worst, in
    units of what is allowed, and where. failure: why there are no results. ratio: time by the
    time of the fastest peer of the same dtype that is not derive. bound: seconds. saved: bytes a
    step and row. peak: bytes of memory that calls take beyond their arguments. processors:
    processor time by time.
    """

    cell: str
    shape: Shape
    threads: int
    mode: str
    contestant: str
    dtype: str
    ours: bool
    agrees: bool
    error: float | None = None
    where: str = ""
    failure: str = ""
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    processors: float | None = None
    flops: float | None = None
    of_peak: float | None = None
    bound: float | None = None
    of_bound: float | None = None
    ratio: float | None = None
    start: float | None = None
    saved: float | None = None
    peak: int | None = None

    def as_dict(self) -> dict[str, Any]:
        data = asdict(self)
        if data["error"] == float("inf"):
            data["error"] = None
        return data


@dataclass(frozen=True, slots=True)
class Report:
    """machines: rates, one for each number of threads. absent: {peer: why it took no part}.
    load: load averages of the machine before and after."""

    records: tuple[Record, ...]
    machines: tuple[Mapping[str, Any], ...]
    absent: Mapping[str, str]
    versions: Mapping[str, str]
    load: tuple[float | None, float | None]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "machines": [dict(machine) for machine in self.machines],
            "absent": dict(self.absent),
            "versions": dict(self.versions),
            "load": list(self.load),
            "seconds": self.seconds,
            "records": [record.as_dict() for record in self.records],
        }
