"""Arrays with axes, for a target that packs matrices: which products are tiles, how many passes."""

from __future__ import annotations

from math import prod

import axes_cells
import pytest

from derive import cells, pipeline
from derive.cell import Cell
from derive.program import Array, Layout, Map, Matmul, Over, Program, Sum
from derive.schedule import Schedule
from derive.schedule.blocks import Blocks, blocks_of
from derive.schedule.folds import is_fold, outers_as_maps, with_folds
from derive.schedule.plan import Kind, Phase, Plan, Stage
from derive.schedule.schedule import scheduled_in_blocks


def of(name: str) -> Schedule:
    return scheduled_in_blocks(pipeline.schedule(Cell.parse(axes_cells.CELLS[name][0])))


def of_text(text: str) -> Schedule:
    return scheduled_in_blocks(pipeline.schedule(Cell.parse(text)))


def over(plan: Plan, phase: Phase, rank: int) -> list[Stage]:
    """Stages over arrays with so many axes."""
    return [stage for stage in plan.stages(phase) if len(stage.shape) == rank]


def test_a_cell_of_vectors_keeps_its_schedule() -> None:
    for name in ("lstm", "gru", "min_gru"):
        found = pipeline.schedule(cells.from_spec(name))
        assert scheduled_in_blocks(found) is found


@pytest.mark.parametrize(
    ("left", "right", "subscripts", "found"),
    [
        ("N D I", "I", "nij,j->ni", Blocks((), ("N", "D"), ("I",))),
        ("N D K", "N K", "nij,nj->ni", Blocks(("N",), ("D",), ("K",))),
        ("N D K", "N D", "nij,ni->nj", Blocks(("N",), ("K",), ("D",), True)),
        ("N D K", "N D", "nij,ni->j", Blocks((), ("K",), ("N", "D"), True)),
        ("D I", "N I", "ij,nj->ni", None),  # the rows of x are rows and heads
        ("N K", "N K", "nj,nj->n", None),  # numbers
    ],
)
def test_products_with_shared_matrices_are_blocks(
    left: str, right: str, subscripts: str, found: Blocks | None
) -> None:
    table = {
        "W": Array("W", tuple(left.split()), False),
        "x": Array("x", tuple(right.split()), True),
    }
    product = Matmul("y", "W", "x", Layout.BLOCKS, subscripts)
    assert blocks_of(product, table) == found


def test_heads_are_tiles_and_what_follows_them_runs_in_registers() -> None:
    schedule = of("slstm")
    (step,) = schedule.forward.stages(Phase.STEP)
    assert step.kind is Kind.FUSED
    assert len(step.groups[0].accumulators) == 4
    sums = [a for s in schedule.backward.stages(Phase.AFTER) for a in s.sums]
    layouts = {t.layout for a in sums for t in a.terms if isinstance(t, Matmul)}
    assert layouts == {Layout.BLOCKS}


def test_a_matrix_of_parameters_that_is_computed_is_packed() -> None:
    (step,) = of("weight_norm_lstm").forward.stages(Phase.STEP)
    assert {t.left for g in step.groups for a in g.accumulators for t in a.terms} == {  # type: ignore[union-attr]
        "matrix_a_5", "matrix_a_6", "matrix_a_7", "matrix_a_8"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rank", "forward", "backward"),
    [("mlstm", 3, 1, 1), ("gated_delta", 3, 2, 2), ("rwkv7", 3, 2, 2), ("mamba", 2, 1, 1)],
)
def test_a_step_passes_over_its_matrix_as_often_as_it_must(
    name: str, rank: int, forward: int, backward: int
) -> None:
    """Gated DeltaNet and RWKV-7 read the matrix before they write it; the others read out what
    they have just written."""
    schedule = of(name)
    assert len(over(schedule.forward, Phase.STEP, rank)) == forward
    assert len(over(schedule.backward, Phase.STEP, rank)) == backward
    for plan in (schedule.forward, schedule.backward):
        for phase in (Phase.BEFORE, Phase.AFTER):
            assert not over(plan, phase, 3)


@pytest.mark.parametrize("name", ["mlstm", "gated_delta", "rwkv7", "ttt_linear", "mamba"])
def test_no_array_as_large_as_the_matrix_is_kept_but_the_matrix(name: str) -> None:
    schedule = of(name)
    table = schedule.split.gradient.step.program.table()
    largest = max(prod([128] * len(table[n].shape)) for n in schedule.split.histories)
    assert all(prod([128] * len(table[n].shape)) < largest for n in schedule.split.saved)


def test_a_forward_step_stores_no_matrix_but_the_next_one() -> None:
    for name in ("mlstm", "gated_delta", "rwkv7"):
        plan = of(name).forward
        table = plan.program.table()
        stored = [n for stage in plan.stages(Phase.STEP) for n in stage.stores]
        after = {name for _, name in plan.carried}
        assert {n for n in stored if len(table[n].shape) == 3} <= after


def test_an_outer_product_of_a_vector_with_itself_stays_a_product() -> None:
    """An operand lies in one place."""
    arrays = (Array("k", ("K",), True), Array("S", ("K", "L"), True))
    arrays = (Array("k", ("K",), True), Array("S", ("K", "K"), True))
    program = Program(arrays, ("k",), (Matmul("S", "k", "k", Layout.AXES, "i,j->ij"),), ("S",))
    assert outers_as_maps(program) == program


def test_a_product_along_axes_is_a_map_and_a_fold() -> None:
    arrays = (
        Array("S", ("N", "D", "K"), True), Array("q", ("N", "K"), True),
        Array("y", ("N", "D"), True),
    )  # fmt: skip
    product = Matmul("y", "S", "q", Layout.AXES, "nij,nj->ni")
    found = with_folds(Program(arrays, ("S", "q"), (product,), ("y",)))
    terms, total = found.equations
    assert isinstance(terms, Map)
    assert terms.places == (("q", (0, 2)),)
    assert total == Sum("y", "y_terms", Over.SUM, (2,))
    assert is_fold(total, found.table())


def test_a_sum_over_heads_is_no_fold() -> None:
    arrays = (Array("S", ("N", "D", "K"), True), Array("y", ("D", "K"), True))
    table = {array.name: array for array in arrays}
    assert not is_fold(Sum("y", "S", Over.SUM, (0,)), table)


def test_what_a_later_pass_reads_again_is_computed_again() -> None:
    plan = of("gated_delta").forward
    first, second = over(plan, Phase.STEP, 3)
    assert "T" in {m.out for m in first.maps}
    assert "T_again" in {m.out for m in second.maps}
    assert "T" not in first.stores


def test_what_is_computed_again_wherever_it_is_read_is_not_computed_before() -> None:
    """Comba decays its matrix in each pass that needs it so; no stage does it for another one."""
    plan = scheduled_in_blocks(pipeline.schedule(cells.from_spec("comba"))).forward
    computed = {m.out for _, stages in plan.phases for s in stages for m in s.maps}
    assert "T_again" in computed
    assert "T" not in computed | set(plan.program.table())


def test_an_exponential_is_not_computed_again() -> None:
    plan = of_text(
        "cell c\ninput x: D\nstate S: D x K\nparam A: D x K, k: K\n"
        "T = exp(-x * A) * S\nu = T @ k\nS' = T + outer(u, k)\noutput u\n"
    ).forward
    first, second = over(plan, Phase.STEP, 2)
    assert "T" in first.stores
    assert "T" in second.loads
