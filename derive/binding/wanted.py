"""Which gradients a kernel of its own is worth.

In: a cell, flags for the gradients that a call wants, its work.  Out: names, or None for all.
Not here: leaving out what only the others need (schedule/save_or_recompute.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.cell import Cell
from derive.kernel.signature import Signature

#: Multiply-adds of a call from which a kernel for some of the gradients is worth building.
_LONG = 1 << 25


def worth_a_kernel(
    cell: Cell, own: Signature, params: Sequence[bool], inputs: Sequence[bool], work: int
) -> tuple[str, ...] | None:
    """The names whose gradients a long call computes, those of all states included; None: all.

    own: of parts.  params, inputs: a flag for each.  work: multiply-adds of its products.

    A kernel for some takes seconds to build, so few sets are told apart: of parameters and of
    inputs all or none, in the tangent cell half.
    """
    checked = cell.checked
    if work < _LONG or not own.inputs or checked.wholes or checked.fixed:
        return None
    names: list[str] = []
    for group, flags in ((tuple(own.params), params), (tuple(own.inputs), inputs)):
        half = len(group) // 2 if len(group) % 2 == 0 else len(group)
        for part in (slice(0, half), slice(half, None)):
            if any(flags[part]):
                names += group[part]
    return None if len(names) == len(own.params) + len(own.inputs) else (*names, *own.states)
