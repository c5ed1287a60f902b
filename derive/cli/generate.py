"""`derive generate`: verified files in a folder, or what differs from what is there.

In: CELLs, targets, a folder.  Out: files; what was written on standard output.
Not here: what is written (generated_files.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from derive.cli import console, many, report
from derive.cli.select import cells_of, targets_of

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.cli.generated_files import Result
    from derive.verification import Report


def run(texts: Sequence[str], target: str, out: str, check: bool, jobs: int | None) -> int:
    targets = targets_of(target)
    cells = cells_of(texts)
    for cell in cells:
        _mention(cell)
    from derive.cli import generated_files

    def verify(files: Mapping[Cell, Mapping[str, str]]) -> list[Report]:
        reports = many.each(
            "verifying", _verified, list(files.items()), lambda item: item[0].name, jobs
        )
        console.say(report.summary(reports))
        return reports

    result = generated_files.generate(
        cells, targets, out, check=check, complete=not texts, verify=verify
    )
    if check:
        return _drift(result, out)
    for path in result.written:
        console.result(f"{out}/{path}")
    console.say(f"{len(result.written)} files written, {len(result.same)} were right already")
    for path in result.stale:
        console.say(f"{out}/{path} is of no cell that is generated any more")
    return 0


def _verified(item: tuple[Cell, Mapping[str, str]]) -> Report:
    from derive.cli.generated_files import verified

    return verified(*item)


def _mention(cell: Cell) -> None:
    """What is legal and worth a second look."""
    if cell.unused:
        console.say(f"{cell.name}: nothing uses {', '.join(cell.unused)}")
    for note in cell.notes:
        console.say(f"{cell.name}: {note}")


def _drift(result: Result, out: str) -> int:
    for difference in result.differences:
        console.result(f"{difference.what}: {out}/{difference.path}")
        for line in difference.diff:
            console.result(f"    {line}")
    if result.differences:
        console.say(f"{len(result.differences)} files differ; derive generate --out {out}")
        return 1
    console.say(f"{out} is as generated")
    return 0
