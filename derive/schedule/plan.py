"""Plan: one pass over time, as five phases of stages.

In: nothing; these are the immutable results of phases.py, stages.py and schedule.py.
Out: `Plan`, `Stage`, `Group`, `Accumulator` and the enumerations they use.
Not here: any decision.

| phase  | what runs there                                               | rows it runs over |
| ------ | ------------------------------------------------------------- | ----------------- |
| ONCE   | what depends on parameters alone                              | 1                 |
| BEFORE | products and sums no state reaches, and what follows from them | a chunk of steps |
| STEP   | everything on the way from state to state                     | the batch         |
| AFTER  | products and sums that no next state needs; gradients of parameters | a chunk of steps |
| LAST   | what depends on sums over all rows                            | 1                 |

A chunk is as many steps as keep its buffers in the cache: hoisting a product out of the loop
costs no memory that grows with T.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from derive.program import Map, Matmul, Program, Sum
from derive.program.program import Dim


class Phase(enum.Enum):
    ONCE = "once"
    BEFORE = "before the loop"
    STEP = "each step"
    AFTER = "after the loop"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Accumulator:
    """out = the sum of `terms`, which are accumulated in one place.

    The terms are products W v and W' v (held in registers), or outer products (added to a
    matrix over all rows), or Sums over rows, or one product along axes; never a mixture. `starts`
    are vectors shared by all rows that a sum of products begins with.
    """

    out: str
    terms: tuple[Matmul | Sum, ...]
    starts: tuple[str, ...] = ()

    @property
    def operands(self) -> tuple[str, ...]:
        return tuple(name for term in self.terms for name in term.operands)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The arrays the terms contract over, in order: the right operands."""
        return tuple(term.right for term in self.terms if isinstance(term, Matmul))


@dataclass(frozen=True, slots=True)
class Group:
    """Accumulators of one width that contract the same vectors: one stacked product."""

    accumulators: tuple[Accumulator, ...]

    @property
    def vectors(self) -> tuple[str, ...]:
        return self.accumulators[0].vectors


class Kind(enum.Enum):
    FUSED = "fused"  # products, then elementwise equations, unit by unit
    WIDTH_SUM = "sum over the width"  # one number per row
    ALONG_AXES = "along axes"  # products and reductions along named axes, row by row
    ROW_SUM = "sum over rows"  # gradients of parameters: outer products and column sums


@dataclass(frozen=True, slots=True)
class Stage:
    """Equations that run together in one pass over units and rows.

    `loads` are arrays read elementwise from memory, `stores` those that something outside the
    stage reads. Vectors of products and sources of sums are read as well.
    """

    kind: Kind
    shape: tuple[Dim, ...]
    groups: tuple[Group, ...]
    maps: tuple[Map, ...]
    sums: tuple[Accumulator, ...]
    loads: tuple[str, ...]
    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass over time. `carried` pairs the input and the output that carry the loop.

    linear: each step is affine in what is carried, unit by unit.  elementwise: in a step no unit
    of a row meets another unit or another row, so each can run through all steps by itself.
    """

    program: Program
    carried: tuple[tuple[str, str], ...]
    phases: tuple[tuple[Phase, tuple[Stage, ...]], ...]
    phase_of: tuple[tuple[str, Phase], ...]
    linear: bool
    elementwise: bool

    def stages(self, phase: Phase) -> tuple[Stage, ...]:
        return dict(self.phases)[phase]


#: What a stage is made of: a product or a sum over rows is an Accumulator of one term or more.
Work = Map | Sum | Accumulator
