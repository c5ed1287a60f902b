"""Everything there is to see of a cell, computed when it is first asked for.

In: a Cell.  Out: a `View`, which every format reads.
Not here: any format (inspect/text/, latex/, html/ and json.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from derive import pipeline
from derive.cell import Cell
from derive.derivative import Gradient
from derive.inspect.facts.chain_rule import Link, chain_rule
from derive.inspect.facts.cost import Cost, Part, cost, widths
from derive.inspect.facts.data_flow import Graph, graph
from derive.inspect.facts.roofline import Roof, Shape, intensity, roofs, rows_of, sizes_at, traffic
from derive.inspect.facts.schedule_summary import Loops, loops
from derive.inspect.facts.structure import Structure
from derive.inspect.facts.times import Times, times
from derive.program.program import Dim
from derive.schedule import Schedule
from derive.symbolic.functions import Expr
from derive.textbook.derivation import Derivation, Line, derivation

if TYPE_CHECKING:
    from derive.machine.probe import Machine
    from derive.verification.report import Report

#: Numbers are given for widths of this many units where the user names none.
USUAL_WIDTH = 128


@dataclass(frozen=True, slots=True)
class Shaped:
    """Arrays that play one part and have one shape.  shape: of one row.  call: of what a caller
    gives or gets."""

    names: tuple[str, ...]
    role: str
    shape: tuple[Dim, ...]
    call: tuple[Dim, ...]


@dataclass(frozen=True)
class View:
    """sizes: {width name: number}, for the numbers beside the formulas of a cost.
    report: what a verification found, where there was one.  shapes, machine: where the cost
    says what binds; there are none without a machine."""

    cell: Cell
    given: tuple[tuple[str, int], ...] = ()
    report: Report | None = None
    shapes: tuple[Shape, ...] = ()
    machine: Machine | None = None

    @cached_property
    def gradient(self) -> Gradient:
        return pipeline.differentiate(self.cell)

    @cached_property
    def derivation(self) -> Derivation:
        return derivation(self.gradient, self.cell)

    @cached_property
    def tangent(self) -> View:
        """Of the cell of directional derivatives."""
        return View(pipeline.tangent(self.cell), self.given)

    @property
    def moved(self) -> tuple[Line, ...]:
        """The lines of the tangent cell: what it shares with the cell, then the tangents."""
        return self.tangent.derivation.equations

    @cached_property
    def times(self) -> Times:
        """Which step each array belongs to, for the notation of time."""
        return times(self.gradient)

    @cached_property
    def graph(self) -> Graph:
        return graph(self.cell)

    @cached_property
    def chain(self) -> Mapping[str, tuple[Link, ...]]:
        """{line of the gradient: the contributions that add up to it}."""
        return chain_rule(self.gradient, self.derivation)

    @cached_property
    def arrays(self) -> tuple[Shaped, ...]:
        """Every array that has a name for a reader, those of one kind together."""
        cell, found = self.cell, self.derivation
        of: dict[str, tuple[Dim, ...]] = {a.name: a.shape for a in self.gradient.program.arrays}
        of |= {**cell.checked.shapes, **cell.outputs}
        groups: tuple[tuple[Iterable[str], str, tuple[str, ...]], ...] = (
            (cell.inputs, "input", ("T", "B")),
            (cell.states, "state", ("B",)),
            (cell.params, "parameter", ()),
            ((e.lhs.name for e in cell.equations), "defined, each step", ("B",)),
            ((line.name for line in found.where), "named here, each step", ("B",)),
            (cell.outputs, "output", ("T", "B")),
            ((seed.name for seed in found.seeds), "cotangent from outside", ("B",)),
        )
        alike: dict[tuple[str, tuple[Dim, ...]], list[str]] = {}
        leads = {role: lead for _, role, lead in groups}
        for names, role, _ in groups:
            for name in names:
                alike.setdefault((role, of[name]), []).append(name)
        return tuple(
            Shaped(tuple(names), role, shape, (*leads[role], *shape))
            for (role, shape), names in alike.items()
        )

    @cached_property
    def structure(self) -> Structure:
        """What kind of recurrence it is."""
        return Structure(self.cell)

    @cached_property
    def schedule(self) -> Schedule:
        return pipeline.schedule(self.cell)

    @cached_property
    def loops(self) -> Loops:
        return loops(self.schedule)

    @cached_property
    def cost(self) -> Cost:
        return cost(self.cell, self.schedule)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        return {**dict.fromkeys(widths(self.cell), USUAL_WIDTH), **dict(self.given)}

    @cached_property
    def intensities(self) -> tuple[tuple[str, Part, Expr], ...]:
        """(pass, part, operations a byte in float32) of what multiplies by matrices."""
        plans = self.schedule
        found = (
            ("forward", plans.forward, self.cost.forward),
            ("backward", plans.backward, self.cost.backward),
        )
        return tuple(
            (name, part, intensity(works[part], moved, rows_of(part, widths(self.cell))))
            for name, plan, works in found
            for part, moved in traffic(plan).items()
            if works[part].multiply_adds != 0
        )

    @cached_property
    def roofs(self) -> Mapping[Shape, tuple[Roof, ...]]:
        """What binds at each of the shapes, in float32."""
        if self.machine is None:
            return {}
        names, given = widths(self.cell), dict(self.given)
        return {
            shape: roofs(
                self.cost, self.schedule, shape, sizes_at(names, shape, given), self.machine
            )
            for shape in self.shapes
        }

    def files(self, target: str) -> Mapping[str, str]:
        return pipeline.emit(self.cell, target)
