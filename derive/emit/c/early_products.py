"""Plan -> Plan for C: products added to a product of the loop become its beginning.

In: a Plan.  Out: the same computation, in which a product that is known before the loop, and a
bias, are terms of the sum that the loop accumulates.
Not here: when the early terms run. The sum has one order either way, so a call may contract
them for a whole chunk of steps before the loop, or with the others in the loop; the sizes decide
(`dk_contracts_early` of the shared header).

    before the loop: p = W @ x                     each step: q = W @ x + U @ h + b, in registers
    each step:       q = U @ h, a = p + q + b  ->             a = q
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy

from derive.program import Map, Namer
from derive.schedule.dataflow import check
from derive.schedule.plan import Accumulator, Group, Kind, Phase, Plan, Stage
from derive.schedule.stages import plain_addends
from derive.symbolic import functions


def with_early_products(plan: Plan) -> Plan:
    """The plan with every early term merged into the product of the loop that it is added to."""
    merger = _Merger(plan)
    step = tuple(merger.step_stage(stage) for stage in plan.stages(Phase.STEP))
    if not merger.merged:
        return plan
    before = [merger.rest(stage) for stage in plan.stages(Phase.BEFORE)]
    changed = {Phase.STEP: step, Phase.BEFORE: tuple(stage for stage in before if stage)}
    gone = {name for merge in merger.merged for name in merge.gone}
    renamed = {merge.accumulator.out: merge.like for merge in merger.merged}
    table = plan.program.table()
    arrays = tuple(array for array in plan.program.arrays if array.name not in gone)
    arrays += tuple(
        replace(table[like], name=name) for name, like in renamed.items() if name not in table
    )
    placed = {name: phase for name, phase in plan.phase_of if name not in gone}
    return check(
        replace(
            plan,
            program=replace(plan.program, arrays=arrays),
            phases=tuple((phase, changed.get(phase, stages)) for phase, stages in plan.phases),
            phase_of=tuple({**placed, **dict.fromkeys(renamed, Phase.STEP)}.items()),
        )
    )


def early_vectors(plan: Plan, group: Group) -> int:
    """How many of the vectors a group of the loop contracts are known before the loop."""
    phase_of = dict(plan.phase_of)
    carried = {name for pair in plan.carried for name in pair}

    def known(name: str) -> bool:
        return name not in carried and phase_of.get(name, Phase.ONCE) in (Phase.ONCE, Phase.BEFORE)

    first = next((k for k, name in enumerate(group.vectors) if not known(name)), None)
    return len(group.vectors) if first is None else first


@dataclass(frozen=True, slots=True)
class _Merge:
    """`accumulator` replaces the arrays `gone`; it is shaped like the array `like`."""

    accumulator: Accumulator
    gone: tuple[str, ...]
    like: str


class _Merger:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.table = plan.program.table()
        self.namer = Namer(self.table)
        self.shared = {name for name in plan.program.inputs if not self.table[name].per_row}
        self.early = {
            accumulator.out: accumulator
            for stage in plan.stages(Phase.BEFORE)
            for group in stage.groups
            for accumulator in group.accumulators
        }
        self.merged: list[_Merge] = []

    def step_stage(self, stage: Stage) -> Stage:
        """The stage with sums that begin early; as it was where there are none."""
        own = {a.out: a for group in stage.groups for a in group.accumulators}
        merges: dict[str, _Merge] = {}
        maps: list[Map] = []
        for equation in stage.maps:
            merge = self._merge(equation, own, stage)
            if merge is None:
                maps.append(equation)
                continue
            self.merged.append(merge)
            merges.update({name: merge for name in merge.gone if name in own})
            addends = (*merge.gone, *merge.accumulator.starts)
            rest = equation.expr - sympy.Add(*map(functions.symbol, addends))
            if rest != 0:
                out = functions.symbol(merge.accumulator.out)
                maps.append(replace(equation, expr=rest + out))
        if not merges:
            return stage
        sums = [merges[a.out].accumulator if a.out in merges else a for a in own.values()]
        read = {name for equation in maps for name in equation.operands}
        return replace(
            stage,
            groups=_grouped(sums),
            maps=tuple(maps),
            loads=tuple(name for name in stage.loads if name in read),
        )

    def _merge(self, equation: Map, own: dict[str, Accumulator], stage: Stage) -> _Merge | None:
        shape = self.table[equation.out].shape
        addends = [n for n in plain_addends(equation.expr) if self.table[n].shape == shape]
        here = [n for n in addends if n in own and n not in stage.stores and self._once(n)]
        early = [n for n in addends if n in self.early and self._once(n)]
        starts = tuple(name for name in addends if name in self.shared)
        if len(here) != 1 or not (early or starts):
            return None
        gone = (*early, *here)
        whole = equation.expr == sympy.Add(*map(functions.symbol, (*gone, *starts)))
        name = equation.out if whole else self.namer(f"{equation.out}_products")
        terms = (*(t for n in early for t in self.early[n].terms), *own[here[0]].terms)
        return _Merge(Accumulator(name, terms, starts), gone, equation.out)

    def _once(self, name: str) -> bool:
        """Whether an array is read by one elementwise equation and by nothing else."""
        if name in self.plan.program.outputs:
            return False
        readers = 0
        for _, stages in self.plan.phases:
            for stage in stages:
                readers += sum(name in equation.operands for equation in stage.maps)
                readers += 2 * sum(name in group.vectors for group in stage.groups)
                readers += 2 * sum(name in accumulator.operands for accumulator in stage.sums)
        return readers == 1

    def rest(self, stage: Stage) -> Stage | None:
        """What remains of a stage before the loop."""
        gone = {name for merge in self.merged for name in merge.gone}
        sums = [a for group in stage.groups for a in group.accumulators if a.out not in gone]
        if not sums and not stage.maps and stage.kind is Kind.FUSED:
            return None
        stores = tuple(name for name in stage.stores if name not in gone)
        return replace(stage, groups=_grouped(sums), stores=stores)


def _grouped(sums: Sequence[Accumulator]) -> tuple[Group, ...]:
    groups: dict[tuple[str, ...], list[Accumulator]] = {}
    for accumulator in sums:
        groups.setdefault(accumulator.vectors, []).append(accumulator)
    return tuple(Group(tuple(found)) for found in groups.values())
