"""Where every array of a pass lives in C: argument, saved, workspace.

In: a Plan and the part its arrays play.  Out: `Memory`: slots (fields that point to arrays),
buffers (pieces of the workspace and of what is saved), and who reads and writes which slot.
Not here: which arrays need memory at all (schedule.py), the text of a stage (c_view.py).

A slot is a pointer and two strides: element of row r of a stage is at
`at + global * (rows before this call's) + local * (rows before it in this chunk)`.

| array                          | at                 | global | local |
| ------------------------------ | ------------------ | ------ | ----- |
| argument of all T steps        | args               | width  | 0     |
| parameter, what depends on parameters alone | args, workspace | 0 | 0 |
| kept for the backward pass     | saved              | width  | 0     |
| kept for a chunk of steps      | workspace          | 0      | width |
| kept for one step              | workspace          | 0      | 0     |
| state before / after a step    | history: one slot of B rows further on for the later one        |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from derive.emit.c_syntax import c_names
from derive.program import Array, Dim, Matmul, Namer
from derive.schedule import Kind, Phase, Plan, Schedule


@dataclass(frozen=True, slots=True)
class SlotView:
    name: str
    kind: str  # "source" (const) or "target"
    at: str
    global_: str
    local: str


@dataclass(frozen=True, slots=True)
class BufferView:
    """`rows` times `width` elements; both are expressions in sizes."""

    name: str
    rows: str
    width: str


@dataclass(frozen=True, slots=True)
class StateView:
    """A carried array: the slots of its value before and after a step."""

    name: str
    before: str
    after: str
    width: str
    history: bool
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Memory:
    names: Mapping[str, str]
    dims: Mapping[str, str]
    size_names: Mapping[str, str]
    params: Mapping[str, str]
    read: Mapping[str, str]
    stores: Mapping[str, tuple[str, ...]]
    nullable: frozenset[str]
    slots: tuple[SlotView, ...]
    buffers: tuple[BufferView, ...]
    saved: tuple[BufferView, ...]
    states: tuple[StateView, ...]
    zeroed: tuple[tuple[str, str], ...]  # (slot, elements): sums over rows start at zero
    d_inputs: tuple[tuple[str, str], ...]
    output_widths: Mapping[str, str]
    outer_widths: tuple[str, ...]
    zero_seeds: tuple[tuple[str, str, str], ...]

    def dim(self, dim: Dim) -> str:
        return str(dim) if isinstance(dim, int) else f"sizes->{self.dims[dim]}"


@dataclass(slots=True)
class _Builder:
    plan: Plan
    names: Mapping[str, str]
    dims: Mapping[str, str]
    namer: Namer
    slots: list[SlotView] = field(default_factory=list)
    buffers: list[BufferView] = field(default_factory=list)
    read: dict[str, str] = field(default_factory=dict)
    stores: dict[str, list[str]] = field(default_factory=dict)
    nullable: set[str] = field(default_factory=set)
    output_widths: dict[str, str] = field(default_factory=dict)
    zero_seeds: list[tuple[str, str, str]] = field(default_factory=list)

    def width(self, array: Array) -> str:
        return " * ".join(
            str(d) if isinstance(d, int) else f"sizes->{self.dims[d]}" for d in array.shape
        )

    def slot(
        self, array: str, kind: str, at: str, global_: str, local: str, wanted: str | None = None
    ) -> str:
        name = self.namer(wanted or self.names[array])
        self.slots.append(SlotView(name, kind, at, global_, local))
        return name

    def buffer(self, wanted: str, rows: str, width: str) -> str:
        name = self.namer(wanted)
        self.buffers.append(BufferView(name, rows, width))
        return f"args->workspace + at.{name}"

    def computed(
        self, name: str, phase: Phase, table: Mapping[str, Array], late: frozenset[str]
    ) -> None:
        """Workspace for an array that a later stage reads."""
        width = self.width(table[name])
        if phase in (Phase.ONCE, Phase.LAST) or not table[name].per_row:
            at = self.buffer(f"{name}_buffer", "1", width)
            slot = self.slot(name, "target", at, "0", "0")
        elif phase is Phase.STEP and name not in late:
            at = self.buffer(f"{name}_buffer", "sizes->{B}", width)
            slot = self.slot(name, "target", at, "0", "0")
        else:
            at = self.buffer(f"{name}_buffer", "chunk_rows", width)
            slot = self.slot(name, "target", at, "0", width)
        self.read[name] = slot
        self.stores.setdefault(name, []).append(slot)


def _read_across(plan: Plan) -> tuple[dict[str, None], frozenset[str]]:
    """Arrays that a stage reads from memory, and those of STEP that AFTER reads."""
    across: dict[str, None] = {}
    late: set[str] = set()
    phase_of = dict(plan.phase_of)
    for phase, stages in plan.phases:
        for stage in stages:
            vectors = [n for g in stage.groups for n in g.vectors]
            summed = [n for a in stage.sums for n in a.operands]
            for name in (*stage.loads, *vectors, *summed):
                across.setdefault(name)
                if phase is not phase_of.get(name, phase):
                    late.add(name)
    return across, frozenset(late)


def dimension_names(schedule: Schedule) -> tuple[dict[str, str], str, str]:
    """Fields of the sizes structure: {dimension: field}, and those of T and B.

    The order is that of `Signature.dims`: parameters, inputs, states.
    """
    step = schedule.split.gradient.step
    table = step.program.table()
    arrays = (table[name] for name in (*step.params, *step.inputs, *step.states))
    found = dict.fromkeys(dim for a in arrays for dim in a.shape if isinstance(dim, str))
    dims = c_names(found)
    namer = Namer(dims.values())
    return dims, namer("T"), namer("B")


def saved_fields(schedule: Schedule) -> dict[str, str]:
    """Fields of the structure that says where each saved array lies; states by their name."""
    split = schedule.split
    names = c_names(array.name for array in split.forward.arrays)
    namer = Namer(names[name] for name in split.saved)
    fields = {name: names[name] for name in split.saved}
    return fields | {name: namer(f"{names[name]}_history") for name in split.histories}


def _start(plan: Plan, schedule: Schedule) -> _Builder:
    dims, _, _ = dimension_names(schedule)
    names = c_names(array.name for array in plan.program.arrays)
    return _Builder(plan, names, dims, Namer(()))


def forward_memory(schedule: Schedule) -> Memory:
    """Memory of the forward pass. `training` says whether `saved` was given."""
    plan, split = schedule.forward, schedule.split
    step = split.gradient.step
    build = _start(plan, schedule)
    table = plan.program.table()
    phase_of = dict(plan.phase_of)
    across, late = _read_across(plan)
    fields = _fields(schedule)

    for name in step.params:
        if name in across:
            build.read[name] = build.slot(name, "source", f"args->params.{fields[name]}", "0", "0")
    for name in step.inputs:
        if name in across:
            width = build.width(table[name])
            at = f"args->inputs.{fields[name]}"
            build.read[name] = build.slot(name, "source", at, width, "0")
    saved: list[BufferView] = []
    kept = saved_fields(schedule)
    states = [_forward_state(build, schedule, k, table, saved) for k in range(len(step.states))]

    computed = dict.fromkeys(name for name in phase_of if _is_stored(name, plan))
    for name in computed:
        width = build.width(table[name])
        if name in split.saved:
            saved.append(BufferView(kept[name], "sizes->{T} * sizes->{B}", width))
            fallback = "NULL"
            if name in across:
                rows = (
                    "sizes->{B}"
                    if phase_of[name] is Phase.STEP and name not in late
                    else "chunk_rows"
                )
                fallback = build.buffer(f"{name}_buffer", f"(training ? 0 : {rows})", width)
            moves = width if fallback != "NULL" and "chunk" in rows else "0"
            slot = build.slot(
                name, "target", f"training ? args->saved + kept.{kept[name]} : {fallback}",
                f"training ? {width} : 0", f"training ? 0 : {moves}",
            )  # fmt: skip
            build.stores.setdefault(name, []).append(slot)
            build.read.setdefault(name, slot)
            if fallback == "NULL":
                build.nullable.add(slot)
        elif name in across and name not in build.read:
            build.computed(name, phase_of[name], table, late)
        elif name in across and name in late:
            build.computed(name, phase_of[name], table, late)
    for name, key in zip(split.outputs, schedule.output_keys, strict=True):
        width = build.width(table[name])
        at = f"args->outputs.{_output_fields(schedule)[key]}"
        slot = build.slot(name, "target", at, width, "0", f"{build.names[name]}_output")
        build.stores.setdefault(name, []).append(slot)
        build.read.setdefault(name, slot)
        build.output_widths[slot] = width
    return _finish(build, schedule, saved, states, ())


def _is_stored(name: str, plan: Plan) -> bool:
    return any(
        name in stage.stores or any(a.out == name for a in stage.sums)
        for _, stages in plan.phases
        for stage in stages
    )


def _forward_state(
    build: _Builder, schedule: Schedule, k: int, table: Mapping[str, Array],
    saved: list[BufferView],
) -> StateView:  # fmt: skip
    step = schedule.split.gradient.step
    state, after = step.states[k], step.next_states[k]
    width = build.width(table[state])
    history = state in schedule.split.histories
    kept = saved_fields(schedule)
    rows = "chunk_rows + sizes->{B}"
    if history:
        saved.append(BufferView(kept[state], "(sizes->{T} + 1) * sizes->{B}", width))
        local = build.buffer(f"{state}_buffer", f"(training ? 0 : {rows})", width)
        base = f"(training ? args->saved + kept.{kept[state]} : {local})"
        moves = (f"training ? {width} : 0", f"training ? 0 : {width}")
    else:
        base = build.buffer(f"{state}_buffer", rows, width)
        moves = ("0", width)
    shift = f"sizes->{{B}} * {width}"
    before = build.slot(state, "target", f"{base} + (reverse ? {shift} : 0)", *moves)
    behind = build.slot(after, "target", f"{base} + (reverse ? 0 : {shift})", *moves)
    build.read[state] = before
    build.read[after] = behind
    build.stores[after] = [behind]
    field_ = _fields(schedule)[state]
    return StateView(
        build.names[state], before, behind, width, history,
        f"args->first.{field_}", f"args->last.{field_}",
    )  # fmt: skip


def backward_memory(schedule: Schedule) -> Memory:
    """Memory of the backward pass."""
    plan, split = schedule.backward, schedule.split
    gradient, step = split.gradient, split.gradient.step
    build = _start(plan, schedule)
    table = plan.program.table()
    phase_of = dict(plan.phase_of)
    across, late = _read_across(plan)
    fields = _fields(schedule)

    for name in step.params:
        if name in across:
            build.read[name] = build.slot(name, "source", f"args->params.{fields[name]}", "0", "0")
    for name in step.inputs:
        if name in across:
            at = f"args->inputs.{fields[name]}"
            build.read[name] = build.slot(name, "source", at, build.width(table[name]), "0")
    kept = saved_fields(schedule)
    for name in split.saved:
        if name in across:
            width = build.width(table[name])
            build.read[name] = build.slot(
                name, "source", f"args->saved + kept.{kept[name]}", width, "0"
            )
    for state, after in zip(step.states, step.next_states, strict=True):
        if state not in split.histories:
            continue
        width = build.width(table[state])
        shift = f"sizes->{{B}} * {width}"
        base = f"args->saved + kept.{kept[state]}"
        for name, later in ((state, "reverse"), (after, "!reverse")):
            if name in across:
                at = f"{base} + ({later} ? {shift} : 0)"
                build.read[name] = build.slot(name, "source", at, width, "0")
    for seed, key in zip(gradient.output_seeds, schedule.output_keys, strict=True):
        if seed in across:
            width = build.width(table[seed])
            given = f"args->d_outputs.{_output_fields(schedule)[key]}"
            zeros = build.buffer(f"{seed}_zeros", "chunk_rows", width)
            build.read[seed] = build.slot(
                seed, "source", f"{given} != NULL ? {given} : {zeros}",
                f"{given} != NULL ? {width} : 0", "0",
            )  # fmt: skip
            buffer = zeros.removeprefix("args->workspace + at.")
            build.zero_seeds.append((given, buffer, width))
    states = []
    pairs = zip(step.states, gradient.state_seeds, gradient.d_states, strict=True)
    for state, seed, d_state in pairs:
        width = build.width(table[seed])
        slots = []
        for name in (seed, d_state):
            at = build.buffer(f"{name}_buffer", "sizes->{B}", width)
            slots.append(build.slot(name, "target", at, "0", "0"))
        build.read[seed] = slots[0]
        build.stores[d_state] = [slots[1]]
        if d_state not in late:
            build.read[d_state] = slots[1]
        f = fields[state]
        states.append(
            StateView(build.names[d_state], slots[0], slots[1], width, False,
                      f"args->d_last.{f}", f"args->d_first.{f}")
        )  # fmt: skip
    for name, d_name in zip(step.inputs, gradient.d_inputs, strict=True):
        width = build.width(table[d_name])
        slot = build.slot(
            d_name,
            "target",
            f"args->d_inputs.{fields[name]}",
            width,
            "0",
            f"{build.names[d_name]}_all",
        )
        build.stores[d_name] = [slot]
        build.read[d_name] = slot
    for name, d_name in zip(step.params, gradient.d_params, strict=True):
        slot = build.slot(
            d_name,
            "target",
            f"args->d_params.{fields[name]}",
            "0",
            "0",
            f"{build.names[d_name]}_all",
        )
        build.stores[d_name] = [slot]
        build.read[d_name] = slot
    for name in dict.fromkeys(n for n in phase_of if n in across and _is_stored(n, plan)):
        if name not in build.read:
            build.computed(name, phase_of[name], table, late)
    d_inputs = tuple((build.stores[d][0], build.width(table[d])) for d in gradient.d_inputs)
    saved = list(forward_memory(schedule).saved)
    return _finish(build, schedule, saved, states, d_inputs)


def _fields(schedule: Schedule) -> dict[str, str]:
    """Fields of the argument structures for params, inputs and states."""
    step = schedule.split.gradient.step
    return c_names((*step.params, *step.inputs, *step.states))


def _output_fields(schedule: Schedule) -> dict[str, str]:
    return c_names(schedule.output_keys)


def _finish(
    build: _Builder,
    schedule: Schedule,
    saved: list[BufferView],
    states: list[StateView],
    d_inputs: tuple[tuple[str, str], ...],
) -> Memory:
    dims, steps, rows = dimension_names(schedule)
    table = build.plan.program.table()
    zeroed = [
        (build.stores[a.out][0], build.width(table[a.out]))
        for _, stages in build.plan.phases
        for stage in stages
        if stage.kind is Kind.ROW_SUM
        for a in stage.sums
    ]

    def fill(text: str) -> str:
        return text.replace("{T}", steps).replace("{B}", rows)

    size_namer = Namer(build.names.values())
    fields = _fields(schedule)
    return Memory(
        names=build.names,
        dims=dims,
        size_names={dim: size_namer(f"size_{dim}") for dim in dims},
        params={n: f"args->params.{fields[n]}" for n in schedule.split.gradient.step.params},
        read=build.read,
        stores={name: tuple(slots) for name, slots in build.stores.items()},
        nullable=frozenset(build.nullable),
        slots=tuple(
            SlotView(s.name, s.kind, fill(s.at), fill(s.global_), fill(s.local))
            for s in build.slots
        ),
        buffers=tuple(BufferView(b.name, fill(b.rows), b.width) for b in build.buffers),
        saved=tuple(BufferView(b.name, fill(b.rows), b.width) for b in saved),
        states=tuple(states),
        zeroed=tuple(zeroed),
        d_inputs=d_inputs,
        output_widths=build.output_widths,
        outer_widths=tuple(
            build.width(replace(table[a.out], shape=table[a.out].shape[1:]))
            for _, stages in build.plan.phases
            for stage in stages
            for a in stage.sums
            if isinstance(a.terms[0], Matmul)
        ),
        zero_seeds=tuple(build.zero_seeds),
    )
