"""A View's cost card and a Report as text for a terminal.

In: a View, a Report.  Out: lines.
Not here: counting (inspect/facts/cost.py), what binds (inspect/facts/roofline.py), the other stages
(report.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from derive.inspect.facts.cost import Part, Work, at, depth, polynomial
from derive.inspect.facts.roofline import ROUNDS, Roof, Shape, traffic
from derive.inspect.facts.verdicts import verification as verdicts_of
from derive.inspect.facts.view import View
from derive.inspect.text.layout import Block, columns
from derive.inspect.text.roofline_text import HEAD, machine_text, roof_cells
from derive.schedule.plan import Plan

if TYPE_CHECKING:
    from derive.verification.report import Report

_COLUMNS = ("multiply_adds", "elementwise", "transcendental")
_Row = tuple[str, str, str]


def cost(view: View) -> Block:
    found, sizes = view.cost, view.sizes
    shown = ", ".join(f"{name} = {number}" for name, number in sizes.items())
    rows: list[_Row] = [("", "formula", shown)]
    rows.append(("parameters", *_both(found.parameters, sizes)))
    rows.append(("kept per step and row", *_both(found.saved, sizes)))
    rows.append(("  bytes in float32", *_both(4 * found.saved, sizes)))
    rows.append(("  bytes in float64", *_both(8 * found.saved, sizes)))
    passes = (
        ("forward", view.schedule.forward, found.forward),
        ("backward", view.schedule.backward, found.backward),
    )
    for name, plan, _ in passes:
        rows.append((f"products in sequence, {name}", "", str(depth(plan))))
    for name, plan, parts in passes:
        for part in Part:
            rows += _work(name, part, parts[part], sizes)
            if part is not Part.CALL:
                rows += _moved(plan, part, view)
    yield from columns(rows, right=(2,))
    yield ""
    yield "flop per byte moved, float32"
    yield from columns([(f"  {label}", formula) for label, formula in intensities(view)])
    for shape, roofs in view.roofs.items():
        yield ""
        yield from _roofs(shape, roofs)
    if view.machine and view.roofs:
        yield ""
        yield from machine_text(view)


def _work(name: str, part: Part, work: Work, sizes: Mapping[str, int]) -> Iterator[_Row]:
    found = {column: getattr(work, column) for column in _COLUMNS}
    if all(value == 0 for value in found.values()):
        return
    per = "" if part is Part.CALL else ", per step and row"
    yield f"{name}, {part.value}{per}", "", ""
    for column, value in found.items():
        if value != 0:
            yield f"  {column.replace('_', '-')}", *_both(value, sizes)


def _moved(plan: Plan, part: Part, view: View) -> Iterator[_Row]:
    moved = traffic(plan)[part]
    if moved.rows == 0 and moved.shared == 0:
        return
    once = "each step" if part is Part.SEQUENTIAL else "a call"
    yield "  numbers moved, each row", *_both(moved.rows, view.sizes)
    if moved.shared != 0:
        yield f"  numbers moved once {once}", *_both(moved.shared, view.sizes)


def intensities(view: View) -> Iterator[tuple[str, str]]:
    """(pass and part, formula) for each part that multiplies by a matrix."""
    for name, part, formula in view.intensities:
        yield f"{name}, {ROUNDS[part]}", str(formula)


def _both(value: object, sizes: Mapping[str, int]) -> tuple[str, str]:
    return polynomial(value), f"{at(value, sizes):,}"


# --- what binds -----------------------------------------------------------------------------


def _roofs(shape: Shape, roofs: tuple[Roof, ...]) -> Block:
    rows: list[tuple[str, ...]] = [(f"T,B,I,H = {','.join(map(str, shape))}", *HEAD)]
    rows += [(f"{roof.name}, {ROUNDS[roof.part]}", *roof_cells(roof)) for roof in roofs]
    yield from columns(rows, right=(1, 3, 4, 5))


# --- verification ---------------------------------------------------------------------------


def verification(report: Report) -> Block:
    found = verdicts_of(report)
    head = ("check", "rows", "where", "observed", "allowed", "verdict")
    rows = [head]
    rows += [
        (v.check, str(v.count), v.where, v.observed, v.allowed, v.verdict) for v in found.worst
    ]
    yield from columns(rows, right=(1, 3, 4))
    yield ""
    yield f"{found.summary} For each check, what comes nearest to its bound. Seed {found.seed}."
    yield from (f"note: {note}" for note in found.notes)
