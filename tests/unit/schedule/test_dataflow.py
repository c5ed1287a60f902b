"""A plan whose reads come before their writes is refused; those of real cells never are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from strange_cells import MIXED

from derive import cells, pipeline
from derive.cell import Cell
from derive.emit.c.early_products import with_early_products
from derive.errors import ProgramError
from derive.program import Array, Map, Matmul
from derive.schedule.dataflow import check, outs
from derive.schedule.plan import Accumulator, Kind, Phase, Plan, Stage
from derive.symbolic.functions import symbol


def plans() -> tuple[Plan, Plan]:
    schedule = pipeline.schedule(Cell.parse(MIXED))
    return schedule.forward, schedule.backward


def stage_of(plan: Plan, name: str) -> tuple[Phase, Stage]:
    return next((p, s) for p, stages in plan.phases for s in stages if name in outs(s))


def with_stages(plan: Plan, phase: Phase, stages: tuple[Stage, ...]) -> Plan:
    phases = tuple((p, stages if p is phase else old) for p, old in plan.phases)
    return replace(plan, phases=phases)


def changed(plan: Plan, name: str, change: Callable[[Stage], Stage]) -> Plan:
    """The plan with another stage for the one that computes `name`."""
    phase, stage = stage_of(plan, name)
    stages = tuple(change(s) if s is stage else s for s in plan.stages(phase))
    return with_stages(plan, phase, stages)


def moved(plan: Plan, name: str, to: Phase, *, first: bool = False) -> Plan:
    """The plan with the whole stage of `name` in another phase, and `phase_of` saying so."""
    phase, stage = stage_of(plan, name)
    plan = with_stages(plan, phase, tuple(s for s in plan.stages(phase) if s is not stage))
    there = plan.stages(to)
    plan = with_stages(plan, to, (stage, *there) if first else (*there, stage))
    placed = dict(plan.phase_of) | dict.fromkeys(outs(stage), to)
    return replace(plan, phase_of=tuple(placed.items()))


def without_store(name: str) -> Callable[[Stage], Stage]:
    return lambda s: replace(s, stores=tuple(n for n in s.stores if n != name))


def refused(plan: Plan, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        check(plan)


@pytest.mark.parametrize("spec", ["lstm:layer_norm=ba2016", "gru:reset=before", "phased_lstm"])
def test_plans_of_the_catalogue_pass_before_and_after_early_products(spec: str) -> None:
    schedule = pipeline.schedule(cells.from_spec(spec))
    for plan in (schedule.forward, schedule.backward):
        assert check(plan) is plan
        check(with_early_products(plan))


def test_every_array_that_a_later_phase_reads_is_stored() -> None:
    """An accumulator of sums over rows has a phase and a name of its own."""
    for plan in plans():
        phase_of = dict(plan.phase_of)
        for phase, stages in plan.phases:
            for stage in stages:
                for name in stage.loads:
                    if phase_of.get(name, phase) is not phase:
                        assert name in stage_of(plan, name)[1].stores
    backward = plans()[1]
    assert dict(backward.phase_of)["d_e_products"] is Phase.AFTER
    assert "d_e_products" in stage_of(backward, "d_e_products")[1].stores


def test_a_read_of_what_no_stage_stores_is_refused() -> None:
    forward, backward = plans()
    refused(changed(forward, "o", without_store("o")), "o: is read from memory before")
    refused(changed(backward, "d_e_products", without_store("d_e_products")), "d_e_products: is")


def test_an_output_that_no_stage_stores_is_refused() -> None:
    refused(changed(plans()[0], "y_next", without_store("y_next")), "is an output")


def test_stages_out_of_their_order_are_refused() -> None:
    forward, _ = plans()
    steps = forward.stages(Phase.STEP)
    assert len(steps) > 1
    refused(with_stages(forward, Phase.STEP, steps[::-1]), "before any stage stores it")
    refused(replace(forward, phases=forward.phases[::-1]), "phases are not in their order")


def test_a_sum_over_rows_is_complete_in_the_last_phase_only() -> None:
    _, backward = plans()
    refused(moved(backward, "d_e", Phase.AFTER), "over the wrong rows")
    refused(moved(backward, "d_e_products", Phase.ONCE), "is a sum over rows")
    early = moved(backward, "d_x", Phase.AFTER)  # the last stage there
    early = changed(early, "d_x", lambda s: replace(s, loads=("d_e_products", *s.loads)))
    refused(early, "which is too late")


def test_what_lasts_for_a_step_is_not_read_elsewhere() -> None:
    forward, backward = plans()
    refused(
        changed(backward, "d_e_of_a_h", lambda s: replace(s, loads=("d_y_carry", *s.loads))),
        "is carried for one step",
    )
    refused(
        changed(backward, "d_e", lambda s: replace(s, loads=("d_a_h", *s.loads))),
        "belongs to a row",
    )
    refused(moved(forward, "W_x", Phase.AFTER), "before any stage stores it")


def test_an_equation_reads_what_its_stage_has_or_loads() -> None:
    forward, _ = plans()

    def backwards(stage: Stage) -> Stage:
        return replace(stage, maps=stage.maps[::-1])

    def without_loads(stage: Stage) -> Stage:
        return replace(stage, loads=())

    refused(changed(forward, "y_next", without_loads), "is read before it is there")
    lstm = pipeline.schedule(cells.from_spec("lstm")).forward
    refused(changed(lstm, "c_next", backwards), "is read before it is there")


def test_what_is_computed_twice_or_elsewhere_is_refused() -> None:
    forward, _ = plans()
    phase, stage = stage_of(forward, "o")
    refused(with_stages(forward, phase, (*forward.stages(phase), stage)), "a second time")
    wrong = tuple((n, Phase.STEP if n == "o" else p) for n, p in forward.phase_of)
    refused(replace(forward, phase_of=wrong), "is said to run")
    more = (*forward.phase_of, ("ghost", Phase.STEP))
    refused(replace(forward, phase_of=more), "no stage computes it")
    ghost = Array("ghost", ("H",), per_row=True)
    program = replace(forward.program, arrays=(*forward.program.arrays, ghost))
    refused(replace(forward, program=program), "arrays without a definition")


def test_a_stage_of_the_wrong_form_is_refused() -> None:
    forward, backward = plans()
    refused(changed(forward, "o", lambda s: replace(s, stores=("h",))), "does not compute it")
    refused(changed(forward, "o", lambda s: replace(s, shape=("I",))), "not as wide")
    refused(moved(forward, "o", Phase.STEP, first=True), "over the wrong rows")
    refused(changed(forward, "y_next", lambda s: replace(s, loads=("x", *s.loads))), "does not fit")

    def other_kind(stage: Stage) -> Stage:
        return replace(stage, kind=Kind.ROW_SUM) if stage.kind is Kind.WIDTH_SUM else stage

    def starts(stage: Stage) -> Stage:
        (group, *others) = stage.groups
        (first, *rest) = group.accumulators
        first = replace(first, starts=("h",))
        return replace(stage, groups=(replace(group, accumulators=(first, *rest)), *others))

    total = next(
        a.out for _, ss in forward.phases for s in ss if s.kind is Kind.WIDTH_SUM for a in s.sums
    )
    refused(changed(forward, total, other_kind), total)
    product = next(
        a for _, ss in backward.phases for s in ss for g in s.groups for a in g.accumulators
    )
    refused(changed(backward, product.out, starts), "is no parameter")
    outer = next(
        a
        for _, ss in backward.phases
        for s in ss
        for a in s.sums
        if any(isinstance(t, Matmul) for t in a.terms)
    )

    def product_among_sums(stage: Stage) -> Stage:
        sums = tuple(
            Accumulator(a.out, (*a.terms, product.terms[0])) if a is outer else a
            for a in stage.sums
        )
        return replace(stage, sums=sums)

    refused(changed(backward, outer.out, product_among_sums), "adds up what its stage does not")


def test_an_array_that_the_plan_does_not_know_is_refused() -> None:
    forward, _ = plans()

    def strange(stage: Stage) -> Stage:
        maps = (*stage.maps, Map(stage.maps[-1].out, symbol("ghost")))
        return replace(stage, maps=maps[:-1], loads=("ghost", *stage.loads))

    refused(changed(forward, "y_next", strange), "no array of the plan")
