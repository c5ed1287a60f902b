"""Schedule -> what a person wants to know of it: phases, stages, what is kept.

In: a Schedule.  Out: a `Loops`: lines of SymPy equations in their stages, and names.
Not here: how a line is printed (textbook/notation.py), what it costs (cost.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy

from derive.inspect.facts.cost import kept
from derive.program import Array
from derive.program.formulas import formula
from derive.program.program import Dim
from derive.schedule import Plan, Schedule
from derive.schedule.schedule import Accumulator, Group, Kind, Stage
from derive.symbolic.functions import Expr
from derive.textbook.derivation import Line
from derive.textbook.notation import Order


@dataclass(frozen=True, slots=True)
class Stack:
    """Products that are computed as one: those of the same vectors, one below the other."""

    vectors: tuple[str, ...]
    products: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class StageView:
    kind: Kind
    shape: tuple[Dim, ...]
    stacks: tuple[Stack, ...]
    lines: tuple[Line, ...]
    sums: tuple[Line, ...]
    reads: tuple[str, ...]
    stores: tuple[str, ...]

    @property
    def title(self) -> str:
        """What is computed, in a few words."""
        parts = []
        for stack in self.stacks:
            of = f" of {', '.join(stack.vectors)}" if len(stack.vectors) < 3 else ""
            many = stack.products > 1
            how = " added up" if many and len(stack.lines) == 1 else " stacked" if many else ""
            parts.append(_count(stack.products, "product") + how + of)
        parts += [_count(len(self.lines), "elementwise line")] if self.lines else []
        parts += [_count(len(self.sums), "sum")] if self.sums else []
        kind = "" if self.kind is Kind.FUSED else f"{self.kind.value}: "
        return kind + ", ".join(parts)


@dataclass(frozen=True, slots=True)
class PassView:
    """phases: (what it is called, its stages), all five. carried: (given, handed on).
    elementwise: units run through all steps by themselves."""

    name: str
    phases: tuple[tuple[str, tuple[StageView, ...]], ...]
    carried: tuple[tuple[str, str], ...]
    linear: bool
    elementwise: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """An array that forward keeps. history: all T + 1 values of a state, in one array."""

    name: str
    numbers: Expr
    history: bool


@dataclass(frozen=True, slots=True)
class Loops:
    passes: tuple[PassView, ...]
    kept: tuple[Kept, ...]
    recomputed: tuple[str, ...]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def loops(schedule: Schedule) -> Loops:
    split = schedule.split
    return Loops(
        passes=(
            _pass("forward", schedule.forward, ()),
            _pass("backward", schedule.backward, split.recomputed),
        ),
        kept=tuple(
            Kept(name, numbers, name in split.histories) for name, numbers in kept(schedule).items()
        ),
        recomputed=split.recomputed,
    )


def _pass(name: str, plan: Plan, recomputed: tuple[str, ...]) -> PassView:
    table = plan.program.table()
    names = [e.out for e in plan.program.equations if e.out not in recomputed]
    names += [*recomputed, *reversed(plan.program.inputs)]
    places = {name: k for k, name in reversed(list(enumerate(names)))}
    # Backward, products stand in the order of the forward pass: the other way round.
    products = {n: -k for n, k in places.items()} if name == "backward" else {}
    order = Order(places, names_first=True, products=products)
    return PassView(
        name=name,
        phases=tuple(
            (phase.value, tuple(_stage(stage, table, order) for stage in stages))
            for phase, stages in plan.phases
        ),
        carried=plan.carried,
        linear=plan.linear,
        elementwise=plan.elementwise,
    )


def _stage(stage: Stage, table: Mapping[str, Array], order: Order) -> StageView:
    return StageView(
        kind=stage.kind,
        shape=stage.shape,
        stacks=tuple(_stack(group, table, order) for group in stage.groups),
        lines=tuple(Line(equation.out, equation.expr, order) for equation in stage.maps),
        sums=tuple(_line(total, table, order) for total in stage.sums),
        reads=stage.loads,
        stores=stage.stores,
    )


def _stack(group: Group, table: Mapping[str, Array], order: Order) -> Stack:
    return Stack(
        vectors=tuple(dict.fromkeys(group.vectors)),
        products=sum(len(accumulator.terms) for accumulator in group.accumulators),
        lines=tuple(_line(accumulator, table, order) for accumulator in group.accumulators),
    )


def _line(accumulator: Accumulator, table: Mapping[str, Array], order: Order) -> Line:
    # A term that was added to others has no array of its own any more.
    terms = [formula(replace(term, out=accumulator.out), table) for term in accumulator.terms]
    return Line(accumulator.out, sympy.Add(*terms), order)
