"""Cell and Schedule -> the C files: NAME.h, NAME.c and the shared header.

In: a Cell and its Schedule.  Out: {relative path: text}.
Not here: stages (stages.py), memory (memory.py), layout (templates/c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from derive.build.templates import environment
from derive.cell import Cell
from derive.emit.banner import Banner, banner
from derive.emit.c.along_axes import uses_axes
from derive.emit.c.early_products import with_early_products
from derive.emit.c.elementwise import ElementwiseView, elementwise_view
from derive.emit.c.lifetimes import check_memory
from derive.emit.c.memory import (
    BufferView,
    Memory,
    argument_names,
    backward_memory,
    dimension_names,
    forward_memory,
)
from derive.emit.c.shared_header import render_header
from derive.emit.c.stages import PanelView, SegmentView, StageView, stage_views
from derive.emit.c.syntax import REALS, Real
from derive.emit.c_sharing import LoopWork, Work, check_course, course_of, parts, reads, writes
from derive.errors import CellError
from derive.program.program import Dim
from derive.schedule import Schedule

HEADER = "c/derive_kernels.h"


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
    gates: int
    units: str
    depth: str
    note: str
    panels: tuple[PanelView, ...]
    segment_count: int
    starts: tuple[str, ...]
    start_count: int
    early: tuple[SegmentView, ...]


@dataclass(frozen=True, slots=True)
class PassFileView:
    """A pass as its template sees it.

    loop: the loop over time where no unit meets another; then the phase `step` has no stage.
    """

    name: str
    is_forward: bool
    memory: Memory
    phases: Mapping[str, tuple[StageView, ...]]
    groups: tuple[PanelGroupView, ...]
    scratch: str
    required: tuple[str, ...]
    parameters: tuple[str, ...]
    ended: tuple[tuple[str, str], ...]
    loop: ElementwiseView | None

    @property
    def early(self) -> tuple[PanelGroupView, ...]:
        """The products of the loop that may be begun before it."""
        return tuple(group for group in self.groups if group.early)

    @property
    def stages(self) -> tuple[StageView, ...]:
        return tuple(stage for stages in self.phases.values() for stage in stages)


@dataclass(frozen=True, slots=True)
class RealView:
    name: str
    r: Real
    other: Real
    structs: tuple[StructView, ...]
    forward_structs: tuple[MemberView, ...]
    backward_structs: tuple[MemberView, ...]
    saved: tuple[BufferView, ...]
    passes: tuple[PassFileView, ...]
    uses_axes: bool = False

    @property
    def matrices(self) -> int:
        """At least as many as are in the panels of a pass."""
        return max(sum(len(group.panels) + group.gates for group in p.groups) for p in self.passes)


def c_files(cell: Cell, schedule: Schedule) -> dict[str, str]:
    """The files of a cell; the header is the same for every cell."""
    if f"c/{cell.name}.h" == HEADER:
        raise CellError(
            f"a cell called {cell.name} would overwrite the header that all cells share",
            hint=f"cell {cell.name}_cell",
        )
    text = banner(cell, schedule)
    dims, steps, rows = dimension_names(schedule)
    reals = real_views(cell, schedule, text)
    gates = sorted({g.gates for v in reals for p in v.passes for g in p.groups})
    context = {
        "cell": cell.name,
        "guard": f"{cell.name.upper()}_KERNELS_H",
        "title": f"{cell.name}: kernels of a recurrent cell, forward and backward through time.",
        "doc": text.doc,
        "equations": text.equations,
        "schedule_lines": text.schedule,
        "digest": text.digest,
        "T": steps,
        "B": rows,
        "dims": tuple(dims.values()),
        "fixed_widths": _fixed_widths(cell),
        "gate_counts": gates,
        "reals": reals,
    }
    templates = environment()
    return {
        HEADER: render_header(),
        f"c/{cell.name}.h": templates.get_template("c/cell/cell.h.j2").render(context),
        f"c/{cell.name}.c": templates.get_template("c/cell/cell.c.j2").render(context),
    }


def real_views(cell: Cell, schedule: Schedule, text: Banner) -> tuple[RealView, ...]:
    """The kernels of a cell in each real type, as their template sees them."""
    schedule = replace(
        schedule,
        forward=with_early_products(schedule.forward),
        backward=with_early_products(schedule.backward),
    )
    memories = (
        check_memory(schedule.forward, forward_memory(schedule)),
        check_memory(schedule.backward, backward_memory(schedule)),
    )
    reals = tuple(_real(cell, schedule, memories, real, text) for real in REALS)
    for view in reals[0].passes:  # they differ in their type alone
        for way, course in courses(view).items():
            check_course(f"{view.name}, {way} shared", course)
    return reals


def _real(
    cell: Cell, schedule: Schedule, memories: tuple[Memory, Memory], real: Real, text: Banner
) -> RealView:
    name = f"{cell.name}_{real.tag}"
    plans = schedule.forward, schedule.backward
    structs = _structs(cell, schedule)
    passes = []
    for label, plan, memory in zip(("forward", "backward"), plans, memories, strict=True):
        function = f"{name}_{label}"
        phases = stage_views(function, plan, memory, real, text.notes)
        forward = label == "forward"
        loop = elementwise_view(function, plan, memory, real, text.notes, is_forward=forward)
        if loop:
            phases = {**phases, "step": ()}
        passes.append(_pass(function, phases, loop, memory, real, forward, structs))
    present = {struct.name for struct in structs}

    def members(*pairs: tuple[str, str]) -> tuple[MemberView, ...]:
        return tuple(MemberView(type_, field) for type_, field in pairs if type_ in present)

    return RealView(
        name=name,
        r=real,
        other=next(other for other in REALS if other != real),
        structs=structs,
        forward_structs=members(
            ("params", "params"), ("inputs", "inputs"), ("states", "first"),
            ("outputs", "outputs"), ("results", "last"),
        ),
        backward_structs=members(
            ("params", "params"), ("inputs", "inputs"), ("d_outputs", "d_outputs"),
            ("states", "d_last"), ("d_params", "d_params"), ("d_inputs", "d_inputs"),
            ("results", "d_first"),
        ),
        saved=memories[0].saved,
        passes=tuple(passes),
        uses_axes=any(map(uses_axes, plans)),
    )  # fmt: skip


def _structs(cell: Cell, schedule: Schedule) -> tuple[StructView, ...]:
    _, steps, rows = dimension_names(schedule)
    names, keys = argument_names(schedule)
    split = schedule.split

    def axes(shape: tuple[Dim, ...], *before: str) -> str:
        return f"[{', '.join([*before, *(str(dim) for dim in shape)])}]"

    step = cell.step
    shapes = {array.name: array.shape for array in step.program.arrays}
    keyed = zip(cell.output_keys, step.outputs, strict=True)
    params = tuple(FieldView(names[n], axes(shapes[n])) for n in step.params)
    inputs = tuple(FieldView(names[n], axes(shapes[n], steps, rows)) for n in step.inputs)
    d_params = tuple(FieldView(names[n], axes(shapes[n])) for n, _ in split.d_params)
    d_inputs = tuple(FieldView(names[n], axes(shapes[n], steps, rows)) for n, _ in split.d_inputs)
    states = tuple(FieldView(names[n], axes(shapes[n], rows)) for n in step.states)
    outputs = tuple(FieldView(keys[k], axes(shapes[n], steps, rows)) for k, n in keyed)
    found = (
        StructView("params", "Parameters, row-major.", "const ", params),
        StructView("d_params", "Gradients of the parameters. Overwritten.", "", d_params),
        StructView("inputs", "Inputs.", "const ", inputs),
        StructView("d_inputs", "Gradients of the inputs. Overwritten.", "", d_inputs),
        StructView("states", "States before the first step, or cotangents of the last ones; "
                   "NULL: zeros.", "const ", states),
        StructView("results", "States after the last step, or gradients of the first ones.", "",
                   states),
        StructView("outputs", "Outputs.", "", outputs),
        StructView("d_outputs", "Cotangents of the outputs; NULL: zeros.", "const ", outputs),
    )  # fmt: skip
    return tuple(struct for struct in found if struct.fields)


def _fixed_widths(cell: Cell) -> int:
    """The sum of all widths that are numbers."""
    step, table = cell.step, cell.step.program.table()
    names = (*step.params, *step.inputs, *step.states, *step.outputs)
    shapes = (table[name].shape for name in names)
    return sum(width for shape in shapes for width in shape if isinstance(width, int))


def _pass(
    name: str,
    phases: Mapping[str, tuple[StageView, ...]],
    loop: ElementwiseView | None,
    memory: Memory,
    real: Real,
    is_forward: bool,
    structs: tuple[StructView, ...],
) -> PassFileView:
    groups = tuple(
        PanelGroupView(
            group.number,
            group.gates,
            stage.width,
            group.depth,
            " ".join(dict.fromkeys(p.matrix.removeprefix("args->params.") for p in group.panels)),
            group.panels,
            len(group.segments),
            group.starts,
            group.start_count,
            group.early,
        )
        for stages in phases.values()
        for stage in stages
        for group in stage.groups
    )
    fields = {struct.name: [f.name for f in struct.fields] for struct in structs}
    written = (
        (("outputs", "outputs"), ("results", "last"))
        if is_forward
        else (("d_params", "d_params"), ("d_inputs", "d_inputs"), ("results", "d_first"))
    )
    required = [
        f"{field}.{name}"
        for struct, field in (("params", "params"), ("inputs", "inputs"), *written)
        for name in fields.get(struct, ())
    ]
    return PassFileView(
        name=name,
        is_forward=is_forward,
        memory=memory,
        phases=phases,
        groups=groups,
        scratch=_scratch(memory, real),
        required=(*required, "workspace") if is_forward else (*required, "saved", "workspace"),
        ended=memory.ended,
        parameters=tuple(f"params.{name}" for name in fields.get("params", ())),
        loop=loop,
    )


def courses(view: PassFileView) -> dict[str, list[Work | None]]:
    """What the members of a team do between meetings, by how they share the steps."""
    phases = {
        label: tuple(work for stage in stages for work in stage.work)
        for label, stages in view.phases.items()
    }
    early = []
    for group in view.early:
        name = f"dk_before of product {group.number}"
        vectors = (reads(segment.slot) for segment in group.early)
        early.append(Work(name, (*vectors, reads("panels"), writes(name, parts(name)))))
    loop = view.loop
    whole = None
    if loop:
        whole = LoopWork(
            loop.name,
            whole=tuple(read.slot for read in (*loop.narrow, *loop.fixed)),
            moving=tuple(read.slot for read in loop.moving),
            written=tuple(write.slot for write in loop.writes),
            history=loop.history,
        )
    ways = {"units": False} if loop else {"units": False, "rows": True}
    return {
        way: course_of(
            phases, view.memory, early, whole, is_forward=view.is_forward, own_rows=own_rows
        )
        for way, own_rows in ways.items()
    }


def _scratch(memory: Memory, real: Real) -> str:
    """Elements that outer products need: those of the widest stage."""
    text = ""
    for widths in memory.outer_widths:
        padded = " + ".join(f"dk_padded_{real.tag}({width})" for width in widths)
        size = f"dk_outer_scratch_{real.tag}(threads, {padded})"
        text = f"dk_larger({text}, {size})" if text else size
    return text or "(size_t)0"
