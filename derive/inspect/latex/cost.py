"""A View's cost card and a Report as LaTeX.

In: a View, a Report.  Out: lines of LaTeX.
Not here: counting (inspect/facts/cost.py), what binds (inspect/facts/roofline.py), the other stages
(report.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from derive.inspect.facts.cost import Part, at, depth, in_widths
from derive.inspect.facts.roofline import ROUNDS, traffic
from derive.inspect.facts.verdicts import verification as verdicts_of
from derive.inspect.facts.view import View
from derive.inspect.latex.layout import Block, dim_text, escape, table
from derive.inspect.latex.notation import LATEX
from derive.inspect.text.roofline_text import HEAD, machine_text, roof_cells
from derive.symbolic.functions import Expr
from derive.textbook.notation import Order, write

if TYPE_CHECKING:
    from derive.verification.report import Report

_NO_ORDER = Order({})


def cost(view: View) -> Block:
    shown = ", ".join(f"${dim_text(name)} = {number}$" for name, number in view.sizes.items())
    yield from table("lrr", ("", "formula", "number"), _rows(view))
    yield rf"\noindent Numbers are at {shown}."
    yield r"\paragraph{Operations per byte moved, float32}"
    rows = [
        (f"{name}, {ROUNDS[part]}", rf"$\displaystyle {_formula(value)}$")
        for name, part, value in view.intensities
    ]
    if rows:
        yield from table("ll", ("", "formula"), (_spaced(row) for row in rows))
    for shape, roofs in view.roofs.items():
        yield rf"\paragraph{{At $T, B, I, H = {', '.join(map(str, shape))}$}}"
        found = ((f"{r.name}, {ROUNDS[r.part]}", *map(escape, roof_cells(r))) for r in roofs)
        yield from table("lrlrrrl", ("", *HEAD), found)
    if view.roofs:
        yield from map(escape, machine_text(view))


def _spaced(row: tuple[str, str]) -> tuple[str, str]:
    """With room for a fraction."""
    return row[0], row[1] + r"\rule[-2.2ex]{0pt}{6ex}"


def _rows(view: View) -> Iterator[tuple[str, str, str]]:
    found, sizes = view.cost, view.sizes

    def row(what: str, value: Expr) -> tuple[str, str, str]:
        return what, f"${width_formula(value)}$", f"{at(value, sizes):,}"

    yield row("parameters", found.parameters)
    yield row("numbers kept per step and row", found.saved)
    yield row(r"\quad bytes in float32", 4 * found.saved)
    yield row(r"\quad bytes in float64", 8 * found.saved)
    passes = (
        ("forward", view.schedule.forward, found.forward),
        ("backward", view.schedule.backward, found.backward),
    )
    for name, plan, _ in passes:
        yield f"products in sequence, {name}", "", str(depth(plan))
    for name, plan, parts in passes:
        moved = traffic(plan)
        for part in Part:
            work = parts[part]
            columns = ("multiply_adds", "elementwise", "transcendental")
            values = {c.replace("_", "-"): getattr(work, c) for c in columns}
            if part in moved:
                values["numbers moved, each row"] = moved[part].rows
                once = "each step" if part is Part.SEQUENTIAL else "a call"
                values[f"numbers moved once {once}"] = moved[part].shared
            if all(value == 0 for value in values.values()):
                continue
            per = "" if part is Part.CALL else ", per step and row"
            yield rf"\emph{{{name}, {part.value}{per}}}", "", ""
            for what, value in values.items():
                if value != 0:
                    yield row(rf"\quad {what}", value)


def width_formula(value: Expr) -> str:
    """A polynomial in the widths of a cell."""
    return " + ".join(map(_formula, in_widths(value).as_ordered_terms()))


def _formula(value: Expr) -> str:
    return write(value, LATEX, _NO_ORDER).replace(r" \odot ", r" \, ")


def verification(report: Report) -> Block:
    found = verdicts_of(report)
    head = ("check", "rows", "where", "observed", "allowed", "verdict")
    rows = (
        tuple(map(escape, (v.check, str(v.count), v.where, v.observed, v.allowed, v.verdict)))
        for v in found.worst
    )
    yield rf"{escape(found.summary)} For each check, what comes nearest to its bound."
    yield f"Seed {found.seed}."
    columns = r"p{3.6cm}rp{5.4cm}rrl"
    yield from table(columns, head, rows)
    for note in found.notes:
        yield ""
        yield f"Note: {escape(note)}"
