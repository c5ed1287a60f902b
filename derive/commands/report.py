"""Several verification reports as one table.

In: Reports.  Out: text; JSON data.
Not here: one report in full (verify/report.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from derive.commands.console import table

if TYPE_CHECKING:
    from derive.verify import Report, Row

_COLUMNS = ("cell", "verdict", "checks", "not run", "nearest to its bound", "observed", "allowed")


def summary(reports: Sequence[Report]) -> str:
    """One line a cell: the row that fails worst, or that uses most of its bound."""
    return table(_COLUMNS, [_line(report) for report in reports], numeric=(2, 3, 5, 6))


def _line(report: Report) -> tuple[str, ...]:
    verdict = "ok" if report.ok else "FAILED"
    row = max(report.failures or report.rows, key=_use, default=None)
    ran = len(report.rows) - len(report.not_run)
    cells = (report.name, verdict, str(ran), str(len(report.not_run)))
    if row is None:
        return (*cells, "", "", "")
    return (*cells, f"{row.check}, {row.where}", _number(row.observed), _number(row.allowed))


def _use(row: Row) -> float:
    if row.observed is None or not row.allowed:
        return 0.0
    return row.observed / row.allowed


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
