"""What runs when, together with what, and what is kept: read off the schedule of known cells."""

from __future__ import annotations

import pytest

from derive import cells, pipeline
from derive.cell import Cell
from derive.schedule import Schedule
from derive.schedule.plan import Kind, Phase, Plan, Stage


def of(spec: str) -> Schedule:
    return pipeline.schedule(cells.from_spec(spec))


def of_text(text: str) -> Schedule:
    return pipeline.schedule(Cell.parse(text))


def products(stage: Stage) -> list[list[str]]:
    """The outputs of each group of stacked products."""
    return [[a.out for a in group.accumulators] for group in stage.groups]


def matrices(stage: Stage) -> list[str]:
    return [t.left for g in stage.groups for a in g.accumulators for t in a.terms]  # type: ignore[union-attr]


def computed(plan: Plan, phase: Phase) -> set[str]:
    return {name for name, found in plan.phase_of if found is phase}


def test_lstm_has_one_stage_with_four_products_stacked_into_one() -> None:
    plan = of("lstm").forward
    (stage,) = plan.stages(Phase.STEP)
    assert len(stage.groups) == 1
    assert sorted(matrices(stage)) == ["U_f", "U_g", "U_i", "U_o"]
    assert stage.groups[0].vectors == ("h",)
    assert {"i", "f", "g", "o", "c_next", "h_next"} <= {m.out for m in stage.maps}


def test_products_of_the_input_are_stacked_and_run_before_the_loop() -> None:
    plan = of("lstm").forward
    (stage,) = plan.stages(Phase.BEFORE)
    assert sorted(matrices(stage)) == ["W_f", "W_g", "W_i", "W_o"]
    assert stage.groups[0].vectors == ("x",)
    assert not stage.maps


def test_weight_gradients_run_after_the_loop() -> None:
    plan = of("lstm").backward
    after = computed(plan, Phase.AFTER)
    gradients = {f"d_{kind}_{gate}" for kind in "WUb" for gate in "ifgo"}
    assert gradients | {"d_x"} <= after
    assert not gradients & computed(plan, Phase.STEP)


def test_the_gradient_of_h_is_one_accumulator_of_four_products() -> None:
    plan = of("lstm").backward
    pointwise, product = plan.stages(Phase.STEP)
    assert not pointwise.groups
    ((accumulator,),) = [group.accumulators for group in product.groups]
    assert accumulator.out == "d_h"
    assert sorted(t.left for t in accumulator.terms) == ["U_f", "U_g", "U_i", "U_o"]  # type: ignore[union-attr]


def test_gru_with_reset_before_has_two_stages() -> None:
    first, second = of("gru:reset=before").forward.stages(Phase.STEP)
    assert sorted(matrices(first)) == ["U_r", "U_z"]
    assert matrices(second) == ["U_n"]


def test_gru_with_reset_after_has_one_stage() -> None:
    (stage,) = of("gru:reset=after").forward.stages(Phase.STEP)
    assert sorted(matrices(stage)) == ["U_n", "U_r", "U_z"]
    assert len(stage.groups) == 1


def test_layer_norm_cuts_at_its_sums() -> None:
    plan = of("lstm:layer_norm=ba2016").forward
    kinds = [stage.kind for stage in plan.stages(Phase.STEP)]
    assert Kind.WIDTH_SUM in kinds
    assert kinds.count(Kind.FUSED) > 2
    # The norm of W x needs no state: its sums run before the loop.
    assert Kind.WIDTH_SUM in [stage.kind for stage in plan.stages(Phase.BEFORE)]


@pytest.mark.parametrize(
    ("spec", "linear"),
    [("min_gru", True), ("min_lstm", True), ("lstm", False), ("gru", False), ("indrnn", False)],
)
def test_linear_recurrences_are_recognised(spec: str, linear: bool) -> None:
    assert of(spec).forward.linear is linear


def test_a_product_of_the_state_or_a_square_is_not_linear() -> None:
    head = "cell c\ninput x: H\nstate h: H\noutput h'\n"
    assert of_text(head + "h' = sigmoid(x) * h + x").forward.linear
    assert not of_text(head + "h' = x * h * h").forward.linear
    assert not of_text(head + "h' = U @ h + x").forward.linear
    assert not of_text(head + "h' = sum(h) * x").forward.linear
    assert not of_text(head + "h' = where(h > 0, h, x)").forward.linear


