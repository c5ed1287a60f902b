"""Where every array of a pass lives in C: argument, saved, workspace.

In: a Schedule.  Out: `Memory` of its forward or backward pass: slots (fields that point to
arrays), buffers (pieces of the workspace and of what is saved), and who reads and writes which
slot.
Not here: which arrays need memory at all (stages.py), the text of a stage (stages.py).

A slot is a pointer and two strides: row r of a stage is at
`at + global * (rows of all steps before) + local * (rows of this chunk before)`.

| array                                       | at              | global | local |
| ------------------------------------------- | --------------- | ------ | ----- |
| argument or saved, all T steps              | args            | width  | 0     |
| parameter; what depends on parameters alone | args, workspace | 0      | 0     |
| kept for a chunk of steps                   | workspace       | 0      | width |
| kept for one step                           | workspace       | 0      | 0     |

A state before and after a step are two slots of one history, one step of rows apart; which of
them lies further on depends on the direction of time. `{T}` and `{B}` in texts stand for the
sizes of that name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from derive.emit.c.heads import outer_sizes
from derive.emit.c.memory_views import BufferView, Memory, SlotView, StateView
from derive.emit.c.names import argument_names, dimension_names, saved_names
from derive.emit.c.syntax import c_names
from derive.program import Array, Namer
from derive.program.program import Dim
from derive.schedule import Schedule
from derive.schedule.dataflow import matrices_of, memory_reads
from derive.schedule.plan import Kind, Phase, Plan

#: How the address of a buffer begins.
WORKSPACE = "args->workspace + at."
#: Rows of what is kept for one step.
_ONE_STEP = "sizes->{B}"


# --- one pass -------------------------------------------------------------------------------


class _Builder:
    """Memory in the making."""

    def __init__(self, schedule: Schedule, plan: Plan) -> None:
        self.schedule = schedule
        self.plan = plan
        self.table = plan.program.table()
        self.phase_of = dict(plan.phase_of)
        self.across, self.late = _read_across(plan)
        self.names = c_names(array.name for array in plan.program.arrays)
        self.dims, self.steps, self.rows = dimension_names(schedule)
        self.fields, self.keys = argument_names(schedule)
        self.saved = saved_names(schedule)
        self.slots: list[SlotView] = []
        self.buffers: list[BufferView] = []
        self.read: dict[str, str] = {}
        self.stores: dict[str, list[str]] = {}
        self.nullable: set[str] = set()
        self.states: list[StateView] = []
        self.zero_seeds: list[tuple[str, str, str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self._namer = Namer(())

    def dim(self, dim: Dim) -> str:
        return str(dim) if isinstance(dim, int) else f"sizes->{self.dims[dim]}"

    def width(self, array: Array) -> str:
        return " * ".join(map(self.dim, array.shape))

    def slot(
        self,
        array: str,
        kind: str,
        at: str,
        global_: str,
        local: str,
        suffix: str = "",
        own: str = "",
    ) -> str:
        name = self._namer(self.names[array] + suffix)
        self.slots.append(SlotView(name, kind, at, global_, local, own))
        return name

    def buffer(self, wanted: str, rows: str, width: str) -> str:
        """A piece of the workspace; the expression of its address."""
        name = self._namer(wanted)
        self.buffers.append(BufferView(name, rows, width))
        return f"{WORKSPACE}{name}"

    def given(self, names: Iterable[str], place: str, moves: bool) -> None:
        """Arguments that are only read: all T steps of them where `moves`."""
        for name in names:
            if name in self.across:
                stride = self.width(self.table[name]) if moves else "0"
                at = f"{place}.{self.fields[name]}"
                self.read[name] = self.slot(name, "source", at, stride, "0")

    def result(self, name: str, at: str, moves: bool, suffix: str = "") -> str:
        """An argument that is written, and may be read back."""
        stride = self.width(self.table[name]) if moves else "0"
        slot = self.slot(name, "target", at, stride, "0", suffix)
        self.stores.setdefault(name, []).append(slot)
        self.read.setdefault(name, slot)
        return slot

    def computed(self, name: str) -> None:
        """Workspace for an array that a later stage reads."""
        width = self.width(self.table[name])
        rows, local = self.extent(name)
        at = self.buffer(f"{self.names[name]}_buffer", rows, width)
        own = width if rows == _ONE_STEP else ""
        slot = self.slot(name, "target", at, "0", local, own=own)
        self.read[name] = slot
        self.stores.setdefault(name, []).append(slot)

    def extent(self, name: str) -> tuple[str, str]:
        """Rows of an array's workspace, and its stride within the chunk."""
        phase = self.phase_of[name]
        if phase in (Phase.ONCE, Phase.LAST) or not self.table[name].per_row:
            return "1", "0"
        if phase is Phase.STEP and name not in self.late:
            return _ONE_STEP, "0"
        return "way->chunk_rows", self.width(self.table[name])

    def read_in_steps_alone(self, name: str) -> bool:
        """Whether no stage before or after the loop reads an array."""
        phases = (p for p, stages in self.plan.phases for s in stages if name in memory_reads(s))
        return all(phase is Phase.STEP for phase in phases)

    def stored(self) -> list[str]:
        """Arrays of this pass that some stage writes to memory."""
        written = {n for _, stages in self.plan.phases for s in stages for n in s.stores}
        return [name for name in self.phase_of if name in written]

    def finish(self, saved: tuple[BufferView, ...]) -> Memory:
        sums = [
            a
            for _, stages in self.plan.phases
            for s in stages
            if s.kind is Kind.ROW_SUM
            for a in s.sums
        ]
        zeroed = {self.stores[a.out][0]: self.width(self.table[a.out]) for a in sums}
        # Sums come first: there they stay when the next call has fewer or more steps.
        kept = {slot.at for slot in self.slots if slot.name in zeroed}
        buffers = sorted(self.buffers, key=lambda b: f"{WORKSPACE}{b.name}" not in kept)
        size_namer = Namer(self.names.values())

        def fill(text: str) -> str:
            return text.replace("{T}", self.steps).replace("{B}", self.rows)

        params = self.schedule.split.gradient.step.params
        return Memory(
            names=self.names,
            dims=self.dims,
            size_names={dim: size_namer(f"size_{dim}") for dim in self.dims},
            params={name: f"args->params.{self.fields[name]}" for name in params},
            read=self.read,
            stores={name: tuple(slots) for name, slots in self.stores.items()},
            nullable=frozenset(self.nullable),
            slots=tuple(
                SlotView(s.name, s.kind, fill(s.at), fill(s.global_), fill(s.local), s.own)
                for s in self.slots
            ),
            buffers=tuple(BufferView(b.name, fill(b.rows), b.width) for b in buffers),
            saved=tuple(BufferView(b.name, fill(b.rows), b.width) for b in saved),
            states=tuple(self.states),
            zeroed=tuple(zeroed.items()),
            zero_seeds=tuple((at, b, fill(rows), w) for at, b, rows, w in self.zero_seeds),
            ended=tuple(self.ended),
            outers=tuple(
                replace(size, rows=fill(size.rows))
                for size in outer_sizes(self.plan, self.dim, _ONE_STEP)
            ),
        )


