"""Plan -> the same Plan, once every read is known to find what it reads.

In: a Plan.  Out: the Plan; ProgramError names the array and the stage otherwise.
Not here: any decision; where arrays live (emit/), which has rules of its own.

An array has one place in the plan: the stage that computes it, in the phase that `phase_of`
names. What may read it follows from how long a value lasts:

| computed in | lasts                                | may be read in          |
| ----------- | ------------------------------------ | ----------------------- |
| ONCE        | for all steps, the same for all rows | every phase             |
| BEFORE      | for a chunk of steps                 | BEFORE, STEP, AFTER     |
| STEP        | for a step, or a chunk if AFTER reads it | STEP, AFTER         |
| AFTER       | a row for each step: for a chunk     | AFTER                   |
| AFTER       | a sum over rows: complete at the end | LAST                    |
| LAST        | once, the same for all rows          | LAST                    |

What the loop carries lasts for one step. Within a phase a stage reads what an earlier one stored,
or, elementwise, what it computed itself before.
"""

from __future__ import annotations

from collections.abc import Iterator

from derive.errors import ProgramError
from derive.program import Array, Layout, Matmul, Sum
from derive.schedule.folds import is_fold
from derive.schedule.plan import Accumulator, Kind, Phase, Plan, Stage
from derive.schedule.stages import kind_of_sum, sums_rows

_ROWS = (Phase.BEFORE, Phase.STEP, Phase.AFTER)
_READERS: dict[Phase, tuple[Phase, ...]] = {
    Phase.ONCE: tuple(Phase),
    Phase.BEFORE: _ROWS,
    Phase.STEP: (Phase.STEP, Phase.AFTER),
    Phase.AFTER: (Phase.AFTER,),
    Phase.LAST: (Phase.LAST,),
}


def outs(stage: Stage) -> tuple[str, ...]:
    """What a stage computes, in order: products, then equations, then sums."""
    products = (a.out for group in stage.groups for a in group.accumulators)
    return (*products, *(equation.out for equation in stage.maps), *(a.out for a in stage.sums))


def memory_reads(stage: Stage) -> tuple[str, ...]:
    """What a stage reads from memory, each array once."""
    vectors = (name for group in stage.groups for name in group.vectors)
    held = {equation.out for equation in stage.maps}  # sources of folds
    summed = (n for accumulator in stage.sums for n in accumulator.operands if n not in held)
    return tuple(dict.fromkeys((*stage.loads, *vectors, *summed)))


def matrices_of(stage: Stage) -> tuple[str, ...]:
    """The matrices of a stage's products, which are packed, or read where they are."""
    sums = (accumulator for group in stage.groups for accumulator in group.accumulators)
    return tuple(dict.fromkeys(term.operands[0] for total in sums for term in total.terms))


def check(plan: Plan) -> Plan:
    """The plan itself; ProgramError where a read has no producer that ran before it."""
    _Checker(plan).check()
    return plan


