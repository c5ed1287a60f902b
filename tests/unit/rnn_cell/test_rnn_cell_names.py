"""Names and orders of arguments that programs written for TensorFlow rely on."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import derive
from derive import rnn_cell
from derive.rnn_cell.absent import ABSENT, AbsentError

X = np.random.default_rng(3).normal(size=(4, 2, 3))
LENGTHS = [4, 2]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


def test_block_cells_compute_what_the_cells_they_speed_up_compute() -> None:
    block = rnn_cell.LSTMBlockCell(5, 0.5, 0.3, True)
    plain = rnn_cell.LSTMCell(5, True, 0.3, forget_bias=0.5)
    gated, other = rnn_cell.GRUBlockCellV2(cell_size=5), rnn_cell.GRUCell(5)
    for one, right in ((block, plain), (gated, other)):
        one.build(3, dtype="float64", seed=1)
        right.build(3, dtype="float64")
        right.set_variables(dict(one.variables))
        assert list(one.variables) == list(right.variables)
        found, wanted = (
            rnn_cell.dynamic_rnn(cell, X.swapaxes(0, 1), LENGTHS, return_pullback=True)
            for cell in (one, right)
        )
        assert same(found[:2], wanted[:2])
        slopes, expected = (run[2](np.ones((2, 4, 5))) for run in (found, wanted))
        assert same(slopes.inputs, expected.inputs)
        assert all(same(slopes.variables[n], expected.variables[n]) for n in one.variables)
    assert block.name == "lstm_cell" and gated.name == "gru_cell"


def test_the_fused_cell_runs_a_sequence_whose_first_axis_is_time() -> None:
    fused = rnn_cell.LSTMBlockFusedCell(5, use_peephole=True)
    outputs, state = fused(X, sequence_length=LENGTHS)
    right = rnn_cell.dynamic_rnn(fused.cell, X, LENGTHS, time_major=True)
    assert same((outputs, state), right) and fused.num_units == 5
    assert list(fused.variables) == ["kernel", "bias", "w_f_diag", "w_i_diag", "w_o_diag"]
    again, _, pullback = fused(X, state, None, LENGTHS, return_pullback=True)
    assert same(again, rnn_cell.dynamic_rnn(fused.cell, X, LENGTHS, state, time_major=True)[0])
    assert pullback(np.ones_like(again)).inputs.shape == X.shape


def test_the_gru_block_cell_takes_one_width() -> None:
    for args in ({}, {"num_units": 4, "cell_size": 4}):
        with pytest.raises(derive.DeriveError, match="Exactly one of num_units or cell_size"):
            rnn_cell.GRUBlockCellV2(**args)


#: Arguments in the order of TensorFlow 1.15.
ORDERS = {
    "BasicRNNCell": "num_units activation reuse name dtype",
    "BasicLSTMCell": "num_units forget_bias state_is_tuple activation reuse name dtype",
    "LSTMCell": "num_units use_peepholes cell_clip initializer num_proj proj_clip num_unit_shards "
    "num_proj_shards forget_bias state_is_tuple activation reuse name dtype",
    "GRUCell": "num_units activation reuse kernel_initializer bias_initializer name dtype",
    "CudnnCompatibleLSTMCell": "num_units reuse",
    "CudnnCompatibleGRUCell": "num_units reuse kernel_initializer",
    "LSTMBlockCell": "num_units forget_bias cell_clip use_peephole dtype reuse name",
    "GRUBlockCellV2": "num_units cell_size reuse name",
    "LSTMBlockFusedCell": "num_units forget_bias cell_clip use_peephole reuse dtype name",
    "CoupledInputForgetGateLSTMCell": "num_units use_peepholes initializer num_proj proj_clip "
    "num_unit_shards num_proj_shards forget_bias state_is_tuple activation reuse layer_norm "
    "norm_gain norm_shift",
    "LayerNormBasicLSTMCell": "num_units forget_bias input_size activation layer_norm norm_gain "
    "norm_shift dropout_keep_prob dropout_prob_seed reuse",
    "UGRNNCell": "num_units initializer forget_bias activation reuse",
    "NASCell": "num_units num_proj use_bias reuse",
    "IntersectionRNNCell": "num_units num_in_proj initializer forget_bias y_activation reuse",
    "PhasedLSTMCell": "num_units use_peepholes leak ratio_on trainable_ratio_on period_init_min "
    "period_init_max reuse",
    "SRUCell": "num_units activation reuse name",
    "IndRNNCell": "num_units activation reuse name",
    "dynamic_rnn": "cell inputs sequence_length initial_state dtype parallel_iterations "
    "swap_memory time_major scope",
    "bidirectional_dynamic_rnn": "cell_fw cell_bw inputs sequence_length initial_state_fw "
    "initial_state_bw dtype parallel_iterations swap_memory time_major scope",
    "static_rnn": "cell inputs initial_state dtype sequence_length scope",
}


@pytest.mark.parametrize("name", ORDERS)
def test_arguments_stand_in_tensorflow_s_order(name: str) -> None:
    parameters = list(inspect.signature(getattr(rnn_cell, name)).parameters.values())
    wanted = ORDERS[name].split()
    assert [p.name for p in parameters[: len(wanted)]] == wanted
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[: len(wanted)])


@pytest.mark.parametrize("name", ABSENT)
def test_a_name_that_is_not_here_says_why(name: str) -> None:
    with pytest.raises(AbsentError, match=f"derive.rnn_cell has no {name}\n.*\n  hint: "):
        getattr(rnn_cell, name)
    assert not hasattr(rnn_cell, name)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="did you mean 'LSTMCell'"):
        _ = rnn_cell.LTSMCell
