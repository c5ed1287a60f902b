"""View -> the parts of a page: formulas with their anchors, chain rule, stages, tables.

In: a View.  Out: frozen records of text and markup that the templates lay out.
Not here: which parts make a page (report.py), HTML (templates/html), drawing (svg.py).

Fields called `math`, `name`, `meaning` or `pieces` hold MathML and are inserted as they are; every
other field is text, which the templates escape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from derive.derivative import Gradient
from derive.inspect.facts.chain_rule import Link, chain_rule
from derive.inspect.facts.cost import Part as CostPart
from derive.inspect.facts.cost import at, depth, in_widths, polynomial
from derive.inspect.facts.roofline import ROUNDS, traffic
from derive.inspect.facts.schedule_summary import Loops, PassView, StageView
from derive.inspect.facts.view import View
from derive.inspect.html.mathml import MATHML, element, math, math_name, slope
from derive.inspect.text.roofline_text import machine_text, roof_cells
from derive.program.program import Dim
from derive.schedule.plan import Phase
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.textbook.derivation import Derivation, Line
from derive.textbook.notation import TEXT, Notation, Order, write

#: Nothing is said of these phases where they are empty.
_RARE = (Phase.ONCE, Phase.LAST)
_NO_ORDER = Order({})


@dataclass(frozen=True, slots=True)
class Step:
    """One contribution to a cotangent. consumer and value: the two sides of the equation that
    reads the array.  partial and slope: those of its derivative, or a rule in words."""

    meaning: str
    consumer: str
    value: tuple[str, ...]
    rule: str
    partial: str
    slope: tuple[str, ...]
    term: tuple[str, ...]
    behind: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Formula:
    """One line. id: its anchor, "" for none.  text: the line as plain text.
    code: (place, anchor) of the generated lines that compute it.  timed: name and pieces in the
    notation of time, where the page has both."""

    id: str
    name: str
    pieces: tuple[str, ...]
    text: str
    shape: str = ""
    code: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()
    timed: tuple[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class StageBox:
    id: str
    title: str
    shape: str
    lines: tuple[Formula, ...]
    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhaseBox:
    """loop: whether it is run once a step."""

    title: str
    loop: bool
    stages: tuple[StageBox, ...]


@dataclass(frozen=True, slots=True)
class PassBox:
    name: str
    linear: bool
    elementwise: bool
    phases: tuple[PhaseBox, ...]


@dataclass(frozen=True, slots=True)
class KeptBar:
    """share: per cent of all bytes that are kept."""

    name: str
    numbers: str
    bytes: str
    share: float
    history: bool


@dataclass(frozen=True, slots=True)
class SchedulePicture:
    forward: PassBox
    backward: PassBox
    kept: tuple[KeptBar, ...]
    total: str
    sizes: str
    recomputed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Amount:
    """A polynomial in the widths, and its value at the sizes of the page."""

    math: str
    value: str


@dataclass(frozen=True, slots=True)
class CostCard:
    sizes: str
    facts: tuple[tuple[str, Amount], ...]
    depth: tuple[tuple[str, int], ...]
    work: tuple[tuple[str, tuple[Amount, ...]], ...]
    moved: tuple[tuple[str, Amount, Amount], ...]
    intensities: tuple[tuple[str, str], ...]
    roofs: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    machine: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shaped:
    names: tuple[str, ...]
    role: str
    shape: str
    call: str


# --- formulas -------------------------------------------------------------------------------


def formula(
    line: Line,
    id: str = "",
    shape: Sequence[Dim] | None = None,
    notation: Notation = MATHML,
    text: Notation = TEXT,
) -> Formula:
    return Formula(
        id=id,
        name=element(notation.name(line.name)),
        pieces=math(line.value, line.order, notation),
        text=f"{text.name(line.name)} = {write(line.value, text, line.order)}",
        shape=shape_text(shape) if shape is not None else "",
    )


def shape_text(shape: Sequence[Dim]) -> str:
    return " × ".join(map(str, shape))


def chain_steps(gradient: Gradient, found: Derivation) -> dict[str, tuple[Step, ...]]:
    """{line of the gradient: the steps that lead to it}."""
    of = {name: array for array, name in gradient.derivative.of}
    meaning = {seed.name: seed.meaning for seed in found.seeds}
    orders = found.orders
    return {
        name: tuple(_step(link, of[name], meaning, orders, found.reading) for link in links)
        for name, links in chain_rule(gradient, found).items()
    }


def _step(
    link: Link,
    array: str,
    meaning: Mapping[str, str],
    orders: Mapping[str, Order],
    order: Order,
) -> Step:
    """orders: of the lines that the page shows; order: of everything else."""
    term = math(link.term, order)
    if not link.consumer:
        return Step(prose(meaning[link.term.name]), "", (), "", "", (), term, ())
    named = link.consumer in orders or link.slope is not None
    return Step(
        meaning="",
        consumer=math_name(link.consumer) if named else "",
        value=math(link.value, orders.get(link.consumer, order)),
        rule=link.rule,
        partial=slope(link.consumer, array) if link.slope is not None else "",
        slope=math(link.slope, order) if link.slope is not None else (),
        term=term,
        behind=tuple(_step(one, link.consumer, meaning, orders, order) for one in link.behind),
    )


def prose(text: str) -> str:
    """Words of a meaning, the names among them as MathML."""
    parts = re.split(r"(\bd_\w+|\b\w+_next\b)", text)
    return "".join(math_name(part) if k % 2 else escape(part) for k, part in enumerate(parts))


# --- schedule -------------------------------------------------------------------------------


def schedule_picture(found: Loops, sizes: Mapping[str, int], *, linked: bool) -> SchedulePicture:
    forward, backward = (_pass(pass_, linked) for pass_ in found.passes)
    total = sum((item.numbers for item in found.kept), functions.ZERO)
    kept = tuple(
        KeptBar(
            name=math_name(item.name),
            numbers=polynomial(item.numbers),
            bytes=f"{4 * at(item.numbers, sizes):,}",
            share=round(100 * at(item.numbers, sizes) / max(at(total, sizes), 1), 2),
            history=item.history,
        )
        for item in found.kept
    )
    return SchedulePicture(
        forward,
        backward,
        kept,
        total=f"{polynomial(4 * total)} = {4 * at(total, sizes):,}",
        sizes=sizes_text(sizes),
        recomputed=tuple(map(math_name, found.recomputed)),
    )


def sizes_text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {number}" for name, number in sizes.items())


def _pass(view: PassView, linked: bool) -> PassBox:
    boxes = []
    for title, stages in view.phases:
        phase = Phase(title)
        if stages or phase not in _RARE:
            ids = (f"stage-{view.name}-{phase.name.lower()}-{k}" for k in range(1, 1 + len(stages)))
            inner = tuple(
                _stage(i if linked else "", stage) for i, stage in zip(ids, stages, strict=True)
            )
            boxes.append(PhaseBox(title, phase is Phase.STEP, inner))
    return PassBox(view.name, view.linear, view.elementwise, tuple(boxes))


def _stage(id: str, stage: StageView) -> StageBox:
    stacked = (line for stack in stage.stacks for line in stack.lines)
    return StageBox(
        id=id,
        title=stage.title,
        shape=shape_text(stage.shape),
        lines=tuple(formula(line) for line in (*stacked, *stage.lines, *stage.sums)),
        stores=tuple(map(math_name, stage.stores)),
    )


# --- cost -----------------------------------------------------------------------------------

_COLUMNS = ("multiply_adds", "elementwise", "transcendental")
_PARTS = {
    CostPart.SEQUENTIAL: "sequential, per step and row",
    CostPart.HOISTED: "hoisted, per step and row",
    CostPart.CALL: "once a call",
}


def cost_card(view: View) -> CostCard:
    found, sizes = view.cost, view.sizes

    def amount(value: Expr) -> Amount:
        terms = in_widths(value).as_ordered_terms()
        formula = " + ".join(piece for term in terms for piece in math(term, _NO_ORDER))
        return Amount(formula.replace("<mo>⊙</mo>", ""), f"{at(value, sizes):,}")

    facts = (
        ("parameters", found.parameters),
        ("numbers kept per step and row", found.saved),
        ("bytes kept per step and row, float32", 4 * found.saved),
        ("bytes kept per step and row, float64", 8 * found.saved),
    )
    work = []
    for name, parts in (("forward", found.forward), ("backward", found.backward)):
        for part, label in _PARTS.items():
            values = [getattr(parts[part], column) for column in _COLUMNS]
            if any(value != 0 for value in values):
                work.append((f"{name}, {label}", tuple(map(amount, values))))
    passes = (("forward", view.schedule.forward), ("backward", view.schedule.backward))
    return CostCard(
        sizes=sizes_text(sizes),
        facts=tuple((what, amount(value)) for what, value in facts),
        depth=(
            ("forward", depth(view.schedule.forward)),
            ("backward", depth(view.schedule.backward)),
        ),
        work=tuple(work),
        moved=tuple(
            (f"{name}, {ROUNDS[part]}", amount(moved.rows), amount(moved.shared))
            for name, plan in passes
            for part, moved in traffic(plan).items()
            if moved.rows != 0 or moved.shared != 0
        ),
        intensities=tuple(
            (f"{name}, {ROUNDS[part]}", formula.replace("<mo>⊙</mo>", "<mo>\u2062</mo>"))
            for name, part, value in view.intensities
            for formula in ("".join(math(value, _NO_ORDER)),)
        ),
        roofs=tuple(
            (
                f"T, B, I, H = {', '.join(map(str, shape))}",
                tuple((f"{r.name}, {ROUNDS[r.part]}", *roof_cells(r)) for r in roofs),
            )
            for shape, roofs in view.roofs.items()
        ),
        machine=machine_text(view) if view.roofs else (),
    )


# --- shapes ---------------------------------------------------------------------------------


def shapes_table(view: View) -> tuple[Shaped, ...]:
    return tuple(
        Shaped(
            tuple(map(math_name, row.names)), row.role, shape_text(row.shape), shape_text(row.call)
        )
        for row in view.arrays
    )
