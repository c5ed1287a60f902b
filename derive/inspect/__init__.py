"""Looking at a cell: every stage of the pipeline, in every format.

In: a Cell, names of stages, a format.  Out: text.
Not here: what the command line looks like (cli/commands.py).

    print(show(cell, stages=("gradient", "schedule"), format="latex"))

A format is one module with a function for each stage, in a table `SECTIONS`, and a function
`document` that joins them. One more format is one more line in `FORMATS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from derive.errors import ArgumentError
from derive.targets import WithTargets, names

if TYPE_CHECKING:
    from derive.cell import Cell
    from derive.inspect.facts.roofline import Shape
    from derive.inspect.facts.view import View
    from derive.machine.probe import Machine
    from derive.verification.report import Report

#: Stage -> what it shows. The order is that of the pipeline.
STAGES: Mapping[str, str] = WithTargets({
    "cell": "the equations as the author wrote them",
    "graph": "the data flow of a step, and the way of the states through it",
    "shapes": "the shape of every array, of one row and of a call",
    "structure": "what kind of recurrence it is: linear or not, bounds, the inverse, overflows",
    "program": "one step as a Program: one operation a line, with shapes",
    "gradient": "the derived gradient",
    "chain": "the chain rule under each line of the gradient",
    "tangent": "the cell of directional derivatives",
    "second": "the second derivative: the derived gradient of the tangent",
    "simplified": "the forward and the backward Program of a step, simplified",
    "schedule": "what runs before, during and after the loop; what is kept",
    "cost": "parameters, operations and memory; with shapes, what binds on this machine",
}, lambda target: target.shows)  # fmt: skip
#: What is shown where no stage is named.
USUAL = ("cell", "graph", "shapes", "gradient", "chain", "schedule", "cost")
#: What a page holds where no stage is named, with the targets; its gradient has the chain rule
#: folded in.
PAGE = ("cell", "graph", "shapes", "structure", "gradient", "schedule", "cost")
ALL = "all"

#: Format -> module.
FORMATS: Mapping[str, str] = {
    "text": "derive.inspect.text.report",
    "latex": "derive.inspect.latex.report",
    "json": "derive.inspect.json",
    "html": "derive.inspect.html.report",
}

#: Notation -> what it writes.
NOTATIONS: Mapping[str, str] = {
    "step": "one step as its author wrote it: h is the previous value, h' the next",
    "time": "h_t and h_{t-1}, and gradients of parameters as sums over t, as papers write",
}
#: Format -> module with the sections that the notation of time has.
IN_TIME: Mapping[str, str] = {
    "text": "derive.inspect.text.in_time",
    "latex": "derive.inspect.latex.in_time",
    "html": "derive.inspect.html.in_time",
}
TIMED = ("cell", "gradient")


def show(
    cell: Cell,
    stages: Sequence[str] = (),
    format: str = "text",
    sizes: Mapping[str, int] | None = None,
    report: Report | None = None,
    shapes: Sequence[Shape] = (),
    machine: Machine | None = None,
    notation: str = "step",
) -> str:
    """The given stages of a cell, the usual ones by default.

    sizes: {width name: number} for the numbers of a cost.  report: shown behind the stages.
    shapes: (T, B, I, H) at which the cost says what binds.  machine: its rates; measured for
    one thread, or remembered, where there are shapes and no machine is given.
    notation: "step", or "time" for the cell and its gradient as papers write them; a page of
    the first has a switch to the second.  A page for which no stage is named leaves generated text
    out that would make it larger than 300 kB, and says so.
    """
    if notation not in NOTATIONS:
        facts = (f"known: {', '.join(NOTATIONS)}",)
        raise ArgumentError(f"unknown notation {notation!r}", facts=facts)
    if format not in FORMATS:
        raise ArgumentError(f"unknown format {format!r}", facts=(f"known: {', '.join(FORMATS)}",))
    from derive.inspect.facts.cost import widths
    from derive.inspect.facts.view import View

    known = widths(cell)
    for name in sizes or {}:
        if name not in known:
            raise ArgumentError(
                f"{cell.name} has no width {name!r}",
                facts=(f"its widths: {', '.join(known) or 'none'}",),
            )
    if shapes and machine is None:
        from derive.machine.known import machine as measured

        machine = measured()
    view = View(cell, tuple((sizes or {}).items()), report, tuple(shapes), machine)
    module = importlib.import_module(FORMATS[format])
    chosen = chosen_stages(stages or usual(format, notation))
    sections = module.SECTIONS
    if notation == "time":
        sections = _in_time(format, chosen)
    made = {stage: sections[stage](view) for stage in chosen}
    if format == "html" and notation == "step":
        from derive.inspect.html.both import in_both

        made = in_both(view, made)
        if not stages:
            return str(module.fitted(view, made))
    text: str = module.document(view, made)
    return text


def _in_time(format: str, chosen: Sequence[str]) -> Mapping[str, Callable[[View], Any]]:
    """The sections in the notation of time; an error for what has none."""
    if format not in IN_TIME:
        raise ArgumentError(
            f"{format} has one notation", facts=(f"with the other: {', '.join(IN_TIME)}",)
        )
    for stage in chosen:
        if stage not in TIMED:
            raise ArgumentError(
                f"the stage {stage} is not written in the notation of time",
                hint=f"--stage {','.join(TIMED)}",
            )
    sections: Mapping[str, Callable[[View], Any]]
    sections = importlib.import_module(IN_TIME[format]).SECTIONS
    return sections


def usual(format: str, notation: str = "step") -> tuple[str, ...]:
    """The stages of a format where none is named."""
    if notation == "time":
        return TIMED
    return (*PAGE, *names()) if format == "html" else USUAL


def chosen_stages(named: Sequence[str]) -> tuple[str, ...]:
    """The stages that names mean, each once, in the order of the pipeline."""
    for name in named:
        if name not in (*STAGES, ALL):
            raise ArgumentError(
                f"unknown stage {name!r}", facts=(f"known: {', '.join((*STAGES, ALL))}",)
            )
    return tuple(STAGES) if ALL in named else tuple(name for name in STAGES if name in named)
