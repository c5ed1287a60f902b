"""Plan -> Flow: the work of a pass over time in the order in which NumPy does it.

In: a Plan.  Out: a `Flow`: five lists of products, elementwise equations and sums.
Not here: text (numpy_lines.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from derive import scalar
from derive.emit.printer import rank
from derive.program import Array, Map
from derive.schedule import Accumulator, Group, Kind, Phase, Plan, Stage

Work = Group | Map | Accumulator


@dataclass(frozen=True, slots=True)
class Flow:
    """What runs once, for all steps at once, in the loop, for all steps again, and the sums over
    rows with what follows from them. `wanted` arrays leave
    the function; `order` is that in which a reader meets them."""

    table: Mapping[str, Array]
    carried: tuple[tuple[str, str], ...]
    wanted: frozenset[str]
    order: Mapping[str, int]
    once: tuple[Work, ...]
    before: tuple[Work, ...]
    step: tuple[Work, ...]
    after: tuple[Work, ...]
    sums: tuple[Accumulator, ...]
    last: tuple[Work, ...]

    def works(self) -> tuple[Work, ...]:
        return (*self.once, *self.before, *self.step, *self.after, *self.sums, *self.last)


def flow_of(plan: Plan) -> Flow:
    cotangents = [e.out for e in plan.program.equations if e.out.startswith("d_")]
    after = [stage for stage in plan.stages(Phase.AFTER) if stage.kind is not Kind.ROW_SUM]
    sums = [stage for stage in plan.stages(Phase.AFTER) if stage.kind is Kind.ROW_SUM]
    return Flow(
        table=plan.program.table(),
        carried=plan.carried,
        wanted=frozenset(plan.program.outputs),
        order=rank(plan.program, cotangents),
        once=_works(plan.stages(Phase.ONCE)),
        before=_works(plan.stages(Phase.BEFORE)),
        step=_works(plan.stages(Phase.STEP)),
        after=_works(after),
        sums=tuple(total for stage in sums for total in stage.sums),
        last=_works(plan.stages(Phase.LAST)),
    )


def _works(stages: Iterable[Stage]) -> tuple[Work, ...]:
    works: list[Work] = []
    for stage in stages:
        works += [*stage.groups, *stage.maps, *stage.sums]
    return tuple(works)


def outs(works: Iterable[Work]) -> Iterator[str]:
    """The arrays that `works` define, in order."""
    for work in works:
        if isinstance(work, Group):
            yield from (accumulator.out for accumulator in work.accumulators)
        else:
            yield work.out


def operands(work: Work) -> tuple[str, ...]:
    if isinstance(work, Group):
        return tuple(name for part in work.accumulators for name in part.operands)
    return work.operands


def is_full(equation: Map, table: Mapping[str, Array]) -> bool:
    """Whether an operand has the shape of the result, so that nothing needs broadcasting."""
    out = table[equation.out]
    return any(
        table[name].shape == out.shape and table[name].per_row == out.per_row
        for name in equation.operands
    )


def fresh(works: Iterable[Work], table: Mapping[str, Array]) -> set[str]:
    """Arrays whose line makes memory of their own: no second name, no view of anything."""
    found: set[str] = set()
    for work in works:
        if isinstance(work, Group):
            if len(work.accumulators) == 1:
                found.update(outs([work]))
        elif isinstance(work, Accumulator) or _makes_memory(work, table):
            found.add(work.out)
    return found


def _makes_memory(equation: Map, table: Mapping[str, Array]) -> bool:
    expr = equation.expr
    while isinstance(expr, scalar.stop_gradient):
        expr = expr.args[0]
    return not expr.is_Symbol and (is_full(equation, table) or not equation.operands)
