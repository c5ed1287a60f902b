"""Report: every verdict as a row with what was observed and what was allowed.

In: numbers from the checks.  Out: `Row`, `Report`; text for people, plain data for programs.
Not here: what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from derive.display import Displayed

#: Both sides of a comparison round, and a kernel may use other formulas than the Program does:
#: a result may be this many times as far off as the running error bound of one computation.
SAFETY = 4.0
#: The check of rows about a kernel that could not be made.
BUILD = "build"


@dataclass(frozen=True, slots=True)
class Row:
    """One verdict. `where`: the target and the array; `bound`: where `allowed` comes from.

    ok is None where the check could not run; `observed` and `allowed` are None then, and
    `bound` says why. Such a row of the check `build` is a kernel that was asked for and that this
    machine cannot build.
    """

    check: str
    where: str
    observed: float | None
    allowed: float | None
    ok: bool | None
    bound: str


@dataclass(frozen=True, slots=True)
class Report(Displayed):
    """All verdicts about one cell. `notes` says what a reader should know about them."""

    name: str
    seed: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Every check that ran passed, some ran, and every kernel asked for was built."""
        return not self.failed and not self.not_built

    @property
    def failed(self) -> bool:
        """A check failed, or there was none although everything could be built."""
        nothing = not self.not_built and not any(row.ok for row in self.rows)
        return bool(self.failures) or nothing

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.ok is False)

    @property
    def not_run(self) -> tuple[Row, ...]:
        """Checks that do not apply to this cell."""
        return tuple(row for row in self.rows if row.ok is None and row.check != BUILD)

    @property
    def not_built(self) -> tuple[Row, ...]:
        """Kernels that were asked for and that this machine cannot build: nothing is known of
        them. `where` is the target and the dtype, `bound` says why."""
        return tuple(row for row in self.rows if row.ok is None and row.check == BUILD)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that JSON has no word for is its text."""

        def number(value: float | None) -> float | str | None:
            return value if value is None or np.isfinite(value) else str(value)

        rows = [
            {**asdict(row), "observed": number(row.observed), "allowed": number(row.allowed)}
            for row in self.rows
        ]
        return {
            "name": self.name,
            "ok": self.ok,
            "seed": self.seed,
            "rows": rows,
            "notes": list(self.notes),
        }

    def text(self, every_row: bool = False) -> str:
        """A table: for each check and target the row nearest to its bound, and every failure."""
        shown = self.rows if every_row else _summary(self.rows)
        cells = [("check", "where", "observed", "allowed", "")]
        cells += [
            (row.check, row.where, _number(row.observed), _number(row.allowed), verdict(row))
            for row in shown
        ]
        wide = [max(len(cell[k]) for cell in cells) for k in range(4)]
        lines = [
            f"{check:<{wide[0]}}  {where:<{wide[1]}}  {observed:>{wide[2]}}  {allowed:>{wide[3]}}"
            f"  {verdict}".rstrip()
            for check, where, observed, allowed, verdict in cells
        ]
        bounds = dict.fromkeys(f"{row.check}: {row.bound}" for row in shown)
        lines += ["", "where the bounds come from", *(f"  {bound}" for bound in bounds)]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join([*lines, "", f"{self.name}: {self.summary} (seed {self.seed})"])

    @property
    def summary(self) -> str:
        """The verdict in some words."""
        ran = sum(row.ok is not None for row in self.rows)
        verdict = f"{len(self.failures)} of {ran} checks FAILED" if self.failures else ""
        verdict = verdict or (f"{ran} checks passed" if ran else "no check ran")
        if self.not_run:
            verdict += f", {len(self.not_run)} not run"
        if self.not_built:
            verdict += f", NOT BUILT: {', '.join(row.where for row in self.not_built)}"
        return verdict

    def __str__(self) -> str:
        return self.text()


def _summary(rows: Iterable[Row]) -> list[Row]:
    kept: dict[tuple[str, str], Row] = {}
    result: list[Row] = []
    for row in rows:
        key = (row.check, row.where.partition(":")[0])
        if row.ok is not True:
            result.append(row)
        elif key not in kept or _use(row) > _use(kept[key]):
            kept[key] = row
    return [*kept.values(), *result]


def _use(row: Row) -> float:
    """How much of its bound a passing row uses."""
    return row.observed / row.allowed if row.observed and row.allowed else 0.0


def verdict(row: Row) -> str:
    if row.ok is None:
        return "NOT BUILT" if row.check == BUILD else "not run"
    return "ok" if row.ok else "FAILED"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if not np.isfinite(value):
        return str(value)
    return f"{value:g}" if value == int(value) and abs(value) < 1e6 else f"{value:.1e}"


# --- rows -----------------------------------------------------------------------------------


def measured(check: str, where: str, observed: float, allowed: float, bound: str) -> Row:
    """A row about one number. NaN on either side is a failure, and so is an infinite bound."""
    ok = bool(np.isfinite(allowed) and observed <= allowed)
    return Row(check, where, float(observed), float(allowed), ok, bound)


def not_run(check: str, where: str, why: str) -> Row:
    return Row(check, where, None, None, None, why)


def compared(
    check: str, where: str, got: Any, wanted: Any, error: Any, unit: float, bound: str
) -> Row:
    """A row about two arrays, element by element: |got - wanted| <= SAFETY * unit * error.

    error: the running error bound of rounding.py, in units of roundoff; unit: that roundoff.
    The row shows the element that uses most of its bound, relative to the largest of `wanted`.
    """
    got, wanted, error = np.asarray(got), np.asarray(wanted), np.asarray(error)
    if got.shape != wanted.shape:
        return Row(check, where, np.inf, 0.0, False, f"shape {got.shape}, not {wanted.shape}")
    if not got.size:
        return measured(check, where, 0.0, 0.0, bound)
    tiny = np.finfo(np.float32 if unit > 1e-10 else np.float64).tiny
    with np.errstate(all="ignore"):
        off = abs(got.astype(np.float64) - wanted)
        limit = SAFETY * unit * error + tiny
        use = off / limit
        worst = np.unravel_index(np.argmax(np.where(np.isnan(use), np.inf, use)), off.shape)
        scale = float(np.max(abs(wanted))) or 1.0
    return measured(check, where, off[worst] / scale, limit[worst] / scale, bound)
