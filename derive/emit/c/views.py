"""What the C templates see of a stage: plain data, all strings and numbers.

In: nothing.  Out: the types that stages.py fills and templates/c/cell reads.
Not here: how they are made (stages.py), passes and files (files.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.emit.c_sharing import Course


@dataclass(frozen=True, slots=True)
class SegmentView:
    """One vector that a group contracts: the field that points to it, its width, and its slot."""

    text: str
    depth: str
    slot: str


@dataclass(frozen=True, slots=True)
class PanelView:
    """The matrix of a gate and a segment."""

    matrix: str
    unit_stride: str
    k_stride: str
    depth: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """A stacked product. panels: the matrix of every gate and segment. starts: what the sum of
    every gate begins with, `start_count` vectors each, filled up with NULL. early: the leading
    segments, which are known before the loop."""

    number: int
    gates: int
    segments: tuple[SegmentView, ...]
    panels: tuple[PanelView, ...]
    starts: tuple[str, ...]
    start_count: int
    depth: str
    early: tuple[SegmentView, ...]
    early_depth: str


@dataclass(frozen=True, slots=True)
class FactorView:
    """An operand of outer products: the field that points to it, and its width."""

    text: str
    width: str


@dataclass(frozen=True, slots=True)
class OuterView:
    """An outer product: the places of its factors among all, and what it is added to."""

    left: int
    right: int
    out: str


@dataclass(frozen=True, slots=True)
class OutersView:
    """All outer products of a stage, their factors without repetition."""

    alive: str
    lefts: tuple[FactorView, ...]
    rights: tuple[FactorView, ...]
    products: tuple[OuterView, ...]


@dataclass(frozen=True, slots=True)
class LoadView:
    """A parameter of the unit function: its name, how a vector of it is read, and from where."""

    name: str
    text: str
    slot: str


@dataclass(frozen=True, slots=True)
class StoreView:
    """A result as text, and the slot it is written to."""

    text: str
    slot: str
    may_be_null: bool


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: a unit function, a function over rows and units, and its call.

    note: the equations in plain text.  lines: of the unit function; none where the stage stores
    its products as they are.  parameters, results, members: of the unit function, in lines.
    read_slots, write_slots: fields of its arrays.  texts: how the call fills them.  many_rows:
    those of a chunk of steps.  one_block: its products take units in the same blocks.  outers,
    sum_texts: a stage of sums.  work: what members do between meetings, in this order.
    lengths, times: of a stage that runs over all axes but the last as over rows.
    """

    name: str
    title: str
    kind: str
    note: tuple[str, ...]
    width: str
    block: str
    rows: str
    one_block: bool
    many_rows: bool
    groups: tuple[GroupView, ...]
    loads: tuple[LoadView, ...]
    size_loads: tuple[LoadView, ...]
    lines: tuple[str, ...]
    parameters: tuple[str, ...]
    results: tuple[str, ...]
    members: tuple[str, ...]
    stores: tuple[StoreView, ...]
    read_slots: tuple[str, ...]
    write_slots: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    outers: OutersView | None
    sum_texts: tuple[str, ...]
    work: Course
    lengths: tuple[tuple[str, str], ...] = ()
    times: str = ""