class _Checker:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.table = plan.program.table()
        self.phase_of = dict(plan.phase_of)
        self.given = set(plan.program.inputs)
        self.carried = {name for name, _ in plan.carried}
        self.stored: set[str] = set()

    def check(self) -> None:
        computed: set[str] = set()
        for phase, stage in self._stages():
            for name in outs(stage):
                if name in computed or name in self.given:
                    raise self._error(name, phase, "is computed a second time")
                if self.phase_of.get(name) is not phase:
                    raise self._error(name, phase, f"is said to run {self.phase_of.get(name)}")
                computed.add(name)
            self._check_form(phase, stage)
            self._check_reads(phase, stage)
            self.stored.update(stage.stores)
        for name in self.phase_of:
            if name not in computed:
                raise ProgramError(f"{name}: has a phase, and no stage computes it")
        for name in self.plan.program.outputs:
            if name not in self.stored | self.given:
                raise ProgramError(f"{name}: is an output, and no stage stores it")
        if strange := set(self.table) - computed - self.given:
            raise ProgramError(f"arrays without a definition: {sorted(strange)}")

    def _stages(self) -> Iterator[tuple[Phase, Stage]]:
        if [phase for phase, _ in self.plan.phases] != list(Phase):
            raise ProgramError("the phases are not in their order")
        for phase, stages in self.plan.phases:
            for stage in stages:
                yield phase, stage

    # --- what a stage is made of ------------------------------------------------------------

    def _check_form(self, phase: Phase, stage: Stage) -> None:
        own = outs(stage)
        if strange := [name for name in stage.stores if name not in own]:
            raise self._error(strange[0], phase, "is stored by a stage that does not compute it")
        over_rows = stage.kind is Kind.ROW_SUM
        if over_rows and phase not in (Phase.AFTER, Phase.LAST):
            raise self._error(own[0], phase, "is a sum over rows, which is complete at the end")
        for name in own:
            array = self.table[name]
            if array.per_row is not (phase in _ROWS and not over_rows):
                raise self._error(name, phase, "is computed over the wrong rows")
            fused = stage.kind is Kind.FUSED and name not in {a.out for a in stage.sums}
            width = stage.shape if fused else array.shape
            if array.shape != width:
                raise self._error(name, phase, f"is not as wide as its stage, {stage.shape}")
        for accumulator in (*stage.sums, *(a for g in stage.groups for a in g.accumulators)):
            kinds = {self._kind(term, accumulator) for term in accumulator.terms}
            if kinds != {stage.kind} and not self._folds(stage, accumulator):
                raise self._error(accumulator.out, phase, "adds up what its stage does not")
            for name in accumulator.starts:
                if name not in self.given or self.table[name].per_row:
                    raise self._error(name, phase, "begins a sum, and is no parameter")

    def _folds(self, stage: Stage, accumulator: Accumulator) -> bool:
        """Whether a stage has in registers what an accumulator sums up."""
        own = {equation.out for equation in stage.maps}
        return all(is_fold(t, self.table) and t.operands[0] in own for t in accumulator.terms)

    def _kind(self, term: Matmul | Sum, accumulator: Accumulator) -> Kind:
        out = self.table[accumulator.out]
        if isinstance(term, Matmul) and sums_rows(term, self.table):
            return Kind.ROW_SUM
        if isinstance(term, Matmul):
            return Kind.ALONG_AXES if term.layout is Layout.AXES else Kind.FUSED
        same_rows = self.table[term.source].per_row == out.per_row
        return kind_of_sum(term, self.table) if same_rows else Kind.ROW_SUM

    # --- what it reads ----------------------------------------------------------------------

    def _check_reads(self, phase: Phase, stage: Stage) -> None:
        for name in memory_reads(stage):
            self._check_memory(name, phase)
        for name in matrices_of(stage):
            self._check_memory(name, phase)
        lies = {name for equation in stage.maps for name, _ in equation.places}
        for name in stage.loads:
            if self.table[name].shape not in (stage.shape, (1,)) and name not in lies:
                raise self._error(name, phase, f"does not fit its stage, {stage.shape}")
        known = {*stage.loads, *(a.out for group in stage.groups for a in group.accumulators)}
        for equation in stage.maps:
            if missing := [name for name in equation.operands if name not in known]:
                raise self._error(missing[0], phase, f"is read before it is there: {equation}")
            known.add(equation.out)

    def _check_memory(self, name: str, phase: Phase) -> None:
        """Whether `name` is in memory when a stage of `phase` runs."""
        array = self._array(name, phase)
        if name in self.carried and phase is not Phase.STEP:
            raise self._error(name, phase, "is carried for one step, and read outside the loop")
        if array.per_row and phase not in _ROWS:
            raise self._error(name, phase, "belongs to a row, and is read where there are none")
        if name in self.given:
            return
        if name not in self.stored:
            raise self._error(name, phase, "is read from memory before any stage stores it")
        producer = self.phase_of[name]
        complete = producer is Phase.AFTER and not array.per_row
        if phase not in ((Phase.LAST,) if complete else _READERS[producer]):
            raise self._error(name, phase, f"is computed {producer.value}, which is too late")

    def _array(self, name: str, phase: Phase) -> Array:
        if name not in self.table:
            raise self._error(name, phase, "is no array of the plan")
        return self.table[name]

    def _error(self, name: str, phase: Phase, what: str) -> ProgramError:
        return ProgramError(f"{name}: {what}", facts=(f"in the phase {phase.value!r}",))
