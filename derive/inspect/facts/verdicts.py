"""Report -> the rows of a table of verdicts.

In: a Report.  Out: a `Verification`: one row for each check, the worst of its rows, and all rows.
Not here: what is checked and how far off it may be (verification/).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derive.verification.report import Report, Row


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
    summary: str
    worst: tuple[Verdict, ...]
    rows: tuple[Verdict, ...]
    notes: tuple[str, ...]


def verification(report: Report) -> Verification:
    checks: dict[str, list[Row]] = {}
    for row in report.rows:
        checks.setdefault(row.check, []).append(row)
    return Verification(
        ok=report.ok,
        seed=report.seed,
        summary=f"{report.summary}.",
        worst=tuple(_verdict(max(rows, key=_badness), rows) for rows in checks.values()),
        rows=tuple(_verdict(row, (row,)) for row in report.rows),
        notes=report.notes,
    )


def _verdict(row: Row, rows: Sequence[Row]) -> Verdict:
    from derive.verification.report import verdict  # it needs NumPy, this file does not

    observed, allowed = _number(row.observed), _number(row.allowed)
    return Verdict(row.check, row.where, observed, allowed, verdict(row), row.bound, len(rows))


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
