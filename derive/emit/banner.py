"""What stands at the head of every generated file.

In: a Cell and its Schedule.  Out: lines of text: doc, equations, schedule, digest.
Not here: comment signs (templates).
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from derive.cell import Cell
from derive.emit.equation_lines import author_lines
from derive.schedule import Plan, Schedule

WIDTH = 90


@dataclass(frozen=True, slots=True)
class Banner:
    """notes: {array: the author's equation for it}."""

    doc: tuple[str, ...]
    equations: tuple[str, ...]
    schedule: tuple[str, ...]
    digest: str
    notes: Mapping[str, str]


def banner(cell: Cell, schedule: Schedule) -> Banner:
    text = cell.to_text()
    lines = [line for line in text.splitlines() if line.strip()]
    return Banner(
        doc=tuple(textwrap.wrap(_plain(cell.doc), WIDTH)) or ("",),
        equations=tuple(_plain(line) for line in lines if not line.startswith("doc")),
        schedule=tuple(line for part in describe(schedule) for line in textwrap.wrap(part, WIDTH)),
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        notes=author_lines(cell),
    )


def _plain(text: str) -> str:
    """Without what would end a comment."""
    return text.replace("*/", "* /").replace("/*", "/ *")


def describe(schedule: Schedule) -> tuple[str, ...]:
    """The schedule in a few sentences."""
    split = schedule.split
    kept = [*split.saved, *(f"{name} (history)" for name in split.histories)]
    return (
        f"Saved per step: {', '.join(kept) or 'nothing'}.",
        f"Recomputed: {', '.join(split.recomputed) or 'nothing'}.",
        _hoisted(schedule.forward, "Forward"),
        _hoisted(schedule.backward, "Backward"),
        *(("The recurrence is linear.",) if schedule.forward.linear else ()),
        *(("Each unit runs through time by itself.",) if schedule.forward.elementwise else ()),
    )


def _hoisted(plan: Plan, label: str) -> str:
    parts = []
    for phase, stages in plan.phases:
        if stages:
            products = sum(len(a.terms) for s in stages for g in s.groups for a in g.accumulators)
            sums = sum(len(s.sums) for s in stages)
            what = [f"{len(stages)} stage{'s' if len(stages) > 1 else ''}"]
            what += [f"{products} product{'s' if products > 1 else ''}"] if products else []
            what += [f"{sums} sum{'s' if sums > 1 else ''}"] if sums else []
            parts.append(f"{phase.value}: {', '.join(what)}")
    return f"{label}: {'; '.join(parts) or 'nothing'}."
