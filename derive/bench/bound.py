"""The least time that a cell needs on a machine.

In: the Cost of a cell, its Schedule, a Task's sizes, and measured rates.
Out: operations and seconds.
Not here: measuring (derive/machine), counting (inspect/facts/cost.py).

    max(multiply-adds / peak + activations / rate, bytes of weights / bandwidth)

summed over the parts of a call that follow each other: what is done for all steps at once, and
the steps one after the other. Inside the loop the weights are read once a step, outside once a
call. Reading and writing of activations and of what is saved is not counted, nor any elementwise
arithmetic: the bound is a floor, and cannot be reached by cells that do little else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from derive.bench.shapes import Shape
from derive.bench.task import Task
from derive.inspect.facts.cost import PARTS_IN_TIME, Part, Work, at, cost
from derive.machine.probe import Machine
from derive.pipeline import schedule
from derive.program import Layout, Matmul
from derive.schedule import Phase, Plan


@dataclass(frozen=True, slots=True)
class Need:
    """What one part of a call needs, in numbers, all steps and rows together.

    weights: numbers that are read `times` times.
    """

    multiply_adds: int
    activations: int
    weights: int
    times: int


@dataclass(frozen=True, slots=True)
class Bound:
    """needs: {mode: parts}."""

    needs: Mapping[str, tuple[Need, ...]]

    def operations(self, mode: str) -> int:
        """Floating-point operations of all products: two for a multiply-add."""
        return sum(2 * need.multiply_adds for need in self.needs[mode])

    def seconds(self, mode: str, machine: Machine, dtype: str) -> float:
        size = 4 if dtype == "float32" else 8
        total = 0.0
        for need in self.needs[mode]:
            work = 2 * need.multiply_adds / machine.peak[dtype]
            work += need.activations / machine.activations[dtype]
            count = need.weights * size
            total += max(work, need.times * count / machine.reading(count))
        return total


def bound(task: Task) -> Bound:
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
    total = 0
    for name in matrices:
        rows, columns = table[name].shape
        total += task.width(rows) * task.width(columns)
    return total
