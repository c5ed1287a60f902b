"""What a phase of a loop is made of: equations, and groups of them that are one operation.

In: the sums of a Stage.  Out: items with `outs_of` and `operands_of`.
Not here: their text (loop.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from derive.program import Array, Layout, Map, Matmul, Sum
from derive.schedule.plan import Accumulator, Group

#: A group is one product of stacked matrices, or several sums over rows done as one.
Item = Map | Group | Accumulator


def together(sums: Sequence[Accumulator], table: Mapping[str, Array]) -> list[Item]:
    """Sums over rows of one kind as groups: gradients of matrices that share their right
    vector, gradients of vectors."""
    found: dict[str, list[Accumulator]] = {}
    alone: list[Item] = []
    for accumulator in sums:
        term = accumulator.terms[0]
        if len(accumulator.terms) > 1:
            alone.append(accumulator)
        elif isinstance(term, Matmul) and term.layout is Layout.OUTER and table[term.left].per_row:
            found.setdefault(f"outer {term.right}", []).append(accumulator)
        elif isinstance(term, Sum) and _is_row_sum(term, accumulator, table):
            found.setdefault("sum", []).append(accumulator)
        else:
            alone.append(accumulator)
    for members in found.values():
        members.sort(key=lambda a: a.operands[0])
    return [*(Group(tuple(members)) for members in found.values()), *alone]


def _is_row_sum(term: Sum, accumulator: Accumulator, table: Mapping[str, Array]) -> bool:
    """Whether vectors are summed over rows."""
    source, out = table[term.source], table[accumulator.out]
    return source.shape == out.shape and len(out.shape) == 1 and not term.axes


def outs_of(item: Item) -> tuple[str, ...]:
    return tuple(a.out for a in item.accumulators) if isinstance(item, Group) else (item.out,)


def operands_of(item: Item) -> tuple[str, ...]:
    if isinstance(item, Group):
        return tuple(name for a in item.accumulators for name in a.operands)
    return item.operands
