"""Plan -> plain data for the C template of an elementwise recurrence: its loop over time.

In: a Plan whose steps are elementwise, and its Memory.  Out: an `ElementwiseView`.
Not here: stages outside the loop (stages.py), the layout (templates/c/cell/elementwise.c.j2).

No unit of a row reads another one, so the loop over time is the inner loop: a thread takes units of
its own through all steps of a chunk and holds their states in registers. Where every array of a
step is as wide as the state, the units of all rows lie in memory as one line of B * H elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from derive.emit.c.memory_views import Memory
from derive.emit.c.stages import commented, pointer_to
from derive.emit.c.syntax import broken, syntax
from derive.emit.equation_lines import stage_lines
from derive.emit.reading_order import rank
from derive.errors import ProgramError
from derive.schedule.plan import Phase, Plan, Stage
from derive.symbolic.code import print_expression


@dataclass(frozen=True, slots=True)
class CarriedView:
    """What a register carries: its names before and after a step, and their slots."""

    name: str
    next: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ReadView:
    """An array that is read. pointer: to its first step.  text: how a vector of it is read, for
    one that does not move."""

    name: str
    slot: str
    pointer: str
    text: str


@dataclass(frozen=True, slots=True)
class WriteView:
    """A result, as text, and the slot it is written to."""

    text: str
    slot: str
    may_be_null: bool


@dataclass(frozen=True, slots=True)
class ElementwiseView:
    """The loop over time of one pass.

    moving: arrays as wide as the state, a row for each step.  narrow: one number for each step
    and row.  fixed: shared by all steps.  sizes: (name, size) of dimensions in expressions.
    history: each step stores the states, else the last alone.
    """

    name: str
    note: tuple[str, ...]
    width: str
    carried: tuple[CarriedView, ...]
    moving: tuple[ReadView, ...]
    narrow: tuple[ReadView, ...]
    fixed: tuple[ReadView, ...]
    sizes: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]
    writes: tuple[WriteView, ...]
    history: bool

    @property
    def flat(self) -> bool:
        """Whether the units of all rows may be taken as one line."""
        return not self.narrow


def elementwise_view(
    name: str,
    plan: Plan,
    memory: Memory,
    notes: Mapping[str, str],
    *,
    is_forward: bool,
) -> ElementwiseView | None:
    """The loop over time of a pass called `name`; None where its steps are not elementwise."""
    if not plan.elementwise:
        return None
    (stage,) = plan.stages(Phase.STEP)
    table, c = plan.program.table(), memory.names
    cotangents = [a.name for a in plan.program.arrays if a.name.startswith("d_")]
    order = rank(plan.program, cotangents)
    writing = syntax(c, memory.size_names)
    pairs = dict(zip(plan.carried, memory.states, strict=True))
    carried = tuple(
        CarriedView(c[now], c[then], state.before, state.after)
        for (now, then), state in pairs.items()
    )
    slots = {slot.name: slot for slot in memory.slots}
    held = {now for now, _ in plan.carried}
    moving: list[ReadView] = []
    narrow: list[ReadView] = []
    fixed: list[ReadView] = []
    for array in (table[name] for name in stage.loads if name not in held):
        slot = memory.read[array.name]
        as_wide = array.shape == stage.shape
        pointer = pointer_to(slots[slot])
        if array.per_row:
            _check_moves(memory, slot)
            (moving if as_wide else narrow).append(ReadView(c[array.name], slot, pointer, ""))
        elif as_wide:
            text = f"dk_load_cycle(dk_a.{slot}, dk_at, dk_a.dk_width, dk_rest)"
            fixed.append(ReadView(c[array.name], slot, pointer, text))
        else:
            text = f"dk_splat(dk_a.{slot}[0])"
            fixed.append(ReadView(c[array.name], slot, pointer, text))
    free = {symbol.name for m in stage.maps for symbol in m.expr.free_symbols}
    return ElementwiseView(
        name=f"{name}_steps",
        note=tuple(row for line in stage_lines(stage, plan, notes) for row in commented(line)),
        width=" * ".join(memory.dim(dim) for dim in stage.shape),
        carried=carried,
        moving=tuple(moving),
        narrow=tuple(narrow),
        fixed=tuple(fixed),
        sizes=tuple(
            (name, memory.dim(dim)) for dim, name in memory.size_names.items() if f"|{dim}|" in free
        ),
        lines=tuple(
            line
            for m in stage.maps
            for line in broken(
                f"const dk_vector {c[m.out]} = {print_expression(m.expr, writing, order)};",
                indent=12,
            )
        ),
        writes=tuple(_writes(stage, memory, is_forward)),
        history=is_forward,
    )


def _writes(stage: Stage, memory: Memory, is_forward: bool) -> Iterator[WriteView]:
    """What each step stores. A row that has ended keeps its state, so the history takes what is
    carried on; without a history the loop stores the last state itself."""
    carried = {state.after: f"dk_now_{k}[dk_v]" for k, state in enumerate(memory.states, 1)}
    for out in stage.stores:
        for slot in memory.stores[out]:
            if is_forward or slot not in carried:
                text = carried.get(slot, memory.names[out])
                yield WriteView(text, slot, slot in memory.nullable)


def _check_moves(memory: Memory, slot: str) -> None:
    """All arrays of a step lie one step of rows apart: one offset serves them all."""
    (found,) = [view for view in memory.slots if view.name == slot]
    if found.global_ == found.local == "0":
        raise ProgramError(f"{slot}: kept for one step, and read by steps that run by themselves")
