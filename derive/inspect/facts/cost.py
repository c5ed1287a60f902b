"""Schedule -> what a cell costs: parameters, operations and memory, symbolic in its widths.

In: a Cell and its Schedule.  Out: a `Cost`.
Not here: time. Operations are counted from the stages that are really run, recomputation
included; nothing is estimated.

| counted as       | what                                                                  |
| ---------------- | --------------------------------------------------------------------- |
| multiply-adds    | products W v, W' v and outer products                                 |
| elementwise      | + - * / sqrt, comparisons, where, min, max, clip; additions of sums   |
| transcendental   | calls of exp, tanh, sigmoid, ..., and powers that are not whole       |

Counts are per step and row, except those of `Part.CALL`, which are per call.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import cast

import sympy

from derive.cell import Cell
from derive.program import Array, Layout, Map, Matmul, Sum
from derive.program.program import Dim
from derive.schedule import Phase, Plan, Schedule
from derive.schedule.schedule import Accumulator, Stage
from derive.symbolic import functions
from derive.symbolic.functions import Expr


class Part(enum.Enum):
    """Where a cost arises."""

    SEQUENTIAL = "each step, one after the other"
    HOISTED = "all steps at once"
    CALL = "once a call"


_PART_OF = {
    Phase.ONCE: Part.CALL,
    Phase.BEFORE: Part.HOISTED,
    Phase.STEP: Part.SEQUENTIAL,
    Phase.AFTER: Part.HOISTED,
    Phase.LAST: Part.CALL,
}
#: The parts whose work grows with the number of steps.
PARTS_IN_TIME = {
    Part.SEQUENTIAL: (Phase.STEP,),
    Part.HOISTED: (Phase.BEFORE, Phase.AFTER),
}


@dataclass(frozen=True, slots=True)
class Work:
    """Polynomials in the widths."""

    multiply_adds: Expr = functions.ZERO
    elementwise: Expr = functions.ZERO
    transcendental: Expr = functions.ZERO

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Work)))


@dataclass(frozen=True, slots=True)
class Cost:
    """saved: numbers kept from forward to backward, per step and row."""

    parameters: Expr
    saved: Expr
    forward: Mapping[Part, Work]
    backward: Mapping[Part, Work]


def cost(cell: Cell, schedule: Schedule) -> Cost:
    parameters = sympy.Add(*(_count(shape) for shape in cell.params.values()))
    return Cost(
        parameters=sympy.expand(parameters),
        saved=sympy.expand(sympy.Add(*kept(schedule).values())),
        forward=_of_plan(schedule.forward),
        backward=_of_plan(schedule.backward),
    )


def kept(schedule: Schedule) -> dict[str, Expr]:
    """{array: numbers per step and row} of what forward keeps for backward."""
    table = schedule.split.gradient.step.program.table()
    names = (*schedule.split.saved, *schedule.split.histories)
    return {name: _count(table[name].shape) for name in names}


def widths(cell: Cell) -> tuple[str, ...]:
    """The names of a cell's widths, in the order in which they are first used."""
    groups = (cell.inputs, cell.states, cell.params, cell.outputs)
    shapes = (shape for group in groups for shape in group.values())
    return tuple(dict.fromkeys(dim for shape in shapes for dim in shape if isinstance(dim, str)))


def at(value: Expr, sizes: Mapping[str, int]) -> int:
    """A polynomial in the widths, for given ones."""
    return int(value.xreplace({functions.size(dim): sympy.Integer(n) for dim, n in sizes.items()}))


def polynomial(value: Expr) -> str:
    """A polynomial in the widths as text that Python reads: 4*H**2 + 4*H*I."""
    return str(in_widths(value))


def in_widths(value: Expr) -> Expr:
    """A polynomial whose symbols are called what the widths are called."""
    dims = {s: sympy.Symbol(s.name.strip("|"), positive=True) for s in value.free_symbols}
    return cast(Expr, sympy.expand(value.xreplace(dims)))


