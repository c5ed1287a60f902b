"""Everything there is to see of a cell, computed when it is first asked for.

In: a Cell.  Out: a `View`, which every format reads.
Not here: any format (as_text.py, as_latex.py, as_json.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from derive import pipeline
from derive.cell import Cell
from derive.differentiate import Gradient
from derive.inspect.cost import Cost, cost, widths
from derive.inspect.derivation import Derivation, derivation
from derive.inspect.loops import Loops, loops
from derive.schedule import Schedule

if TYPE_CHECKING:
    from derive.verify.report import Report

#: Numbers are given for widths of this many units where the user names none.
USUAL_WIDTH = 128


@dataclass(frozen=True)
class View:
    """sizes: {width name: number}, for the numbers beside the formulas of a cost.
    report: what a verification found, where there was one."""

    cell: Cell
    given: tuple[tuple[str, int], ...] = ()
    report: Report | None = None

    @cached_property
    def gradient(self) -> Gradient:
        return pipeline.differentiate(self.cell)

    @cached_property
    def derivation(self) -> Derivation:
        return derivation(self.cell, self.gradient)

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

    def files(self, target: str) -> Mapping[str, str]:
        return pipeline.emit(self.cell, target)
