"""What the C templates see of a stage: plain data, all strings and numbers.

In: nothing.  Out: the types that stages.py fills and templates/c/cell reads.
Not here: how they are made (stages.py), passes and files (files.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.emit.c_sharing import Course


@dataclass(frozen=True, slots=True)
class SegmentView:
    """One vector that a group contracts: the field that points to it, how many of its elements and
    from one row to the next, its slot, and how much further on it is for the next head."""

    text: str
    depth: str
    stride: str
    slot: str
    step: str


@dataclass(frozen=True, slots=True)
class PanelView:
    """The matrix of a gate and a segment. step: from one head's to the next."""

    matrix: str
    unit_stride: str
    k_stride: str
    depth: str
    step: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """A stacked product. panels: the matrix of every gate and segment. starts: what the sum of
    every gate begins with, `start_count` vectors each, filled up with NULL. early: the leading
    segments, which are known before the loop. heads: of how many the product is for one, or empty;
    then `start_step` is from one head's starts to the next. computed: a matrix is no parameter."""

    number: int
    gates: int
    units: str
    heads: str
    start_step: str
    computed: bool
    segments: tuple[SegmentView, ...]
    panels: tuple[PanelView, ...]
    starts: tuple[str, ...]
    start_count: int
    depth: str
    early: tuple[SegmentView, ...]
    early_depth: str

    def steps_with(self, rows: str) -> str:
        """From head to head, as an initializer; rows: of what is contracted before the loop."""
        return head_steps(self, rows)


def head_steps(group: GroupView, rows: str) -> str:
    """What changes from one head of a product to the next, as an initializer of dk_heads."""
    gates = f"g{group.gates}"
    before = f"{rows} * DK_GROUP(before_size, {gates})({group.units})" if group.early else "0"
    starts = ["0" if start == "NULL" else group.start_step for start in group.starts]
    lists = (
        [panel.step for panel in group.panels],
        starts or ["0"],
        [segment.step for segment in group.segments],
    )
    texts = (f"(const size_t[]){{{', '.join(found)}}}" for found in lists)
    panel = f"DK_GROUP(panel_size, {gates})({group.units}, {group.depth})"
    return f"{{{', '.join((panel, before, *texts))}}}"


@dataclass(frozen=True, slots=True)
class FactorView:
    """An operand of outer products: the field that points to it, and its width; of those with
    heads of one head, with the elements from one row to the next and from head to head."""

    text: str
    width: str
    stride: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class OuterView:
    """An outer product: the places of its factors among all, and what it is added to."""

    left: int
    right: int
    out: str


@dataclass(frozen=True, slots=True)
class OutersView:
    """All outer products of a stage that have the same heads, or none; their factors without
    repetition."""

    alive: str
    heads: str
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
class FoldView:
    """A sum of what a pass has in registers: over the last axis (line), over the one before it
    (column), or over both (total). places: slots that it goes to, and whether each may be NULL."""

    name: str
    over: str
    text: str
    places: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: a unit function, a function over rows and units, and its call.

    note: the equations in plain text.  lines: of the unit function; none where the stage stores
    its products as they are.  parameters, results, members: of the unit function, in lines.
    read_slots, write_slots: fields of its arrays.  texts: how the call fills them.  many_rows:
    those of a chunk of steps.  one_block: its products take units in the same blocks.  outers,
    sum_texts: a stage of sums.  work: what members do between meetings, in this order.
    lengths: of the axes of a stage that runs over each of them.  by_head: over the first of two,
    with a product for each place on it.  folds: sums of what it computes.
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
    outers: tuple[OutersView, ...]
    sum_texts: tuple[str, ...]
    work: Course
    lengths: tuple[tuple[str, str], ...] = ()
    by_head: bool = False
    folds: tuple[FoldView, ...] = ()

    @property
    def uses_place(self) -> bool:
        """Whether something is read or written where the stage is."""
        return bool(self.stores) or any("+ place" in load.text for load in self.loads)

    @property
    def has_lines(self) -> bool:
        return any(fold.over == "line" for fold in self.folds)

    @property
    def matrices_of_row(self) -> str:
        """How many there are over the last two axes."""
        return " * ".join(f"a->{length}" for length in self._leading[:-1]) or "1"

    @property
    def matrix_indices(self) -> tuple[tuple[str, str], ...]:
        return tuple((f"i_{k}", "matrix % matrices") for k in range(len(self._leading) - 1))

    @property
    def matrix_arguments(self) -> str:
        return "".join(f" i_{k}," for k in range(len(self._leading) - 1))

    @property
    def by_lines(self) -> bool:
        """Whether all sums are over the last axis: lines then know nothing of each other."""
        return all(fold.over == "line" for fold in self.folds)

    @property
    def _leading(self) -> tuple[str, ...]:
        """Fields of the lengths of all axes but the last."""
        return tuple(name for name, _ in self.lengths[:-1])

    @property
    def place(self) -> str:
        """Where the vectors of a line begin."""
        text = "row"
        for k, length in enumerate(self._leading):
            text = f"({text} * a->{length} + i_{k})"
        return f"{text} * a->dk_width"

    @property
    def lines_of_row(self) -> str:
        return " * ".join(f"a->{length}" for length in self._leading)

    @property
    def indices(self) -> tuple[tuple[str, str], ...]:
        """The places of a line on the leading axes."""
        found = []
        for k, length in enumerate(self._leading):
            behind = "".join(f" / a->{other}" for other in reversed(self._leading[k + 1 :]))
            found.append((f"i_{k}", f"line{behind} % a->{length}"))
        return tuple(found)

    @property
    def index_parameters(self) -> str:
        return "".join(f" size_t i_{k}," for k in range(len(self._leading)))

    @property
    def index_arguments(self) -> str:
        return "".join(f" i_{k}," for k in range(len(self._leading)))
