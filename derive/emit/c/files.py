"""Cell and Schedule -> the C files: NAME.h, NAME.c and the shared header.

In: a Cell and its Schedule.  Out: {relative path: text}.
Not here: stages (stages.py), memory (memory.py), layout (templates/c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from derive.build.templates import environment
from derive.cell import Cell
from derive.emit.banner import Banner, banner
from derive.emit.c.along_axes import uses_axes
from derive.emit.c.early_products import with_early_products
from derive.emit.c.elementwise import ElementwiseView, elementwise_view
from derive.emit.c.file_views import (
    FieldView,
    FileView,
    MemberView,
    PanelGroupView,
    PassFileView,
    PhaseView,
    StructView,
)
from derive.emit.c.lifetimes import check_memory
from derive.emit.c.memory import backward_memory, forward_memory
from derive.emit.c.memory_views import Memory
from derive.emit.c.names import argument_names, dimension_names
from derive.emit.c.not_packed import not_packed
from derive.emit.c.shared_header import render_header
from derive.emit.c.stages import stage_views
from derive.emit.c.syntax import REALS, WIDTH, broken, listed
from derive.emit.c.views import StageView
from derive.emit.c_sharing import LoopWork, Work, check_course, course_of, parts, reads, writes
from derive.emit.equation_lines import gradient_lines
from derive.errors import CellError
from derive.program.program import Dim
from derive.schedule import Schedule
from derive.schedule.schedule import scheduled_in_blocks

HEADER = "c/derive_kernels.h"


def c_files(cell: Cell, schedule: Schedule) -> dict[str, str]:
    """The files of a cell; the header is the same for every cell."""
    if f"c/{cell.name}.h" == HEADER:
        raise CellError(
            f"a cell called {cell.name} would overwrite the header that all cells share",
            hint=f"cell {cell.name}_cell",
        )
    text = banner(cell, schedule)
    dims, steps, rows = dimension_names(schedule)
    view = file_view(cell, schedule, text)
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
        "widths": _widths(cell, dims),
        "groups": [
            (gates, _across(gates))
            for gates in sorted({group.gates for p in view.passes for group in p.groups})
        ],
        "reals": REALS,
        "v": view,
        "not_packed": ", ".join(
            not_packed(scheduled_in_blocks(schedule).forward, schedule.split.gradient.step.params)
        ),
    }
    templates = environment()
    return {
        HEADER: render_header(),
        f"c/{cell.name}.h": templates.get_template("c/cell/cell.h.j2").render(context),
        f"c/{cell.name}.c": _fitted(templates.get_template("c/cell/cell.c.j2").render(context)),
    }


def _across(gates: int) -> str:
    """Vectors in a row of a product's tile, as DK_DEFINE_GROUP names its functions by."""
    return "4" if gates < 3 else str(gates) if gates < 7 else "wide"


def _fitted(text: str) -> str:
    """Code whose long lines are broken: names and equations decide how long they are."""
    lines = []
    for line in text.split("\n"):
        bare = line.lstrip()
        if len(line) > WIDTH and not bare.startswith(("#", "*", "/*")):
            indent = len(line) - len(bare)
            lines += [" " * indent + part for part in broken(bare, indent)]
        else:
            lines.append(line)
    return "\n".join(lines)


def file_view(cell: Cell, schedule: Schedule, text: Banner) -> FileView:
    """The kernels of a cell as their templates see them."""
    notes = {"forward": text.notes, "backward": gradient_lines(cell, schedule)}
    schedule = scheduled_in_blocks(schedule)
    schedule = replace(
        schedule,
        forward=with_early_products(schedule.forward),
        backward=with_early_products(schedule.backward),
    )
    plans = {"forward": schedule.forward, "backward": schedule.backward}
    memories = {
        "forward": check_memory(schedule.forward, forward_memory(schedule)),
        "backward": check_memory(schedule.backward, backward_memory(schedule)),
    }
    structs = _structs(cell, schedule)
    passes = []
    for label, plan in plans.items():
        memory, forward = memories[label], label == "forward"
        phases = stage_views(label, plan, memory, notes[label])
        loop = elementwise_view(label, plan, memory, notes[label], is_forward=forward)
        if loop:
            phases = {**phases, "step": ()}
        passes.append(_pass(label, phases, loop, memory, structs))
    present = {struct.name: [field.name for field in struct.fields] for struct in structs}

    def members(*pairs: tuple[str, str]) -> tuple[MemberView, ...]:
        return tuple(MemberView(type_, field) for type_, field in pairs if type_ in present)

    view = FileView(
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
        saved=memories["forward"].saved,
        params=listed((f"params->{name}" for name in present.get("params", ())), indent=8),
        passes=tuple(passes),
        uses_axes=any(map(uses_axes, plans.values())),
    )  # fmt: skip
    for one in view.passes:
        for way, course in courses(one).items():
            check_course(f"{cell.name} {one.name}, {way} shared", course)
    return view


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