def _read_across(plan: Plan) -> tuple[dict[str, None], frozenset[str]]:
    """Arrays that a stage reads from memory, and those that a later phase reads."""
    across: dict[str, None] = {}
    late: set[str] = set()
    phase_of = dict(plan.phase_of)
    for phase, stages in plan.phases:
        for stage in stages:
            matrices = (name for name in matrices_of(stage) if name in phase_of)
            for name in (*memory_reads(stage), *matrices):
                across.setdefault(name)
                if phase is not phase_of.get(name, phase):
                    late.add(name)
    return across, frozenset(late)


# --- forward --------------------------------------------------------------------------------


def forward_memory(schedule: Schedule) -> Memory:
    """Memory of the forward pass. In its texts `way->training` says whether `saved` was given."""
    split = schedule.split
    step = split.gradient.step
    build = _Builder(schedule, schedule.forward)
    build.given(step.params, "args->params", moves=False)
    build.given(step.inputs, "args->inputs", moves=True)
    for state, after in zip(step.states, step.next_states, strict=True):
        _add_history(build, state, after)
    for name in build.stored():
        if name in split.saved:
            _add_saved(build, name)
        elif name in build.across and (name not in build.read or name in build.late):
            build.computed(name)
    for name, key in zip(split.outputs, schedule.output_keys, strict=True):
        at = f"args->outputs.{build.keys[key]}"
        slot = build.result(name, at, moves=True, suffix="_output")
        build.ended.append((slot, build.width(build.table[name])))
    return build.finish(_saved_buffers(build))


def _add_history(build: _Builder, state: str, after: str) -> None:
    """A state before and after each step: kept for all steps when training, where the gradient
    needs it, else for a chunk."""
    width = build.width(build.table[state])
    shift = f"sizes->{{B}} * {width}"
    rows, strides = "way->chunk_rows + sizes->{B}", ("0", width)
    if state in build.saved:
        rows = f"(way->training ? 0 : {rows})"
        strides = (f"way->training ? {width} : 0", f"way->training ? 0 : {width}")
    base = build.buffer(f"{build.names[state]}_buffer", rows, width)
    if state in build.saved:
        base = f"(way->training ? args->saved + kept.{build.saved[state]} : {base})"
    before = build.slot(state, "target", f"{base} + (call->reverse ? {shift} : 0)", *strides)
    behind = build.slot(after, "target", f"{base} + (call->reverse ? 0 : {shift})", *strides)
    build.read[state], build.read[after] = before, behind
    build.stores[after] = [behind]
    name = build.fields[state]
    build.states.append(
        StateView(before, behind, width, f"args->first.{name}", f"args->last.{name}")
    )


