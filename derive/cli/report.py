"""Several verification reports as one table, and the exit status that they come to.

In: Reports.  Out: text; a status; what cannot be built, on standard error.
Not here: one report in full (verification/report.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from derive.cli import console

if TYPE_CHECKING:
    from derive.verification import Report, Row

_COLUMNS = ("cell", "verdict", "checks", "not run", "nearest to its bound", "observed", "allowed")


def summary(reports: Sequence[Report]) -> str:
    """One line a cell: the row that fails worst, or that uses most of its bound."""
    return console.table(_COLUMNS, [_line(report) for report in reports], numeric=(2, 3, 5, 6))


def status(reports: Sequence[Report]) -> int:
    """1 where a check failed; else 2 where a kernel that was asked for cannot be built on this
    machine, which is printed; else 0."""
    if any(report.failed for report in reports):
        return 1
    missing = [row for report in reports for row in report.not_built]
    if not missing:
        return 0
    kernels = ", ".join(dict.fromkeys(row.where for row in missing))
    console.say(f"NOT BUILT, and so not verified: {kernels}")
    for why in dict.fromkeys(row.bound.partition("\n")[0] for row in missing):
        console.say(f"  {why}")
    console.say("  hint: what needs no compiler: --target numpy")
    return 2


def _line(report: Report) -> tuple[str, ...]:
    verdict = "FAILED" if report.failed else "NOT BUILT" if report.not_built else "ok"
    row = max(report.failures or report.rows, key=_use, default=None)
    ran = sum(row.ok is not None for row in report.rows)
    cells = (report.name, verdict, str(ran), str(len(report.rows) - ran))
    if row is None:
        return (*cells, "", "", "")
    return (*cells, f"{row.check}, {row.where}", _number(row.observed), _number(row.allowed))


def _use(row: Row) -> float:
    if row.observed is None or not row.allowed:
        return 0.0
    return row.observed / row.allowed


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
