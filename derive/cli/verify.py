"""`derive verify`: every check of every given cell.

In: CELLs, a folder of generated files.  Out: a table, or JSON, on standard output.
Not here: the checks (verification/).

Files of a cell that lie in the folder and differ from what would be generated now are checked
as they stand, so that an edit by hand is checked too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from derive.catalogue.entries import ENTRIES, SAMPLE
from derive.cli import apart, console, many, report
from derive.cli.select import cells_of, targets_of
from derive.errors import DeriveError

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.verification import Report

_Item = tuple["Cell", tuple[str, ...], str, bool, int]


def run(
    texts: Sequence[str], targets: str, as_json: bool, folder: str, quick: bool, everything: bool,
    seed: int, jobs: int | None,
) -> int:  # fmt: skip
    chosen = targets_of(targets)
    if quick and not (texts or everything):
        texts = SAMPLE
        console.say(
            f"{len(SAMPLE)} of {len(ENTRIES)} entries of the catalogue; "
            "derive verify --quick --all takes all of them"
        )
    items = [(cell, chosen, folder, quick, seed) for cell in cells_of(texts)]
    found = many.each("verifying", _verified, items, lambda item: item[0].name, jobs)
    reports = [one for pair in found for one in pair]
    ok = all(one.ok for one in reports)
    if as_json:
        data = {"ok": ok, "reports": [one.as_dict() for one in reports]}
        console.result(json.dumps(data, indent=2))
        return report.status(reports)
    if len(reports) > 1:
        console.result(report.summary(reports))
    for one in reports:
        if len(reports) == 1 or not one.ok:
            console.result(("\n" if len(reports) > 1 else "") + one.text())
    return report.status(reports)


#: Processor time of files that were edited: they may never end.
_SECONDS = 900.0


def functions(as_json: bool) -> int:
    """The largest error of each elementwise function of the header, at every vector width, and of
    each function and derivative as kernels of both targets compute it."""
    from derive.verification import accuracy, ulp

    count = (len(ulp.EXACT) + len(accuracy.TEXTS)) * len(ulp.REALS)
    with console.progress("measuring", count) as tick:
        found = ulp.figures(tick=tick)
        in_kernels = accuracy.figures(tick=tick)
    ok = all(f.error <= ulp.allowed(f.function) for f in found) and all(f.ok for f in in_kernels)
    if as_json:
        data = {
            "ok": ok,
            "allowed": {name: ulp.allowed(name) for name in ulp.EXACT},
            "functions": [f.as_dict() for f in found],
            "allowed_in_kernels": accuracy.ALLOWED,
            "in_kernels": [f.as_dict() for f in in_kernels],
        }
        console.result(json.dumps(data, indent=2))
    else:
        console.result(f"{ulp.text(found)}\n\n{accuracy.text(in_kernels)}")
    return 0 if ok else 1


def _verified(item: _Item) -> tuple[Report, ...]:
    from dataclasses import replace

    from derive.cli.generated_files import emitted, on_disk
    from derive.pipeline import emit
    from derive.verification import verify, verify_files

    cell, targets, folder, quick, seed = item
    with suppress(DeriveError):  # a row of the report; what is emitted here is there after a fork
        for target in targets:
            emit(cell, target)
    options: dict[str, Any] = {"quick": quick, "seed": seed}
    reports = [apart.verified(cell.name, seed, partial(verify, cell, targets=targets, **options))]
    there = on_disk(cell, folder)
    if there is not None:
        there = {path: text for path, text in there.items() if path.partition("/")[0] in targets}
        targets = tuple(dict.fromkeys(path.partition("/")[0] for path in there))
        wanted = emitted(cell, targets)
        if there != wanted:
            changed = [path for path in wanted if there.get(path) != wanted[path]]
            of_files = partial(verify_files, cell, there, **options)
            edited = apart.verified(cell.name, seed, of_files, seconds=_SECONDS)
            note = f"as it stands in {folder}, which differs in {', '.join(changed)}"
            reports.append(
                replace(edited, name=f"{cell.name} ({folder})", notes=(*edited.notes, note))
            )
    return tuple(reports)
