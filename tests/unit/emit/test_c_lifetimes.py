"""Memory of a pass that would lose, mix up or overrun what was written is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from strange_cells import MIXED

from derive import cells, pipeline
from derive.cell import Cell
from derive.emit.c.early_products import with_early_products
from derive.emit.c.lifetimes import check_memory
from derive.emit.c.memory import backward_memory, forward_memory
from derive.emit.c.memory_views import Memory, SlotView
from derive.errors import ProgramError
from derive.schedule.plan import Plan


def backward_of(cell: Cell) -> tuple[Plan, Memory]:
    schedule = pipeline.schedule(cell)
    schedule = replace(schedule, backward=with_early_products(schedule.backward))
    return schedule.backward, backward_memory(schedule)


@pytest.fixture(scope="module")
def mixed() -> tuple[Plan, Memory]:
    return backward_of(Cell.parse(MIXED))


def with_slot(memory: Memory, array: str, change: Callable[[SlotView], SlotView]) -> Memory:
    name = memory.read[array]
    slots = tuple(change(slot) if slot.name == name else slot for slot in memory.slots)
    return replace(memory, slots=slots)


def refused(plan: Plan, memory: Memory, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        check_memory(plan, memory)


@pytest.mark.parametrize("spec", ["lstm:layer_norm=ba2016", "min_gru", "phased_lstm"])
def test_memory_of_the_catalogue_passes(spec: str) -> None:
    schedule = pipeline.schedule(cells.from_spec(spec))
    check_memory(schedule.forward, forward_memory(schedule))
    check_memory(schedule.backward, backward_memory(schedule))


def test_an_array_without_a_place_is_refused(mixed: tuple[Plan, Memory]) -> None:
    plan, memory = mixed
    stores = {name: slots for name, slots in memory.stores.items() if name != "d_e_products"}
    refused(plan, replace(memory, stores=stores), "is stored, and has no place")
    read = {name: slot for name, slot in memory.read.items() if name != "d_e_products"}
    refused(plan, replace(memory, read=read), "is read from memory, and has no place")


def test_a_place_that_nothing_writes_or_that_may_be_null_is_refused(
    mixed: tuple[Plan, Memory],
) -> None:
    plan, memory = mixed
    read = {**memory.read, "d_e_products": memory.read["d_tanh_e"]}
    refused(plan, replace(memory, read=read), "where no stage writes it")
    nullable = frozenset([memory.read["d_a_h"]])
    refused(plan, replace(memory, nullable=nullable), "which may be NULL")


def test_a_place_for_one_step_is_not_touched_outside_the_loop(mixed: tuple[Plan, Memory]) -> None:
    plan, memory = mixed
    name = memory.read["d_a_h"].removesuffix("_buffer") + "_buffer"
    assert name in {buffer.name for buffer in memory.buffers}
    buffers = tuple(replace(b, rows="sizes->rows") if b.name == name else b for b in memory.buffers)
    refused(plan, replace(memory, buffers=buffers), "is kept for one step")
    still = with_slot(memory, "d_a_h", lambda slot: replace(slot, global_="0", local="0"))
    refused(plan, still, "is at one place for all steps")


def test_what_all_rows_share_stays_where_it_is(mixed: tuple[Plan, Memory]) -> None:
    plan, memory = mixed
    refused(
        plan, with_slot(memory, "e", lambda s: replace(s, global_="sizes->dim_H")), "moves with"
    )


def test_inference_is_checked_by_itself() -> None:
    """What is saved when training lies in the workspace otherwise, where a step may be all."""
    schedule = pipeline.schedule(
        Cell.parse(
            "cell c\ninput x: I\nstate h: H\nparam V: P x H\ng = sigmoid(W @ x + U @ h)\n"
            "h' = tanh(g * h)\ny = V @ g\noutput y"
        )
    )
    plan, memory = schedule.forward, forward_memory(schedule)
    assert check_memory(plan, memory) is memory
    assert "g" in schedule.split.saved
    still = with_slot(memory, "g", lambda s: replace(s, local="way->training ? 0 : 0"))
    refused(plan, still, "is at one place for all steps")
    name = f"{memory.names['g']}_buffer"
    buffers = tuple(
        replace(b, rows="(way->training ? 0 : sizes->rows)") if b.name == name else b
        for b in memory.buffers
    )
    assert buffers != memory.buffers
    refused(plan, replace(memory, buffers=buffers), "is kept for one step")
