"""A Step of single operations -> its nests in order, and what they compute in float.

In: a Known.  Out: `Ordered`; {array: values} of one step for some rows.
Not here: integers (integers.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.emit.mcu.known import Known
from derive.emit.mcu.nests import Gather, Item, Loose, Nests, Term, nests_of
from derive.emit.mcu.passes import with_results
from derive.kernel.signature import Array as Values
from derive.program import Array, Over, Program
from derive.program.interpret import align
from derive.schedule import Phase, Plan
from derive.schedule.schedule import plan
from derive.symbolic.evaluate import NUMPY


@dataclass(frozen=True, slots=True)
class Ordered:
    """renamed: {result: its array in the plan}."""

    single: Known
    plan: Plan
    nests: Nests
    renamed: Mapping[str, str]

    @property
    def table(self) -> Mapping[str, Array]:
        return self.plan.program.table()

    @property
    def program(self) -> Program:
        return self.plan.program

    def carried(self) -> list[tuple[str, str]]:
        step = self.single.step
        nexts = (self.renamed[name] for name in step.next_states)
        return list(zip(step.states, nexts, strict=True))


def ordered(single: Known) -> Ordered:
    step = single.step
    program, renamed = with_results(step.program, (*step.next_states, *step.outputs))
    nexts = [renamed[name] for name in step.next_states]
    made = plan(program, tuple(zip(step.states, nexts, strict=True)), nexts, hoist=False)
    wanted = {renamed[name] for name in (*step.next_states, *step.outputs)}
    nests = nests_of(made, (Phase.STEP, Phase.AFTER), wanted, registers=True)
    return Ordered(single, made, nests, renamed)


def product(term: Term, values: Mapping[str, Any], table: Mapping[str, Array]) -> Any:
    """Every product of a term's elements: rows, the letters of the result, those summed over."""
    every = term.out_letters + "".join(c for c in term.summed if c not in term.out_letters)
    total: Any = 1
    for name, letters in term.operands:
        value, rows = values[name], table[name].per_row
        if not letters:
            value = value[..., 0]
        order = sorted(range(len(letters)), key=lambda k: every.index(letters[k]))
        value = value.transpose(0, *(k + 1 for k in order)) if rows else value.transpose(order)
        own = "".join(letters[k] for k in order)
        shape = tuple(slice(None) if c in own else None for c in every)
        total = total * value[(slice(None) if rows else None, *shape)]
    return total


def summed(products: Any, term: Term) -> Any:
    """Its sum over the letters that the result lacks; a result without letters has width 1."""
    count = len([c for c in term.summed if c not in term.out_letters])
    axes = tuple(range(products.ndim - count, products.ndim))
    total = products.sum(axis=axes)
    return total if term.out_letters else total[..., None]


def along(term: Term, value: Any) -> Any:
    """The largest elements, or running sums, along an axis."""
    axis = 1 + term.left_letters.index(term.along)
    if term.over is Over.MAX:
        found = value.max(axis=axis)
        return found if term.out_letters else found[..., None]
    if term.over is Over.CUMSUM_BACK:
        return np.flip(np.cumsum(np.flip(value, axis), axis=axis), axis)
    return np.cumsum(value, axis=axis)


def spread(found: Any, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(found, shape) if np.shape(found) != shape else found


class Floats:
    """Runs the items of a step in float64: rows of the batch come first."""

    def __init__(self, order: Ordered) -> None:
        self.order = order
        self.table = order.table

    def step(self, inputs: Mapping[str, Values], states: Mapping[str, Values]) -> dict[str, Values]:
        single = self.order.single
        values: dict[str, Any] = {**single.params, **inputs, **states}
        with np.errstate(all="ignore"):
            for item in self.order.nests.items:
                self.run(item, values)
        return values

    def run(self, item: Item, values: dict[str, Any]) -> None:
        self._run(item, values, values)

    def alone(self, item: Item, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the operations of an item give, each of `values` alone."""
        found: dict[str, Any] = {}
        self._run(item, values, found)
        return found

    def _run(self, item: Item, values: Mapping[str, Any], found: dict[str, Any]) -> None:
        if isinstance(item, Loose):
            term = item.term
            if term.over is Over.SUM:
                found[term.out] = summed(product(term, values, self.table), term)
            else:
                found[term.out] = along(term, values[term.left])
            return
        for gather in item.gathers:
            found[gather.out] = self._gathered(gather, values)
        rows = max((len(found[g.out]) for g in item.gathers), default=1)
        for equation in item.maps:
            out = self.table[equation.out]
            operands = {
                name: align(values[name], self.table[name], equation.place(name), len(out.shape))
                for name in equation.operands
            }
            rows = max([rows, *(len(values[n]) for n in operands if self.table[n].per_row)])
            value = NUMPY.evaluate(equation.expr, operands, self.order.single.sizes)
            found[equation.out] = spread(value, (rows, *self.shape(equation.out)))

    def shape(self, name: str) -> tuple[int, ...]:
        sizes = self.order.single.sizes
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.table[name].shape)

    def _gathered(self, gather: Gather, values: Mapping[str, Any]) -> Any:
        total: Any = 0
        for term in gather.terms:
            total = total + summed(product(term, values, self.table), term)
        return total + values[gather.start] if gather.start else total