def depth(plan: Plan) -> int:
    """Products W v, one after the other, on the longest way through one step of the loop."""
    on_the_way = {name: 0 for name, _ in plan.carried}
    for equation in plan.program.equations:
        found = [on_the_way[name] for name in equation.operands if name in on_the_way]
        if found:
            on_the_way[equation.out] = max(found) + isinstance(equation, Matmul)
    return max((on_the_way.get(name, 0) for _, name in plan.carried), default=0)


# --- counting -------------------------------------------------------------------------------


def _count(shape: tuple[Dim, ...]) -> Expr:
    return cast(Expr, sympy.Mul(*(functions.size(dim) for dim in shape)))


def _of_plan(plan: Plan) -> dict[Part, Work]:
    table = plan.program.table()
    parts = dict.fromkeys(Part, Work())
    for phase, stages in plan.phases:
        for stage in stages:
            parts[_PART_OF[phase]] += _of_stage(stage, table)
    return {
        part: Work(*(sympy.expand(getattr(work, f.name)) for f in fields(Work)))
        for part, work in parts.items()
    }


def _of_stage(stage: Stage, table: Mapping[str, Array]) -> Work:
    work = Work()
    for group in stage.groups:
        for accumulator in group.accumulators:
            work += _of_accumulator(accumulator, table)
    for total in stage.sums:
        work += _of_accumulator(total, table)
    for equation in stage.maps:
        work += _of_map(equation, table[equation.out])
    return work


def _of_accumulator(accumulator: Accumulator, table: Mapping[str, Array]) -> Work:
    work = Work()
    for term in accumulator.terms:
        if isinstance(term, Sum):
            work += Work(elementwise=_count(table[term.source].shape))
        else:
            work += Work(multiply_adds=multiply_adds(term, table))
    return work


def multiply_adds(term: Matmul, table: Mapping[str, Array]) -> Expr:
    """Those of one product, of one row where it has rows."""
    if term.layout is Layout.AXES:
        left, right, _ = term.letters()
        shapes = (*table[term.left].shape, *table[term.right].shape)
        # Every letter counts once: "nij,nj->ni" is n * i * j multiply-adds.
        return _count(tuple(dict(zip(left + right, shapes, strict=True)).values()))
    if term.layout is Layout.OUTER:
        return _count((*table[term.left].shape, *table[term.right].shape))
    if term.subscripts:
        left, right, _ = term.letters()
        shapes = (*table[term.left].shape, *table[term.right].shape)
        return _count(tuple(dict(zip((*left, *right), shapes, strict=True)).values()))
    return _count(table[term.left].shape)


def _of_map(equation: Map, out: Array) -> Work:
    plain, calls = operations(equation.expr)
    units = _count(out.shape)
    return Work(elementwise=plain * units, transcendental=calls * units)


def operations(expr: Expr) -> tuple[int, int]:
    """Elementwise operations and transcendental calls of one evaluation, as written: a - b and
    a / b are one operation each, a sign is none, and the numbers of a product are one factor."""
    plain = calls = 0
    for node in sympy.preorder_traversal(expr):
        if not node.args or node.is_number:
            continue
        if node.is_Add:
            plain += len(node.args) - 1
        elif node.is_Mul:
            constant, factors = _apart(node)
            divisors = sum(map(_is_divisor, factors))
            plain += max(len(factors) - divisors + (abs(constant) != 1) - 1, 0)
        elif isinstance(node, sympy.Pow) and not isinstance(node, functions.exp):
            plain += _is_divisor(node)
            exponent = abs(node.exp)
            if exponent.is_Integer:
                plain += int(exponent) - 1
            elif exponent == functions.HALF:
                plain += 1
            else:
                calls += 1
        elif functions.rule_of(node).plain:
            plain += 1
        else:
            calls += 1
    return plain, calls


def _apart(product: Expr) -> tuple[Expr, list[Expr]]:
    """The number in a product, which is known when code is written, and its other factors."""
    numbers = [factor for factor in product.args if factor.is_number]
    factors = [cast(Expr, factor) for factor in product.args if not factor.is_number]
    return cast(Expr, sympy.Mul(*numbers)), factors


def _is_divisor(factor: Expr) -> bool:
    power = isinstance(factor, sympy.Pow) and not isinstance(factor, functions.exp)
    return bool(power and factor.exp.is_negative)
