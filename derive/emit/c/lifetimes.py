"""Memory -> the same Memory, once every read of a pass finds there what was written.

In: a Plan and its Memory.  Out: the Memory; ProgramError names the array otherwise.
Not here: where arrays live (memory.py), and whether the plan's reads have a producer that runs
before them (schedule/dataflow.py): here that producer must have written to the very place that is
read, in memory that is large enough and lasts as long.

Before and after the loop a stage runs over the rows of a chunk of steps, in the loop over those of
one. So what is touched outside the loop needs a row for each step of the chunk; and what is
touched in the loop besides needs a stride from step to step.
"""

from __future__ import annotations

import re

from derive.emit.c.memory import WORKSPACE
from derive.emit.c.memory_views import Memory, SlotView
from derive.errors import ProgramError
from derive.schedule.dataflow import matrices_of, memory_reads
from derive.schedule.plan import Phase, Plan

_MANY_STEPS = {Phase.BEFORE, Phase.AFTER}


def check_memory(plan: Plan, memory: Memory) -> Memory:
    """The memory itself; ProgramError where a read would find nothing, or another step's rows."""
    computed = {name for name, _ in plan.phase_of}
    touched: dict[tuple[str, str], set[Phase]] = {}
    for phase, stages in plan.phases:
        for stage in stages:
            for name in stage.stores:
                if not memory.stores.get(name):
                    raise ProgramError(f"{name}: is stored, and has no place in memory")
                for slot in memory.stores[name]:
                    touched.setdefault((name, slot), set()).add(phase)
            for name in (*memory_reads(stage), *(n for n in matrices_of(stage) if n in computed)):
                if name not in memory.read:
                    raise ProgramError(f"{name}: is read from memory, and has no place there")
                slot = memory.read[name]
                touched.setdefault((name, slot), set()).add(phase)
                if slot in memory.nullable:
                    raise ProgramError(f"{name}: is read from {slot}, which may be NULL")
                if name in computed and slot not in memory.stores.get(name, ()):
                    raise ProgramError(f"{name}: is read from {slot}, where no stage writes it")
    slots = {slot.name: slot for slot in memory.slots}
    table = plan.program.table()
    for (name, slot), phases in touched.items():
        for training in (True, False):
            if table[name].per_row:
                _check_rows(memory, slots[slot], phases, training)
            elif _moves(slots[slot], training):
                raise ProgramError(f"{name}: is shared by all rows, and {slot} moves with them")
    return memory


def _check_rows(memory: Memory, slot: SlotView, phases: set[Phase], training: bool) -> None:
    """Whether a place has as many rows as the stages that touch it run over."""
    if _MANY_STEPS.isdisjoint(phases):
        return
    at = _chosen(slot.at, training)
    mentioned = set(re.findall(rf"{re.escape(WORKSPACE)}(\w+)", at))
    for buffer in memory.buffers:
        if buffer.name in mentioned and "chunk_rows" not in _chosen(buffer.rows, training):
            raise ProgramError(f"{slot.name}: is kept for one step, and read or written for many")
    if Phase.STEP in phases and not _moves(slot, training):
        raise ProgramError(f"{slot.name}: is at one place for all steps of a chunk")


def _moves(slot: SlotView, training: bool) -> bool:
    return any(_chosen(stride, training) != "0" for stride in (slot.global_, slot.local))


def _chosen(text: str, training: bool) -> str:
    """The text as it is in a call that saves for the backward pass, or in one that does not."""
    if "training" not in text:
        return text
    return re.sub(r"way->training \? ([^:()]*) : ([^:()]*)", r"\1" if training else r"\2", text)