def _widths(cell: Cell, dims: Mapping[str, str]) -> str:
    """A number that the elements of a row, and the widths of a matrix, do not exceed: the sum of
    all widths; where a row has several axes, of the elements of every shape."""
    step, table = cell.step, cell.step.program.table()
    names = (*step.params, *step.inputs, *step.states, *step.outputs)
    shapes = [table[name].shape for name in names]
    texts = [f"(double)sizes->{dim}" for dim in dims.values()]
    fixed = sum(width for shape in shapes for width in shape if isinstance(width, int))
    axes = {a.shape: None for a in cell.step.program.arrays if len(a.shape) > 2 - a.per_row}
    texts += [
        " * ".join(f"{d}.0" if isinstance(d, int) else f"(double)sizes->{dims[d]}" for d in shape)
        for shape in axes
    ]
    return " + ".join([*([f"{fixed}.0"] if fixed or not texts else []), *texts])


def _pass(
    name: str,
    stages: Mapping[str, tuple[StageView, ...]],
    loop: ElementwiseView | None,
    memory: Memory,
    structs: tuple[StructView, ...],
) -> PassFileView:
    groups = tuple(
        PanelGroupView(
            group.number,
            group,
            group.gates,
            group.units,
            group.depth,
            " ".join(dict.fromkeys(p.matrix.removeprefix("args->params.") for p in group.panels)),
            group.panels,
            len(group.segments),
            group.starts,
            group.start_count,
            group.early,
            group.early_depth,
        )
        for of_phase in stages.values()
        for stage in of_phase
        for group in stage.groups
    )
    early = {"before": tuple(group for group in groups if group.early)}
    fields = {struct.name: [f.name for f in struct.fields] for struct in structs}
    written = (
        (("outputs", "outputs"), ("results", "last"))
        if name == "forward"
        else (("d_params", "d_params"), ("d_inputs", "d_inputs"), ("results", "d_first"))
    )
    required = [
        f"args->{field}.{member}"
        for struct, field in (("inputs", "inputs"), *written)
        for member in fields.get(struct, ())
    ]
    required += ["args->workspace"] if name == "forward" else ["args->saved", "args->workspace"]
    slots = {slot.name: slot for slot in memory.slots}
    return PassFileView(
        name=name,
        is_forward=name == "forward",
        memory=memory,
        phases=tuple(
            PhaseView(label, of_phase, early.get(label, ()))
            for label, of_phase in stages.items()
            if of_phase or early.get(label)
        ),
        course={
            label: tuple(work for stage in of_phase for work in stage.work)
            for label, of_phase in stages.items()
        },
        groups=groups,
        slots=tuple(slot for slot in memory.slots if not slot.argument),
        scratch=_scratch(memory),
        zeroed=tuple(
            (f"call->{argument or f'at.{slot}.at'}", count)
            for slot, count in memory.zeroed
            for argument in (slots[slot].argument,)
        ),
        zero_seeds=tuple(
            (given, rows.replace("way->", "call->way."), width)
            for given, _, rows, width in memory.zero_seeds
        ),
        required=listed(required, indent=8),
        ended=memory.ended,
        loop=loop,
    )


def courses(view: PassFileView) -> dict[str, list[Work | None]]:
    """What the members of a team do between meetings, by how they share the steps."""
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
            view.course,
            view.memory,
            early,
            whole,
            is_forward=view.is_forward,
            own_rows=own_rows,
            packs=bool(view.computed),
        )
        for way, own_rows in ways.items()
    }


def _scratch(memory: Memory) -> str:
    """Elements that outer products need: those of the stage that needs most."""
    text = ""
    for size in memory.outers:
        widest = size.lefts[0]
        for width in size.lefts[1:]:
            widest = f"dk_larger({widest}, {width})"
        padded = " + ".join(f"dk_padded({width})" for width in size.rights)
        name = "dk_head_scratch" if size.by_head else "dk_outer_scratch"
        scratch = f"{name}(way->threads, {size.rows}, {widest}, {padded})"
        text = f"dk_larger({text}, {scratch})" if text else scratch
    return text
