"""Cell and Schedule -> the equation that stands above the lines that compute an array.

In: a Cell, its Schedule, and the stages of a Plan.  Out: {array: line} in `.cell` text, and the
lines of a stage.
Not here: comment signs and wrapping (numpy/, templates/c), which arrays the author did not name and
are written out in place (textbook/derivation.py).

Forward the lines are the author's own. Backward they are those that `derive show CELL --stage
gradient` prints, so that `d_c_next = d_c_carry + d_h_next * o * (1 - tanh(c_next)**2)` stands above
the three lines that it takes. An array that the derivation writes out in place has no line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy

from derive.cell import Cell
from derive.derivative import Gradient
from derive.program import Array, Map
from derive.program.formulas import formula, repeats
from derive.program.simplify import constants
from derive.schedule import Schedule
from derive.schedule.plan import Accumulator, Plan, Stage
from derive.symbolic.functions import Expr
from derive.textbook.derivation import derivation
from derive.textbook.notation import TEXT, Order, write


def author_lines(cell: Cell) -> dict[str, str]:
    """{array: the author's equation for it}; `h'` stands under `h_next`."""
    notes = {}
    for line in cell.to_text().splitlines():
        name, sign, _ = line.partition(" = ")
        if sign and len(name.split()) == 1:
            notes[name.strip().replace("'", "_next")] = " ".join(line.split())
    return notes


def gradient_lines(cell: Cell, schedule: Schedule) -> dict[str, str]:
    """{array of the backward pass: its equation}: cotangents, what the author's equations
    abbreviate, and the author's equations themselves, which backward may compute again."""
    gradient = schedule.split.gradient
    found = derivation(gradient, cell)
    lines = author_lines(cell) | {
        line.name: f"{line.name} = {write(line.value, TEXT, line.order)}"
        for line in (*found.where, *found.gradient)
    }
    _share(lines, gradient, schedule.backward)
    return lines


def _share(lines: dict[str, str], gradient: Gradient, plan: Plan) -> None:
    """What several names share a plan computes once, under any of them: the line goes along, as
    `d_s_2 = d_s_3 = ...` where each has one."""
    program = constants(gradient.program)
    table = program.table()
    value_of: dict[str, Expr] = {}
    names: dict[Expr, list[str]] = {}
    for equation in program.equations:
        if isinstance(equation, Map):
            value = equation.expr
            if repeats(value, equation.out, table):
                value = value_of.get(equation.operands[0], value)
            value_of[equation.out] = value
            if equation.out in lines:
                names.setdefault(value, []).append(equation.out)
    shared = {}
    for _, stages in plan.phases:
        for equation in (m for stage in stages for m in stage.maps):
            value = value_of.get(equation.out, equation.expr)
            found = dict(lines[name].split(" = ", 1) for name in names.get(value, ()))
            if found:
                last = next(text for text in found.values() if text not in found)
                shared[equation.out] = " = ".join((*found, last))
    lines |= shared


def stage_lines(stage: Stage, plan: Plan, notes: Mapping[str, str]) -> tuple[str, ...]:
    """The equations that a stage computes, products first.

    A product or a sum that has no line in `notes` is part of another stage's equation, and gets one
    of its own; so does a map of a stage that would be left without any.
    """
    table = plan.program.table()
    order = _order(plan)
    totals = [a for group in stage.groups for a in group.accumulators] + list(stage.sums)
    read = {name for equation in stage.maps for name in equation.operands}
    lines = [
        notes.get(a.out) or _total(a, table, order)
        for a in totals
        if a.out in notes or a.out not in read
    ]
    lines += [notes[m.out] for m in stage.maps if m.out in notes]
    if not lines:
        lines = [_total(a, table, order) for a in totals]
        lines += [f"{m.out} = {write(m.expr, TEXT, order)}" for m in stage.maps]
    return tuple(dict.fromkeys(lines))


def _order(plan: Plan) -> Order:
    """As in the plan: cotangents and what was computed last first."""
    names = [*(e.out for e in plan.program.equations), *reversed(plan.program.inputs)]
    places = {name: k for k, name in reversed(list(enumerate(names)))}
    return Order(places, names_first=True)


def _total(total: Accumulator, table: Mapping[str, Array], order: Order) -> str:
    terms = [formula(replace(term, out=total.out), table) for term in total.terms]
    return f"{total.out} = {write(sympy.Add(*terms), TEXT, order)}"