def _add_saved(build: _Builder, name: str) -> None:
    """Kept for all steps when training; else in the workspace, or nowhere if no stage reads it."""
    width = build.width(build.table[name])
    kept = f"args->saved + kept.{build.saved[name]}"
    own = ""
    if name in build.across:
        rows, local = build.extent(name)
        own = f"(way->training ? 0 : {width})" if rows == _ONE_STEP else ""
        rows = f"(way->training ? 0 : {rows})"
        other = build.buffer(f"{build.names[name]}_buffer", rows, width)
    else:
        other, local = "NULL", "0"
    if local != "0":
        local = f"way->training ? 0 : {local}"
    strides = (f"way->training ? {width} : 0", local)
    at = f"(way->training ? {kept} : {other})"
    slot = build.slot(name, "target", at, *strides, own=own)
    build.stores.setdefault(name, []).append(slot)
    build.read.setdefault(name, slot)
    if other == "NULL":
        build.nullable.add(slot)


def _saved_buffers(build: _Builder) -> tuple[BufferView, ...]:
    """What is saved, in the order in which it lies there; the same for both passes."""
    table = build.schedule.forward.program.table()
    histories = build.schedule.split.histories
    return tuple(
        BufferView(
            field_,
            "(sizes->{T} + 1) * sizes->{B}" if name in histories else "sizes->{T} * sizes->{B}",
            build.width(table[name]),
        )
        for name, field_ in build.saved.items()
    )


# --- backward -------------------------------------------------------------------------------


def backward_memory(schedule: Schedule) -> Memory:
    """Memory of the backward pass."""
    split = schedule.split
    gradient, step = split.gradient, split.gradient.step
    build = _Builder(schedule, schedule.backward)
    build.given(step.params, "args->params", moves=False)
    build.given(step.inputs, "args->inputs", moves=True)
    _add_kept(build)
    for seed, key in zip(gradient.output_seeds, schedule.output_keys, strict=True):
        if seed in build.across:
            _add_seed(build, seed, f"args->d_outputs.{build.keys[key]}")
    pairs = zip(step.states, gradient.state_seeds, gradient.d_states, strict=True)
    for state, seed, d_state in pairs:
        _add_carry(build, build.fields[state], seed, d_state)
    for name, d_name in split.d_inputs:
        at = f"args->d_inputs.{build.fields[name]}"
        slot = build.result(d_name, at, moves=True, suffix="_all")
        build.ended.append((slot, build.width(build.table[d_name])))
    for name, d_name in split.d_params:
        build.result(d_name, f"args->d_params.{build.fields[name]}", moves=False, suffix="_all")
    for name in build.stored():
        if name in build.across and name not in build.read:
            build.computed(name)
    return build.finish(_saved_buffers(build))


def _add_kept(build: _Builder) -> None:
    """What the forward pass saved: arrays, and states before and after each step."""
    step = build.schedule.split.gradient.step
    after_of = dict(zip(step.states, step.next_states, strict=True))
    for name, field_ in build.saved.items():
        at = f"args->saved + kept.{field_}"
        if name in build.schedule.split.saved:
            places = [(name, at)]
        else:
            shift = f"sizes->{{B}} * {build.width(build.table[name])}"
            places = [
                (name, f"{at} + (call->reverse ? {shift} : 0)"),
                (after_of[name], f"{at} + (call->reverse ? 0 : {shift})"),
            ]
        for array, place in places:
            if array in build.across:
                width = build.width(build.table[array])
                build.read[array] = build.slot(array, "source", place, width, "0")


def _add_seed(build: _Builder, seed: str, given: str) -> None:
    """The cotangent of an output; zeros where it was left out."""
    width = build.width(build.table[seed])
    # The steps of an elementwise loop lie one behind the other, even of zeros.
    alone = build.read_in_steps_alone(seed) and not build.plan.elementwise
    rows = _ONE_STEP if alone else "way->chunk_rows"
    zeros = build.buffer(f"{build.names[seed]}_zeros", rows, width)
    at, stride = f"{given} != NULL ? {given} : {zeros}", f"{given} != NULL ? {width} : 0"
    build.read[seed] = build.slot(seed, "source", at, stride, "0")
    build.zero_seeds.append((given, zeros.removeprefix(WORKSPACE), rows, width))


def _add_carry(build: _Builder, name: str, seed: str, d_state: str) -> None:
    """The cotangent of a state after a step, and of it before: two buffers that swap."""
    width = build.width(build.table[seed])
    slots = []
    for array in (seed, d_state):
        at = build.buffer(f"{build.names[array]}_buffer", _ONE_STEP, width)
        slots.append(build.slot(array, "target", at, "0", "0", own=width))
    build.read[seed] = slots[0]
    build.stores[d_state] = [slots[1]]
    if d_state not in build.late:
        build.read[d_state] = slots[1]
    first, last = f"args->d_last.{name}", f"args->d_first.{name}"
    build.states.append(StateView(slots[0], slots[1], width, first, last))
