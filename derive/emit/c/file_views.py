"""What the C templates see of a file: plain data, all strings and numbers.

In: nothing.  Out: the types that files.py fills and templates/c/cell reads.
Not here: how they are made (files.py), stages (views.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from derive.emit.c.elementwise import ElementwiseView
from derive.emit.c.memory_views import BufferView, Memory, SlotView
from derive.emit.c.views import GroupView, PanelView, SegmentView, StageView
from derive.emit.c_sharing import Work


@dataclass(frozen=True, slots=True)
class FieldView:
    name: str
    shape: str


@dataclass(frozen=True, slots=True)
class StructView:
    """A structure of pointers; left out where it would be empty."""

    name: str
    note: str
    const: str
    fields: tuple[FieldView, ...]


@dataclass(frozen=True, slots=True)
class MemberView:
    type: str
    field: str


@dataclass(frozen=True, slots=True)
class PanelGroupView:
    number: int
    group: GroupView
    gates: int
    units: str
    depth: str
    note: str
    panels: tuple[PanelView, ...]
    segment_count: int
    starts: tuple[str, ...]
    start_count: int
    early: tuple[SegmentView, ...]
    early_depth: str

    @property
    def reads_sizes(self) -> bool:
        strides = [(panel.unit_stride, panel.k_stride, panel.depth) for panel in self.panels]
        return _mentions("sizes->", strides)

    @property
    def reads_args(self) -> bool:
        """Whether its weights name an argument, besides what the call has computed."""
        texts = [panel.matrix for panel in self.panels]
        return self.reads_sizes or _mentions("args->", (texts, self.starts))


#: What the function of a phase does, as its comment says it.
_PHASES = {
    "once": "What follows from parameters alone.",
    "before": "What no state is needed for: a chunk of steps at once.",
    "step": "One step.",
    "after": "What no other step waits for: a chunk of steps at once.",
    "last": "What follows from sums over all rows.",
}


@dataclass(frozen=True, slots=True)
class PhaseView:
    """A phase that does something.  early: products of the loop that it begins."""

    label: str
    stages: tuple[StageView, ...]
    early: tuple[PanelGroupView, ...]

    @property
    def comment(self) -> str:
        return _PHASES[self.label]

    @property
    def reads_sizes(self) -> bool:
        products = any(stage.groups for stage in self.stages)
        begun = [(group.early, group.units) for group in self.early]
        return products or _mentions("sizes->", (self.stages, begun))

    @property
    def reads_span(self) -> bool:
        """Whether it matters which rows: not for what all rows share."""
        products = any(stage.groups for stage in self.stages)
        return products or bool(self.early) or _mentions("span", self.stages)


@dataclass(frozen=True, slots=True)
class PassFileView:
    """A pass as its template sees it.

    course: the work of each phase.  loop: the loop over time where no unit meets another; then the
    phase `step` has no stage.  slots: those that are more than a member of the arguments.
    scratch: elements that outer products need.  zeroed: (place, elements) of sums over rows.
    required: in lines.
    """

    name: str
    is_forward: bool
    memory: Memory
    phases: tuple[PhaseView, ...]
    course: Mapping[str, tuple[Work | None, ...]]
    groups: tuple[PanelGroupView, ...]
    slots: tuple[SlotView, ...]
    scratch: str
    zeroed: tuple[tuple[str, str], ...]
    zero_seeds: tuple[tuple[str, str, str], ...]
    required: tuple[str, ...]
    ended: tuple[tuple[str, str], ...]
    loop: ElementwiseView | None

    @property
    def early(self) -> tuple[PanelGroupView, ...]:
        """The products of the loop that may be begun before it."""
        return tuple(group for group in self.groups if group.early)

    @property
    def packed(self) -> tuple[PanelGroupView, ...]:
        """The products with parameters alone, whose panels may be given."""
        return tuple(group for group in self.groups if not group.group.computed)

    @property
    def computed(self) -> tuple[PanelGroupView, ...]:
        """The products with matrices that each call computes, and packs."""
        return tuple(group for group in self.groups if group.group.computed)

    @property
    def steps_alone(self) -> bool:
        """Whether steps go over arrays of several axes, and have no product on tiles."""
        step = self.labels.get("step")
        stages = step.stages if step else ()
        return any(stage.folds for stage in stages) and not any(stage.groups for stage in stages)

    @property
    def weights(self) -> str:
        """Elements of all panels, as text."""
        return "(at.dk_packed + at.dk_computed)" if self.computed else "at.dk_packed"

    @property
    def stages(self) -> tuple[StageView, ...]:
        return tuple(stage for phase in self.phases for stage in phase.stages)

    @property
    def labels(self) -> Mapping[str, PhaseView]:
        return {phase.label: phase for phase in self.phases}

    @property
    def has_steps(self) -> bool:
        """Whether anything happens from step to step, besides an elementwise loop."""
        return not self.loop and ("step" in self.labels or bool(self.memory.states))

    @property
    def chunk_reads_all(self) -> bool:
        """Whether a chunk is worked on as a whole."""
        return bool(self.ended) or any(
            phase.reads_span for phase in self.phases if phase.label in ("before", "after")
        )

    @property
    def calls_once(self) -> bool:
        """Whether anything is done once in a call."""
        begins = not self.is_forward and bool(self.memory.states)
        return begins or any(
            phase.reads_span for phase in self.phases if phase.label in ("once", "last")
        )

    @property
    def starts(self) -> bool:
        """Whether anything is packed or set to zero."""
        return bool(self.packed or self.zeroed or self.zero_seeds)

    @property
    def start_reads_sizes(self) -> bool:
        return _mentions("sizes->", (self.zeroed, self.zero_seeds))


@dataclass(frozen=True, slots=True)
class FileView:
    """What stands in the source, once for all precisions."""

    structs: tuple[StructView, ...]
    forward_structs: tuple[MemberView, ...]
    backward_structs: tuple[MemberView, ...]
    saved: tuple[BufferView, ...]
    params: tuple[str, ...]
    passes: tuple[PassFileView, ...]
    uses_axes: bool = False

    @property
    def matrices(self) -> int:
        """At least as many as are in the panels of a pass."""
        return max(sum(len(group.panels) + group.gates for group in p.groups) for p in self.passes)


def _mentions(word: str, views: object) -> bool:
    """Whether a text of plain data has `word` in it."""
    return word in repr(views)
