"""Products with a matrix for each head in C: what changes from head to head.

In: the products of a stage and the arrays that they are of.  Out: strides and steps as texts.
Not here: which products run so (schedule/blocks.py), their tiles (the shared header).

A stacked product is for one head: all heads have panels of one size, one behind the other, and the
matrices, operands and starts of the next head lie a fixed number of elements further on. Where no
term of a stage has heads, and nothing else asks for them, all of it is one flat product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from derive.emit.c.memory_views import OutersSize
from derive.errors import ProgramError
from derive.program import Array, Layout, Matmul
from derive.program.program import Dim
from derive.schedule.blocks import Blocks, blocks_of
from derive.schedule.plan import Phase, Plan

DimText = Callable[[Dim], str]


@dataclass(frozen=True, slots=True)
class Steps:
    """Of one term, in elements: the strides of its matrix, the elements of a row of its operand
    that it contracts and from one row to the next, and from head to head those of the matrix and
    those of the operand."""

    unit: str
    k: str
    depth: str
    row: str
    matrix: str
    operand: str


def times(dims: Sequence[Dim], dim: DimText) -> str:
    return " * ".join(map(dim, dims)) or "1"


def added(widths: Sequence[str]) -> str:
    """The sum of texts, 4 * w for one that stands there four times."""
    parts = []
    for width, n in Counter(widths).items():
        inner = f"({width})" if " + " in width else width
        parts.append(width if n == 1 else f"{n} * {inner}")
    return " + ".join(parts)


def blocks(term: Matmul, table: Mapping[str, Array]) -> Blocks:
    found = blocks_of(term, table)
    if found is None:
        raise ProgramError(f"{term}: the C target multiplies with matrices that all rows share")
    return found


def has_heads(terms: Sequence[Matmul], table: Mapping[str, Array]) -> bool:
    return any(blocks(term, table).heads for term in terms)


def steps_of(found: Blocks, dim: DimText, *, by_head: bool) -> Steps:
    """by_head: whether the first axis of the result is taken place by place."""
    depth, flat = times(found.depth, dim), times(found.units, dim)
    unit, k = ("1", flat) if found.turned else (depth, "1")
    row = times((*found.heads, *found.depth), dim)
    if found.heads:
        return Steps(unit, k, depth, row, f"{flat} * {depth}", depth)
    inner = times(found.units[1:], dim)
    matrix = inner if found.turned else f"{inner} * {depth}"
    return Steps(unit, k, depth, row, matrix if by_head else "0", "0")


# --- sums of outer products -------------------------------------------------------------------


def heads_of(term: Matmul, table: Mapping[str, Array], dim: DimText) -> tuple[str, str]:
    """Of a sum over rows: how many heads it has, and the width of its left factor in each; empty
    where it has none."""
    if term.layout is Layout.OUTER:
        return "", ""
    found = blocks(term, table)
    return (times(found.heads, dim), times(found.units, dim)) if found.heads else ("", "")


def factor_widths(term: Matmul, table: Mapping[str, Array], dim: DimText) -> tuple[str, str]:
    """Elements of the left and of the right factor, of one head."""
    if term.layout is Layout.OUTER:
        return dim(table[term.left].width), dim(table[term.right].width)
    found = blocks(term, table)
    return times(found.units, dim), times(found.depth, dim)


def outer_sizes(plan: Plan, dim: DimText, of_step: str) -> tuple[OutersSize, ...]:
    """The sizes of every stage with outer products; of_step: the rows of one step."""
    found: dict[OutersSize, None] = {}
    table = plan.program.table()
    rows = {Phase.STEP: of_step, Phase.ONCE: "1", Phase.LAST: "1"}
    for phase, stages in plan.phases:
        for stage in stages:
            terms: dict[tuple[str, str], list[Matmul]] = {}
            for term in (term for total in stage.sums for term in total.terms):
                if isinstance(term, Matmul) and term.layout is not Layout.AXES:
                    terms.setdefault(heads_of(term, table, dim), []).append(term)
            for (heads, _), own in terms.items():
                widths = [factor_widths(term, table, dim) for term in own]
                lefts = dict.fromkeys(left for left, _ in widths)
                rights = {t.right: right for t, (_, right) in zip(own, widths, strict=True)}
                many = rows.get(phase, "way->chunk_rows")
                found.setdefault(
                    OutersSize(many, tuple(lefts), tuple(rights.values()), bool(heads))
                )
    return tuple(found)
