"""Report -> the rows of a table of verdicts.

In: a Report.  Out: a `Verification`: one row for each check, the worst of its rows, and all rows.
Not here: what is checked and how far off it may be (verify/).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derive.verify.report import Report, Row


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row, or the worst of `count` rows of a check."""

    check: str
    where: str
    observed: str
    allowed: str
    verdict: str
    bound: str
    count: int


@dataclass(frozen=True, slots=True)
class Verification:
    ok: bool
    seed: int
    ran: int
    not_run: int
    failed: int
    worst: tuple[Verdict, ...]
    rows: tuple[Verdict, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        if self.failed:
            text = f"{self.failed} of {self.ran} checks FAILED"
        else:
            text = f"{self.ran} checks passed" if self.ran else "no check ran"
        return text + (f", {self.not_run} not run" if self.not_run else "") + "."


def verification(report: Report) -> Verification:
    checks: dict[str, list[Row]] = {}
    for row in report.rows:
        checks.setdefault(row.check, []).append(row)
    return Verification(
        ok=report.ok,
        seed=report.seed,
        ran=len(report.rows) - len(report.not_run),
        not_run=len(report.not_run),
        failed=len(report.failures),
        worst=tuple(_verdict(max(rows, key=_badness), rows) for rows in checks.values()),
        rows=tuple(_verdict(row, (row,)) for row in report.rows),
        notes=report.notes,
    )


def _verdict(row: Row, rows: Sequence[Row]) -> Verdict:
    verdict = "not run" if row.ok is None else "ok" if row.ok else "FAILED"
    observed, allowed = _number(row.observed), _number(row.allowed)
    return Verdict(row.check, row.where, observed, allowed, verdict, row.bound, len(rows))


def _badness(row: Row) -> tuple[bool, bool, float]:
    """Failures first, then what did not run, then what uses most of its bound."""
    used = row.observed / row.allowed if row.observed and row.allowed else 0.0
    return row.ok is False, row.ok is None, used if math.isfinite(used) else math.inf


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    return f"{value:g}" if value == int(value) and abs(value) < 1e6 else f"{value:.1e}"