@pytest.mark.parametrize(
    ("spec", "elementwise"),
    [
        ("min_gru", True), ("min_lstm", True), ("sru", True), ("indrnn", True), ("lstm", False),
        ("gru", False), ("janet", False), ("lstm:layer_norm=ba2016", False),
    ],
)  # fmt: skip
def test_recurrences_whose_units_never_meet_are_recognised(spec: str, elementwise: bool) -> None:
    schedule = of(spec)
    assert schedule.forward.elementwise is elementwise
    assert schedule.backward.elementwise is elementwise


def test_units_meet_in_products_sums_and_states_of_another_width() -> None:
    head = "cell c\ninput x: H, t: 1\nstate h: H\noutput h'\n"
    assert of_text(head + "h' = tanh(u * h + t * x)").forward.elementwise
    assert not of_text(head + "h' = tanh(U @ h + x)").forward.elementwise
    assert not of_text(head + "h' = h - mean(h) + x").forward.elementwise
    both = "cell c\ninput x: H\nstate h: H, s: 1\noutput h'\n"
    assert not of_text(both + "s' = 0.5 * s\nh' = s * h + x").forward.elementwise


def test_a_width_that_no_state_has_is_no_stage_of_a_step() -> None:
    """Each step would run it apart; before or after the loop it runs for all steps at once."""
    head = "cell c\ninput x: H\nstate h: H\n"
    plan = of_text(head + "h' = tanh(u * h + x)\nm = mean(h')\noutput m").backward
    assert "d_sum_h_next" in computed(plan, Phase.BEFORE) and plan.elementwise
    narrow = "cell c\ninput x: H\nstate h: 1\nh' = 0.9 * h + w * mean(x)\noutput h'"
    plan = of_text(narrow).backward
    assert "d_x" in computed(plan, Phase.AFTER) and plan.elementwise


def test_lstm_keeps_its_gates_and_recomputes_the_cheap_rest() -> None:
    split = of("lstm").split
    assert set(split.saved) == {"i", "f", "g", "o"}
    assert set(split.histories) == {"h", "c"}
    assert split.recomputed == ("tanh_c_next",)


def test_janet_keeps_the_argument_of_two_gates_instead_of_both() -> None:
    split = of("janet").split
    assert len(split.saved) == 2
    assert split.histories == ("h",)


def test_what_a_gradient_does_not_need_is_not_kept() -> None:
    split = of_text("cell c\ninput x: H\nstate h: H\nh' = h + x\noutput h'").split
    assert split.saved == ()
    assert split.histories == ()


def test_parameters_alone_are_worked_on_once() -> None:
    schedule = of_text(
        "cell c\ninput x: H\nstate h: H\nparam W: H x H\nparam v: H\n"
        "k = exp(v)\nq = W @ k\nh' = tanh(q * h + x)\noutput h'"
    )
    assert {"k", "q"} <= computed(schedule.forward, Phase.ONCE)
    assert "d_v" in computed(schedule.backward, Phase.LAST)


def test_an_output_no_state_needs_is_projected_after_the_loop() -> None:
    schedule = of_text(
        "cell c\ninput x: I\nstate h: H\nparam V: P x H\n"
        "h' = tanh(W @ x + U @ h)\ny = V @ h'\noutput y"
    )
    assert "y" in computed(schedule.forward, Phase.AFTER)
    # and its gradient is taken for all steps before the loop runs back
    assert any("V" in matrices(stage) for stage in schedule.backward.stages(Phase.BEFORE))


def test_nothing_that_reads_a_next_state_is_hoisted() -> None:
    schedule = of_text(
        "cell c\ninput x: I\nstate h: H, c: P\nparam V: P x H\n"
        "h' = tanh(W @ x)\nc' = tanh(V @ h' + c)\noutput c'"
    )
    assert {"h_next", "V_h_next", "c_next"} <= computed(schedule.forward, Phase.STEP)


def test_a_product_with_a_sum_of_others_is_not_absorbed_twice() -> None:
    plan = of_text(
        "cell c\ninput x: I\nstate h: H\np = W @ x + V @ x\nh' = tanh(p + U @ h)\noutput h', p"
    ).forward
    outs = [out for stage in plan.stages(Phase.BEFORE) for g in products(stage) for out in g]
    assert len(outs) == len(set(outs))
    assert "p" in {name for name, _ in plan.phase_of}


def test_a_matrix_used_twice_has_one_gradient_accumulated_in_one_place() -> None:
    plan = of_text("cell c\ninput x: H\nstate h: H\nh' = tanh(W @ x + W.T @ h)\noutput h'").backward
    sums = [a for s in plan.stages(Phase.AFTER) for a in s.sums if a.out == "d_W"]
    assert len(sums) == 1
    assert len(sums[0].terms) == 2
