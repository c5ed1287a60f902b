"""A page that changes while it is looked at: what does not change of it, and what does.

In: a Cell, stages, a Report.  Out: HTML.
Not here: who sends it (cli/page_server.py), sections (report.py), layout (templates/html).
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.build.templates import html_environment
from derive.cell import Cell
from derive.inspect.facts.verdicts import verification
from derive.inspect.facts.view import View
from derive.inspect.html import report
from derive.inspect.html.both import in_both
from derive.verification.report import Report

#: What is shown first: it takes a twentieth of the time that the whole page takes.
FIRST = ("cell", "graph", "shapes", "gradient")


def shell(name: str, nonce: str) -> str:
    """The page around the parts. nonce: of its script, the only one that runs."""
    context = {"name": name, "nonce": nonce}
    return html_environment().get_template("html/live.html.j2").render(context)


def body(cell: Cell, stages: Sequence[str]) -> str:
    """The stages of a cell, without the section for verification."""
    view = View(cell)
    sections = {stage: report.SECTIONS[stage](view) for stage in stages}
    return report.body(view, in_both(view, sections))


def checked(cell: Cell, found: Report) -> str:
    """What a verification found."""
    section = report.Section(
        "", "Verification", "html/verification.html.j2",
        {"found": verification(found), "name": cell.name},
    )  # fmt: skip
    context = {"sections": (section,)}
    return html_environment().get_template("html/sections.html.j2").render(context)
