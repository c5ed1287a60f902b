"""`derive show`: one cell, any stage, any format.

In: a CELL, stages, a format, widths and shapes.  Out: text on standard output.
Not here: what is shown and how (inspect/).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from derive.cli import console
from derive.cli.select import cell_of, size_of
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.inspect.facts.roofline import Shape
    from derive.machine.probe import Machine
    from derive.verification import Report


def run(
    text: str,
    stages: Sequence[str],
    format: str,
    sizes: Sequence[str],
    *,
    verify: bool = False,
    open_: bool = False,
    shapes: Sequence[str] = (),
    threads: int = 1,
    measure: bool = False,
    notation: str = "step",
) -> int:
    from derive.inspect import chosen_stages, show, usual

    names = [name.strip() for part in stages for name in part.split(",")]
    chosen = chosen_stages(names or usual(format, notation))
    if open_ and format != "html":
        raise ArgumentError("--open is for pages", hint="--format html --open")
    if shapes and "cost" not in chosen:
        raise ArgumentError("--shapes is for the cost", hint="--stage cost")
    if not shapes and (measure or threads != 1):
        option = "--measure" if measure else "--threads"
        raise ArgumentError(f"{option} says nothing without a shape", hint=_EXAMPLE)
    cell = cell_of(text)
    given = dict(map(size_of, sizes))
    at = tuple(map(_shape, dict.fromkeys(shapes)))
    machine = _machine(threads, measure) if at else None
    report = _verified(cell) if verify else None
    # A page for which no stage is named is kept small.
    wanted = chosen if names else ()
    shown = show(cell, wanted, format, given, report, shapes=at, machine=machine, notation=notation)
    if open_:
        _opened(cell.name, shown)
    else:
        console.result(shown)
    if report is None:
        return 0
    from derive.cli.report import status

    return status((report,))


_EXAMPLE = "--shapes 100,32,128,128"


def _shape(text: str) -> Shape:
    from derive.bench.shapes import shapes_of

    (shape,) = shapes_of((text,), quick=False)
    return shape.T, shape.B, shape.I, shape.H


def _machine(threads: int, again: bool) -> Machine:
    from derive.machine.known import is_known, machine

    if again or not is_known(threads):
        console.say("measuring this machine; the next time its rates are known")
    return machine(threads, again=again)


def _verified(cell: Cell) -> Report:
    """The quick checks, with a progress bar on a terminal."""
    from contextlib import ExitStack, suppress
    from functools import partial

    from derive import pipeline, targets
    from derive.cli import apart
    from derive.errors import DeriveError
    from derive.verification import verify

    with suppress(DeriveError):  # a row of the report; what is emitted here is shown below
        for target in targets.usual():
            pipeline.emit(cell, target)
    with ExitStack() as shown:
        bars: list[console.Tick] = []

        def progress(what: str, done: int, total: int) -> None:
            if not bars:
                bars.append(shown.enter_context(console.progress("verifying", total)))
            bars[0](what)

        return apart.verified(cell.name, 0, partial(verify, cell, quick=True), progress=progress)


def _opened(name: str, page: str) -> None:
    """The page as a file of its own, in the browser that the system prefers."""
    import tempfile
    import webbrowser
    from pathlib import Path

    path = Path(tempfile.mkdtemp(prefix="derive-")) / f"{name}.html"
    path.write_text(page, encoding="utf-8")
    console.say(str(path))
    if not webbrowser.open(path.as_uri()):
        console.say("no browser answered; open the file by hand")
