"""A View's cost card and a Report as text for a terminal.

In: a View, a Report.  Out: lines.
Not here: counting (cost.py), what binds (roofline.py), the other stages (as_text.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from derive.inspect.cost import Part, Work, at, depth, polynomial, widths
from derive.inspect.verdicts import verification as verdicts_of
from derive.inspect.roofline import Roof, Shape, intensity, rows_of, traffic
from derive.inspect.text_layout import Block, columns
from derive.inspect.view import View
from derive.plan import Plan

if TYPE_CHECKING:
    from derive.verify.report import Report

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
                rows += _moved(plan, part, parts[part], view)
    yield from columns(rows, right=(2,))
    for shape, roofs in view.roofs.items():
        yield ""
        yield from _roofs(shape, roofs)
    if view.machine and view.roofs:
        yield ""
        yield from _machine(view)


def _work(name: str, part: Part, work: Work, sizes: Mapping[str, int]) -> Iterator[_Row]:
    found = {column: getattr(work, column) for column in _COLUMNS}
    if all(value == 0 for value in found.values()):
        return
    per = "" if part is Part.CALL else ", per step and row"
    yield f"{name}, {part.value}{per}", "", ""
    for column, value in found.items():
        if value != 0:
            yield f"  {column.replace('_', '-')}", *_both(value, sizes)


def _moved(plan: Plan, part: Part, work: Work, view: View) -> Iterator[_Row]:
    moved = traffic(plan)[part]
    if moved.rows == 0 and moved.shared == 0:
        return
    once = "each step" if part is Part.SEQUENTIAL else "a call"
    yield "  numbers moved, each row", *_both(moved.rows, view.sizes)
    if moved.shared != 0:
        yield f"  numbers moved once {once}", *_both(moved.shared, view.sizes)
    if work.multiply_adds != 0:
        formula = intensity(work, moved, rows_of(part, widths(view.cell)))
        yield "  flop per byte, float32", str(formula), ""


def _both(value: object, sizes: Mapping[str, int]) -> tuple[str, str]:
    return polynomial(value), f"{at(value, sizes):,}"


# --- what binds -----------------------------------------------------------------------------

HEAD = ("bytes", "held in", "flop/byte", "ridge", "least time", "what binds")


def _roofs(shape: Shape, roofs: tuple[Roof, ...]) -> Block:
    rows = [(f"T,B,I,H = {','.join(map(str, shape))}", *HEAD)]
    rows += [(_of(roof), *roof_cells(roof)) for roof in roofs]
    yield from columns(rows, right=(1, 3, 4, 5))


def _of(roof: Roof) -> str:
    return f"{roof.name}, {'each step' if roof.part is Part.SEQUENTIAL else roof.part.value}"


def roof_cells(roof: Roof) -> tuple[str, ...]:
    """What stands below `HEAD`."""
    return (
        f"{roof.bytes:,}",
        roof.level,
        f"{roof.intensity:.2f}",
        f"{roof.ridge:.2f}",
        f"{roof.least * 1e6:.3g} us",
        roof.binds,
    )


def _machine(view: View) -> Block:
    yield from machine_text(view)


def machine_text(view: View) -> tuple[str, ...]:
    """What the rates are, in sentences."""
    found = view.machine
    assert found is not None
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    reading = ", ".join(f"{size // 1024:,} KiB {rate / 1e9:.0f}" for size, rate in found.bandwidth)
    return (
        f"This machine, {threads}, float32: {found.peak['float32'] / 1e9:.0f} GFLOP/s, "
        f"{found.activations['float32'] / 1e9:.1f} G activations/s.",
        f"Reading, in GB/s: {reading}.",
        "Ridge: the flop per byte at which arithmetic takes as long as reading. Least time: of",
        "one step, or of all steps at once; the larger of arithmetic and reading.",
    )


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
