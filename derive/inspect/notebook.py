"""What a notebook shows of a Cell, a Gradient, a Schedule, a Report and a Structure.

In: one of the five.  Out: a fragment of HTML, or LaTeX that MathJax and pdflatex both take.
Not here: the parts (html/parts.py), layout (templates/html).

The classes reach these functions by name when a notebook asks, so that a program without one
loads none of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from derive.cell import Cell
from derive.derivative import Gradient
from derive.inspect.facts.schedule_summary import loops
from derive.inspect.facts.structure import Structure
from derive.inspect.facts.verdicts import verification
from derive.inspect.facts.view import USUAL_WIDTH, View
from derive.inspect.html.parts import schedule_picture
from derive.inspect.html.report import cell_data, fragment, gradient_data, graph_data
from derive.inspect.html.structure import structure_data
from derive.inspect.latex.layout import aligned, escape
from derive.inspect.text.structure import SHORT, sentence
from derive.schedule import Schedule
from derive.textbook.derivation import Line, derivation
from derive.verification.report import Report


def html(shown: Any) -> str:
    return _HTML[type(shown)](shown)


def latex(shown: Any) -> str:
    return _LATEX[type(shown)](shown)


# --- HTML -----------------------------------------------------------------------------------


def _cell(cell: Cell) -> str:
    view = View(cell)
    return fragment(
        ("cell", cell_data(view, linked=False)), ("graph", graph_data(view, linked=False))
    )


def _gradient(gradient: Gradient) -> str:
    found = derivation(gradient)
    return fragment(("gradient", gradient_data(gradient, found, linked=False)))


def _schedule(schedule: Schedule) -> str:
    dims = schedule.split.gradient.program.dims()
    picture = schedule_picture(loops(schedule), dict.fromkeys(dims, USUAL_WIDTH), linked=False)
    return fragment(("schedule", {"picture": picture}))


def _structure(found: Structure) -> str:
    return fragment(("structure", structure_data(found)))


def _report(report: Report) -> str:
    return fragment(("verification", {"found": verification(report), "name": report.name}))


# --- LaTeX ----------------------------------------------------------------------------------


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _cell_latex(cell: Cell) -> str:
    return _joined(aligned(View(cell).derivation.equations, shrink=False))


def _gradient_latex(gradient: Gradient) -> str:
    found = derivation(gradient)
    return _joined(aligned((*found.where, *found.gradient), shrink=False))


def _schedule_latex(schedule: Schedule) -> str:
    found: list[Line] = []
    for pass_ in loops(schedule).passes:
        for _, stages in pass_.phases:
            for stage in stages:
                found += (line for stack in stage.stacks for line in stack.lines)
                found += (*stage.lines, *stage.sums)
    return _joined(aligned(found, shrink=False))


def _structure_latex(found: Structure) -> str:
    rows = [("about", "known", "claim")]
    rows += [(c.topic, SHORT[c.surety], sentence(c).replace("`", "")) for c in found.claims]
    text = (" & ".join(rf"\text{{{escape(c)}}}" for c in row) + r" \\" for row in rows)
    return _joined([r"$\displaystyle \begin{array}{lll}", *text, r"\end{array}$"])


def _report_latex(report: Report) -> str:
    rows: list[Sequence[str]] = [("check", "where", "observed", "allowed", "verdict")]
    worst = verification(report).worst
    rows += [(v.check, v.where, v.observed, v.allowed, v.verdict) for v in worst]
    text = (" & ".join(rf"\text{{{escape(c)}}}" for c in row) + r" \\" for row in rows)
    return _joined([r"$\displaystyle \begin{array}{llrrl}", *text, r"\end{array}$"])


_HTML: dict[type, Callable[[Any], str]] = {
    Cell: _cell,
    Gradient: _gradient,
    Schedule: _schedule,
    Report: _report,
    Structure: _structure,
}
_LATEX: dict[type, Callable[[Any], str]] = {
    Cell: _cell_latex,
    Gradient: _gradient_latex,
    Schedule: _schedule_latex,
    Report: _report_latex,
    Structure: _structure_latex,
}
