"""`derive race`: cells trained on the same tasks, and a verdict.

In: CELLs and options.  Out: tables on standard output; race.json, race.html, curves.svg and a page
for each cell in a folder; the exit status.
Not here: trials and verdicts (race/).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from derive import targets
from derive.cli import console
from derive.cli.select import cell_of, size_of
from derive.errors import ArgumentError
from derive.kernel.tune.store import processors

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.race.run import Race, Results


def run(
    texts: Sequence[str], *, tasks: str, seeds: int, match: str, width: int, params: int | None,
    sizes: Sequence[str], steps: int | None, rows: int | None, rates: str, target: str, out: str,
    resume: bool, executor: str, as_json: bool, jobs: int | None, fixed: Sequence[str],
) -> int:  # fmt: skip
    from derive.race import report
    from derive.race import run as races

    cells = _labelled(texts)
    race = races.Race(
        cells, tuple(dict.fromkeys(name.strip() for name in tasks.split(","))), seeds, params,
        width, match == "params", steps, rows, tuple(size_of(text) for text in sizes),
        _rates(rates) or races.RATES, targets.row(target).name, tuple(map(_fixed, fixed)),
    )  # fmt: skip
    folder = Path(out)
    for each in races.trials_of(race):  # what cannot be is told before anything is trained
        console.say(f"{each.label}, {each.task}: {' '.join(f'{d}={n}' for d, n in each.sizes)}")
    for line in races.unmatched(race):
        console.say(line)
    try:
        with console.progress("racing", races.count_of(race)) as tick:
            results = races.run(
                race, folder, resume=resume, executor=executor, jobs=jobs or processors(), tick=tick
            )
    except KeyboardInterrupt:
        console.say(f"stopped; {folder} holds the trials that were done: go on with --resume")
        raise
    written = _written(race, results, folder)
    found = report.as_dict(race, results)
    console.result(report.to_json(race, results) if as_json else report.text(found))
    console.say(f"written: {', '.join(str(path) for path in written)}")
    return 0


def _labelled(texts: Sequence[str]) -> dict[str, Cell]:
    """By the cell's name, or by what was typed where two have one name."""
    found = [(text, cell_of(text)) for text in texts]
    names = [cell.name for _, cell in found]
    labels = [cell.name if names.count(cell.name) == 1 else text for text, cell in found]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ArgumentError(f"{twice} stands twice", hint="name every cell once")
    return dict(zip(labels, (cell for _, cell in found), strict=True))


def _fixed(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not sign or not name.strip() or not path:
        raise ArgumentError(f"--fixed {text} names no array and file", hint="--fixed A=A.npy")
    return name.strip(), path


def _rates(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = (-1.0,)
    if any(not 0 < rate < 1e6 for rate in found):
        raise ArgumentError(f"--rates are positive numbers, not {text}", hint="--rates 0.01,0.001")
    return found


def _written(race: Race, results: Results, folder: Path) -> list[Path]:
    """The reports, all of them complete before the first one is replaced."""
    from derive import inspect
    from derive.race import report
    from derive.race.files import write

    pages = {label: f"cell-{k}.html" for k, label in enumerate(race.cells)}
    texts = {"race.json": report.to_json(race, results)}
    for label, cell in race.cells.items():
        texts[pages[label]] = inspect.show(cell, format="html")
    try:
        report.check_plot()
        drawn = True
    except ArgumentError as error:
        drawn = False
        console.say(f"no curves: {error}")
    texts["race.html"] = report.page(race, results, pages, drawn=drawn)
    if drawn:
        curves = io.StringIO()
        report.plot(race, results, curves)
        texts["curves.svg"] = curves.getvalue()
    for name, text in texts.items():
        write(folder / name, text)
    return [folder / name for name in texts]
