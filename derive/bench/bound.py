"""The least time that a cell needs on a machine.

In: the Cost of a cell, its Schedule, a Task's sizes, and measured rates.
Out: operations and seconds.
Not here: measuring (derive/machine), counting (inspect/facts/cost.py).

    max(multiply-adds / peak + activations / rate, bytes of weights and matrices / bandwidth)

summed over the parts of a call that follow each other: what is done for all steps at once, and
the steps one after the other. Inside the loop the weights are read once a step, outside once a
call. A state of several axes, such as the matrix of mLSTM, is read and written once a step, each
row its own, in either pass. Reading and writing of vectors and of what is saved is not counted,
nor any elementwise arithmetic: the bound is a floor, and cannot be reached by cells that do little
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from derive.bench import stacks
from derive.bench.shapes import Shape
from derive.bench.task import BYTES, Task
from derive.inspect.facts.cost import PARTS_IN_TIME, Part, Work, at, cost
from derive.machine.probe import Machine
from derive.pipeline import schedule
from derive.program import Layout, Matmul
from derive.schedule import Phase, Plan


@dataclass(frozen=True, slots=True)
class Need:
    """What one part of a call needs, in numbers, all steps and rows together.

    weights: numbers that are read `times` times.  matrices: those of the states of several axes of
    all rows, read and written `times` times.
    """

    multiply_adds: int
    activations: int
    weights: int
    times: int
    matrices: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """needs: {mode: parts}."""

    needs: Mapping[str, tuple[Need, ...]]

    def operations(self, mode: str) -> int:
        """Floating-point operations of all products: two for a multiply-add."""
        return sum(2 * need.multiply_adds for need in self.needs[mode])

    def seconds(self, mode: str, machine: Machine, dtype: str) -> float:
        """dtype: of weights; thin ones are multiplied with float32."""
        size = BYTES[dtype]
        dtype = "float64" if dtype == "float64" else "float32"
        total = 0.0
        for need in self.needs[mode]:
            work = 2 * need.multiply_adds / machine.peak[dtype]
            work += need.activations / machine.activations[dtype]
            count = need.weights * size
            moved = 2 * need.matrices * size
            read = count / machine.reading(count) + (moved and moved / machine.reading(moved))
            total += max(work, need.times * read)
        return total


def bound(task: Task) -> Bound:
    """Of a stack: layer after layer."""
    if task.shape.is_stack:
        needs = [bound(one).needs for one in stacks.layers_of(task)]
        return Bound({mode: tuple(n for each in needs for n in each[mode]) for mode in needs[0]})
    plans = schedule(task.cell)
    found = cost(task.cell, plans)
    forward = _parts(found.forward, plans.forward, task)
    backward = _parts(found.backward, plans.backward, task)
    return Bound({"infer": forward, "train": (*forward, *backward)})


def _parts(works: Mapping[Part, Work], plan: Plan, task: Task) -> tuple[Need, ...]:
    shape: Shape = task.shape
    rows = shape.T * shape.B
    needs = []
    for part, phases in PARTS_IN_TIME.items():
        work = works[part]
        needs.append(
            Need(
                multiply_adds=rows * at(work.multiply_adds, task.sizes),
                activations=rows * at(work.transcendental, task.sizes),
                weights=_weights(plan, phases, task),
                times=shape.T if part is Part.SEQUENTIAL else 1,
                matrices=_matrices(plan, task) if part is Part.SEQUENTIAL else 0,
            )
        )
    return tuple(needs)


def _weights(plan: Plan, phases: tuple[Phase, ...], task: Task) -> int:
    """Numbers in the matrices that the products of some phases read."""
    table = plan.program.table()
    matrices = {
        term.left
        for phase in phases
        for stage in plan.stages(phase)
        for group in stage.groups
        for accumulator in group.accumulators
        for term in accumulator.terms
        if isinstance(term, Matmul) and term.layout is not Layout.OUTER
    }
    matrices |= {
        name
        for phase in phases
        for stage in plan.stages(phase)
        for accumulator in stage.sums
        for term in accumulator.terms
        if isinstance(term, Matmul)
        for name in term.operands
        if len(table[name].shape) > 1 and not table[name].per_row
    }
    return sum(prod(map(task.width, table[name].shape)) for name in matrices)


def _matrices(plan: Plan, task: Task) -> int:
    """Numbers in the states of several axes that a pass carries, of all rows."""
    table = plan.program.table()
    shapes = (table[name].shape for name, _ in plan.carried)
    return task.shape.B * sum(prod(map(task.width, s)) for s in shapes if len(s) > 1)
