"""derive.rnn_cell's classes against TensorFlow's formulas written by hand, and its manners."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow_formulas as tf

import derive
from derive import rnn_cell
from derive.rnn_cell import LSTMStateTuple

B, T, I, H, P = 3, 4, 5, 4, 3  # noqa: E741
LENGTHS = [4, 2, 0]
# Errors of float64 sums of a dozen terms near 1, over four steps.
EXACT = 1e-13
STEP = 1e-30  # of the complex step, whose error is of the order of its square
DERIVED = 1e-11


@pytest.fixture(autouse=True)
def numpy_kernels() -> Iterator[None]:
    with rnn_cell.using("numpy"):
        yield


Case = tuple[Callable[[], Any], Callable[..., Any]]
CASES: dict[str, Case] = {
    "basic_rnn": (lambda: rnn_cell.BasicRNNCell(H), tf.basic_rnn),
    "basic_rnn_relu": (
        lambda: rnn_cell.BasicRNNCell(H, "relu"),
        partial(tf.basic_rnn, act=tf.relu),
    ),
    "basic_lstm": (lambda: rnn_cell.BasicLSTMCell(H), tf.lstm),
    "basic_lstm_no_bias": (
        lambda: rnn_cell.BasicLSTMCell(H, forget_bias=0.0, activation="relu"),
        partial(tf.lstm, forget_bias=0.0, act=tf.relu),
    ),
    "lstm": (lambda: rnn_cell.LSTMCell(H), tf.lstm),
    "lstm_peephole": (lambda: rnn_cell.LSTMCell(H, use_peepholes=True), tf.lstm),
    "lstm_cell_clip": (
        lambda: rnn_cell.LSTMCell(H, True, 0.3),
        partial(tf.lstm, cell_clip=0.3),
    ),
    "lstm_projection": (lambda: rnn_cell.LSTMCell(H, num_proj=P), tf.lstm),
    "lstm_everything": (
        lambda: rnn_cell.LSTMCell(H, True, 0.4, num_proj=P, proj_clip=0.2, forget_bias=0.5),
        partial(tf.lstm, cell_clip=0.4, proj_clip=0.2, forget_bias=0.5),
    ),
    "gru": (lambda: rnn_cell.GRUCell(H), tf.gru),
    "gru_relu": (lambda: rnn_cell.GRUCell(H, activation="relu"), partial(tf.gru, act=tf.relu)),
    "cudnn_lstm": (
        lambda: rnn_cell.CudnnCompatibleLSTMCell(H),
        partial(tf.lstm, forget_bias=0.0),
    ),
    "cudnn_gru": (lambda: rnn_cell.CudnnCompatibleGRUCell(H), tf.cudnn_gru),
    "ugrnn": (lambda: rnn_cell.UGRNNCell(H), tf.ugrnn),
    "coupled": (lambda: rnn_cell.CoupledInputForgetGateLSTMCell(H), tf.coupled),
    "coupled_everything": (
        lambda: rnn_cell.CoupledInputForgetGateLSTMCell(
            H, True, num_proj=P, proj_clip=0.3, layer_norm=True
        ),
        partial(tf.coupled, proj_clip=0.3),
    ),
    "coupled_peephole": (
        lambda: rnn_cell.CoupledInputForgetGateLSTMCell(H, True, num_proj=P),
        tf.coupled,
    ),
    "layer_norm": (lambda: rnn_cell.LayerNormBasicLSTMCell(H), tf.layer_norm_lstm),
    "layer_norm_off": (
        lambda: rnn_cell.LayerNormBasicLSTMCell(H, layer_norm=False),
        tf.layer_norm_lstm,
    ),
    "phased": (lambda: rnn_cell.PhasedLSTMCell(H), tf.phased_lstm),
    "phased_peephole": (
        lambda: rnn_cell.PhasedLSTMCell(H, True, leak=0.1, ratio_on=0.5, period_init_max=3.0),
        partial(tf.phased_lstm, leak=0.1, peephole=True),
    ),
    "nas": (lambda: rnn_cell.NASCell(H), tf.nas),
    "nas_everything": (lambda: rnn_cell.NASCell(H, P, use_bias=True), tf.nas),
    "intersection": (lambda: rnn_cell.IntersectionRNNCell(I), tf.intersection),
    "intersection_projected": (lambda: rnn_cell.IntersectionRNNCell(H, H), tf.intersection),
    "sru": (lambda: rnn_cell.SRUCell(H), tf.sru),
    "indrnn": (lambda: rnn_cell.IndRNNCell(H), tf.indrnn),
    "minimal": (lambda: rnn_cell.MinimalRNNCell(H), tf.minimal_rnn),
    "cfn": (lambda: rnn_cell.CFNCell(H), tf.cfn),
    "janet": (lambda: rnn_cell.JANETCell(H), tf.janet),
    "janet_beta": (lambda: rnn_cell.JANETCell(H, beta=0.5), partial(tf.janet, beta=0.5)),
}


def arrays(name: str, seed: int = 0) -> tuple[Any, Any, Any, dict[str, np.ndarray]]:
    """A built cell, inputs [B, T, I], a state and variables, none of them zero."""
    random = np.random.default_rng(seed)
    cell = CASES[name][0]()
    x: Any = random.normal(size=(B, T, I))
    if "phased" in name:
        x = (np.cumsum(random.random((B, T, 1)), 1), x)
    cell.build(I, dtype=np.float64, seed=seed)
    cell.set_variables(
        {n: a + 0.3 * random.normal(size=a.shape) for n, a in cell.variables.items()
         if n not in ("period", "ratio_on")}
    )  # fmt: skip
    state = tf.mapped(cell.zero_state(B, np.float64), lambda a: random.normal(size=a.shape))
    return cell, x, state, cell.variables


def flat(structure: Any) -> list[np.ndarray]:
    if isinstance(structure, (tuple, list)):
        return [array for part in structure for array in flat(part)]
    return [structure]


def distance(a: Any, b: Any) -> float:
    pairs = list(zip(flat(a), flat(b), strict=True))
    assert all(x.shape == y.shape and np.isfinite(x).all() for x, y in pairs)
    return max(float(np.abs(x - y).max(initial=0)) for x, y in pairs)


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_what_tensorflow_computes(name: str) -> None:
    cell, x, state, variables = arrays(name)
    first = tf.mapped(x, lambda a: a[:, 0])
    output, new = cell(first, state)
    wanted, wanted_state = CASES[name][1](variables, first, state)
    assert distance((output, new), (wanted, wanted_state)) < EXACT
    assert type(new) is type(cell.state_size) or isinstance(new, np.ndarray)


@pytest.mark.parametrize("name", CASES)
def test_a_sequence_is_its_steps_and_the_state_stays_past_a_rows_end(name: str) -> None:
    cell, x, state, variables = arrays(name)
    outputs, last = rnn_cell.dynamic_rnn(cell, x, LENGTHS, state)
    wanted = tf.rnn(partial(CASES[name][1], variables), x, state, LENGTHS)
    assert distance((outputs, last), wanted) < EXACT


@pytest.mark.parametrize("name", CASES)
def test_the_pullback_is_the_derivative_of_tensorflows_formulas(name: str) -> None:
    """Each gradient separately, along a random direction, by the complex step."""
    cell, x, state, variables = arrays(name)
    outputs, last, pullback = rnn_cell.dynamic_rnn(cell, x, LENGTHS, state, return_pullback=True)
    random = np.random.default_rng(1)
    d_outputs = random.normal(size=outputs.shape)
    d_last = tf.mapped(last, lambda a: random.normal(size=a.shape))
    pulled = pullback(d_outputs, d_last)

    def derivative(dx: Any, ds: Any, dv: dict[str, Any]) -> float:
        moved = {n: a + 1j * STEP * dv.get(n, 0) for n, a in variables.items()}
        step = partial(CASES[name][1], moved)
        x_moved = tf.mapped(x, lambda a, d: a + 1j * STEP * d, dx)
        s_moved = tf.mapped(state, lambda a, d: a + 1j * STEP * d, ds)
        found = tf.rnn(step, x_moved, s_moved, LENGTHS)
        cotangents = zip(flat(found), flat((d_outputs, d_last)), strict=True)
        return sum(float((value.imag * d).sum()) for value, d in cotangents) / STEP

    def zero(a: np.ndarray) -> np.ndarray:
        return np.zeros_like(a)

    def any_direction(a: np.ndarray) -> np.ndarray:
        return random.normal(size=a.shape)

    def check(gradient: Any, direction: Any, observed: float) -> None:
        parts = zip(flat(gradient), flat(direction), strict=True)
        wanted = sum(float((g * d).sum()) for g, d in parts)
        assert abs(observed - wanted) < DERIVED * max(1.0, abs(wanted))

    no_x, no_s = tf.mapped(x, zero), tf.mapped(state, zero)
    dx, ds = tf.mapped(x, any_direction), tf.mapped(state, any_direction)
    check(pulled.inputs, dx, derivative(dx, no_s, {}))
    check(pulled.initial_state, ds, derivative(no_x, ds, {}))
    assert list(pulled.variables) == list(variables)
    for n, a in variables.items():
        assert pulled.variables[n].shape == a.shape
        dv = random.normal(size=a.shape)
        check(pulled.variables[n], dv, derivative(no_x, no_s, {n: dv}))


@pytest.mark.parametrize("name", ["basic_lstm", "gru", "phased_peephole"])
def test_c_kernels_give_the_same(name: str) -> None:
    cell, x, state, _ = arrays(name)
    by_numpy = rnn_cell.dynamic_rnn(cell, x, LENGTHS, state, return_pullback=True)
    try:
        with rnn_cell.using("c"):
            by_c = rnn_cell.dynamic_rnn(cell, x, LENGTHS, state, return_pullback=True)
    except derive.errors.BuildError:
        pytest.skip("no C compiler")
    assert distance(by_numpy[:2], by_c[:2]) < EXACT
    d = np.ones_like(by_numpy[0])
    for one, other in zip(by_numpy[2](d), by_c[2](d), strict=True):
        one, other = (tuple(p.values()) if isinstance(p, dict) else p for p in (one, other))
        assert distance(one, other) < 1e-12


# --- names, shapes, beginnings -------------------------------------------------------------------

LAYOUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "basic_rnn": {"kernel": (I + H, H), "bias": (H,)},
    "basic_lstm": {"kernel": (I + H, 4 * H), "bias": (4 * H,)},
    "lstm_everything": {
        "kernel": (I + P, 4 * H), "bias": (4 * H,), "w_f_diag": (H,), "w_i_diag": (H,),
        "w_o_diag": (H,), "projection/kernel": (H, P),
    },
    "gru": {
        "gates/kernel": (I + H, 2 * H), "gates/bias": (2 * H,),
        "candidate/kernel": (I + H, H), "candidate/bias": (H,),
    },
    "cudnn_gru": {
        "gates/kernel": (I + H, 2 * H), "gates/bias": (2 * H,),
        "candidate/input_projection/kernel": (I, H), "candidate/hidden_projection/kernel": (H, H),
        "candidate/input_projection/bias": (H,), "candidate/hidden_projection/bias": (H,),
    },
    "coupled_peephole": {
        "W_0": (I + P, 3 * H), "B": (3 * H,), "W_F_diag": (H,), "W_O_diag": (H,), "W_P_0": (H, P),
    },
    "nas_everything": {
        "recurrent_kernel": (P, 8 * H), "kernel": (I, 8 * H), "bias": (8 * H,),
        "projection_weights": (H, P),
    },
    "intersection_projected": {
        "in_projection/kernel": (I, H), "in_projection/bias": (H,),
        "kernel": (2 * H, 4 * H), "bias": (4 * H,),
    },
    "sru": {"kernel": (I, 4 * H), "bias": (2 * H,)},
    "indrnn": {"kernel_w": (I, H), "kernel_u": (1, H), "bias": (H,)},
    "minimal": {"kernel": (I + 2 * H, H), "bias": (H,)},
    "cfn": {"kernel": (I, 3 * H), "recurrent_kernel": (H, 2 * H), "bias": (2 * H,)},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_variables_have_tensorflows_names_and_shapes(name: str) -> None:
    cell = CASES[name][0]()
    cell.build(I)
    assert {n: a.shape for n, a in cell.variables.items()} == LAYOUTS[name]
    assert all(a.dtype == np.float32 for a in cell.variables.values())


def test_variables_start_as_in_tensorflow() -> None:
    cell = rnn_cell.GRUCell(200)
    cell.build(100, seed=0)
    start = cell.variables
    assert (start["gates/bias"] == 1).all() and (start["candidate/bias"] == 0).all()
    bound = np.sqrt(6 / (300 + 400))
    kernel = start["gates/kernel"]
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    lstm = rnn_cell.LSTMCell(50, use_peepholes=True)
    lstm.build(7)
    assert (lstm.variables["bias"] == 0).all()
    assert np.abs(lstm.variables["w_i_diag"]).max() <= np.sqrt(6 / 100)
    phased = rnn_cell.PhasedLSTMCell(500, period_init_min=2.0, period_init_max=30.0)
    phased.build(3)
    v = phased.variables
    assert v["period"].min() >= 2 and v["period"].max() <= 30
    assert (v["phase"] >= 0).all() and (v["phase"] <= v["period"]).all()
    assert (v["ratio_on"] == np.float32(0.1)).all()
    janet = rnn_cell.JANETCell(500, t_max=50)
    janet.build(3)
    forget = janet.variables["bias"][:500]
    assert forget.min() >= 0 and forget.max() <= np.log(49)


def test_an_initializer_is_a_function_a_name_or_a_number() -> None:
    asked: list[Any] = []

    def ramp(shape: Any, dtype: Any) -> Any:
        asked.append(shape)
        return np.arange(np.prod(shape), dtype=dtype).reshape(shape)

    cell = rnn_cell.LSTMCell(2, initializer=ramp, num_proj=3)
    cell.build(1)
    assert asked == [(4, 8), (2, 3)]
    assert cell.variables["kernel"][1, 0] == 8
    gru = rnn_cell.GRUCell(2, kernel_initializer="zeros", bias_initializer=0.5)
    gru.build(1)
    assert (gru.variables["gates/kernel"] == 0).all() and (gru.variables["gates/bias"] == 0.5).all()
    with pytest.raises(derive.DeriveError, match="no initializer"):
        rnn_cell.GRUCell(2, kernel_initializer="orthogonal!")
    wrong = rnn_cell.GRUCell(2, kernel_initializer=lambda shape, dtype: np.zeros(3))
    with pytest.raises(ValueError, match="wrong shape"):
        wrong.build(1)


def test_the_same_seed_gives_the_same_variables() -> None:
    one, two = rnn_cell.NASCell(3), rnn_cell.NASCell(3)
    one.build(2, seed=5)
    two.build(2, seed=np.random.default_rng(5))
    assert all((one.variables[n] == a).all() for n, a in two.variables.items())


def test_the_defaults_are_tensorflows() -> None:
    wanted: dict[Any, dict[str, Any]] = {
        rnn_cell.BasicLSTMCell: {"forget_bias": 1.0, "state_is_tuple": True, "activation": None},
        rnn_cell.LSTMCell: {
            "use_peepholes": False, "cell_clip": None, "num_proj": None, "proj_clip": None,
            "forget_bias": 1.0, "state_is_tuple": True, "activation": None, "initializer": None,
        },
        rnn_cell.GRUCell: {
            "activation": None, "kernel_initializer": None, "bias_initializer": None,
        },
        rnn_cell.PhasedLSTMCell: {
            "use_peepholes": False, "leak": 0.001, "ratio_on": 0.1, "trainable_ratio_on": True,
            "period_init_min": 1.0, "period_init_max": 1000.0,
        },
        rnn_cell.DropoutWrapper: {
            "input_keep_prob": 1.0, "output_keep_prob": 1.0, "state_keep_prob": 1.0,
            "variational_recurrent": False, "input_size": None, "dtype": None, "seed": None,
        },
    }  # fmt: skip
    for function, defaults in wanted.items():
        parameters = inspect.signature(function).parameters
        assert {n: parameters[n].default for n in defaults} == defaults


def test_state_sizes_and_zero_states_have_tensorflows_structure() -> None:
    lstm = rnn_cell.LSTMCell(H, num_proj=P)
    assert lstm.state_size == LSTMStateTuple(c=H, h=P) and lstm.output_size == P
    zero = lstm.zero_state(2, np.float64)
    assert isinstance(zero, LSTMStateTuple) and zero.c.shape == (2, H) and zero.h.shape == (2, P)
    assert rnn_cell.LSTMCell(H, num_proj=P, state_is_tuple=False).state_size == H + P
    assert rnn_cell.GRUCell(H).state_size == H
    both = rnn_cell.MultiRNNCell([lstm, rnn_cell.GRUCell(2)])
    assert both.state_size == (LSTMStateTuple(H, P), 2) and both.output_size == 2


def test_a_concatenated_state_is_c_then_h() -> None:
    cell, x, state, variables = arrays("basic_lstm")
    flatly = rnn_cell.BasicLSTMCell(H, state_is_tuple=False)
    flatly.set_variables(variables)
    joined = np.concatenate(state, 1)
    output, new = flatly(x[:, 0], joined)
    wanted, wanted_state = cell(x[:, 0], state)
    assert (output == wanted).all() and (new == np.concatenate(wanted_state, 1)).all()
    _, last, pullback = rnn_cell.dynamic_rnn(flatly, x, LENGTHS, joined, return_pullback=True)
    d = np.ones_like(last)
    pulled = pullback(None, d)
    other = rnn_cell.dynamic_rnn(cell, x, LENGTHS, state, return_pullback=True)
    wanted_pull = other[2](None, LSTMStateTuple(d[:, :H], d[:, H:]))
    assert (pulled.initial_state == np.concatenate(wanted_pull.initial_state, 1)).all()
    with pytest.raises(ValueError, match="wrong shape"):
        flatly(x[:, 0], joined[:, 1:])


def test_forget_bias_is_no_part_of_the_bias() -> None:
    with_bias, without = rnn_cell.BasicLSTMCell(H), rnn_cell.BasicLSTMCell(H, forget_bias=0.0)
    with_bias.build(I, dtype=np.float64, seed=0)
    values = with_bias.variables
    without.set_variables(values)
    assert (values["bias"] == 0).all()
    x, zero = np.ones((1, I)), with_bias.zero_state(1, np.float64)
    state = LSTMStateTuple(zero.c + 1, zero.h)
    shifted = values["bias"].copy()
    shifted[2 * H : 3 * H] += 1  # i, j, f, o
    one = with_bias(x, state)
    without.set_variables(bias=shifted)
    assert distance(one, without(x, state)) < EXACT


def test_the_gradient_at_a_clips_bound_is_1_and_beyond_it_0() -> None:
    cell = rnn_cell.LSTMCell(1, cell_clip=0.5, forget_bias=0.0)
    cell.set_variables(kernel=np.zeros((2, 4)), bias=np.array([0.0, 0.0, 0.0, 0.0]))
    for c, wanted in ((1.0, 0.5), (1.0 + 1e-9, 0.0)):  # c' = c / 2, clipped at 0.5
        _, _, pullback = rnn_cell.dynamic_rnn(
            cell, np.zeros((1, 1, 1)), initial_state=LSTMStateTuple([[c]], [[0.0]]),
            return_pullback=True,
        )  # fmt: skip
        pulled = pullback(None, LSTMStateTuple(np.ones((1, 1)), None))
        assert pulled.initial_state.c[0, 0] == wanted


def test_variables_can_be_set_in_part_and_by_tensorflows_full_names() -> None:
    cell = rnn_cell.BasicLSTMCell(H)
    kernel = np.arange((I + H) * 4 * H, dtype=np.float64).reshape(I + H, 4 * H)
    cell.set_variables({"rnn/basic_lstm_cell/kernel:0": kernel})
    assert cell.built and (cell.variables["kernel"] == kernel).all()
    assert cell.variables["kernel"].dtype == np.float64
    kernel[:] = 0
    assert cell.variables["kernel"].any()
    stack = rnn_cell.MultiRNNCell([rnn_cell.GRUCell(H), rnn_cell.GRUCell(H)])
    stack.build(I)
    name = "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/bias:0"
    stack.set_variables({name: np.full(H, 3.0)})
    assert (stack.variables["cell_1/candidate/bias"] == 3).all()
    coupled = rnn_cell.CoupledInputForgetGateLSTMCell(H)
    coupled.set_variables(kernel=np.ones((I + H, 3 * H)))
    assert coupled.variables["W_0"].all()


def test_wrong_variables_are_refused() -> None:
    cell = rnn_cell.BasicLSTMCell(H)
    with pytest.raises(ValueError, match="has no variables yet"):
        _ = cell.variables
    with pytest.raises(ValueError, match="has no variables yet"):
        cell.set_variables(bias=np.zeros(4 * H))
    cell.build(I)
    with pytest.raises(ValueError, match=r"did you mean 'kernel'"):
        cell.set_variables(kernle=np.zeros((I + H, 4 * H)))
    with pytest.raises(ValueError, match=r"kernel is \[9, 16\], given \[2, 2\]"):
        cell.set_variables(kernel=np.zeros((2, 2)))
    with pytest.raises(TypeError, match="no name of a variable"):
        cell.set_variables({3: np.zeros(3)})
    stack = rnn_cell.MultiRNNCell([rnn_cell.GRUCell(H)])
    with pytest.raises(ValueError, match="1 layers: cell_0"):
        stack.set_variables({"cell_7/kernel": np.zeros(3)})


def test_wrong_arguments_are_refused() -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="num_units"):
            rnn_cell.GRUCell(wrong)
    with pytest.raises(TypeError, match="num_units"):
        rnn_cell.GRUCell(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="thanh"):
        rnn_cell.GRUCell(2, activation="thanh")
    with pytest.raises(TypeError, match="no activation"):
        rnn_cell.GRUCell(2, activation=3)
    with pytest.raises(TypeError, match="float32 or float64"):
        rnn_cell.GRUCell(2, dtype=np.int32)
    with pytest.raises(TypeError, match="float32 or float64"):
        rnn_cell.GRUCell(2, dtype="no dtype")
    with pytest.raises(ValueError, match="two positive bounds"):
        rnn_cell.PhasedLSTMCell(2, period_init_min=0.0)
    with pytest.raises(ValueError, match="t_max"):
        rnn_cell.JANETCell(2, t_max=1)
    with pytest.raises(ValueError, match="as wide as its output"):
        rnn_cell.IntersectionRNNCell(H)(np.zeros((1, I)), np.zeros((1, H)))
    with pytest.raises(ValueError, match="needs the width of its inputs"):
        rnn_cell.GRUCell(2).build()
    with pytest.raises(ValueError, match="keep_prob must be between 0 and 1"):
        rnn_cell.DropoutWrapper(rnn_cell.GRUCell(2), 1.5)


def test_wrong_inputs_and_states_are_refused() -> None:
    cell = rnn_cell.BasicLSTMCell(H)
    cell.build(I)
    zero = cell.zero_state(2)
    with pytest.raises(ValueError, match="built for inputs of width 5, given 6"):
        cell(np.zeros((2, 6)), zero)
    with pytest.raises(ValueError, match="input x has the wrong shape"):
        cell(np.zeros(5), zero)
    with pytest.raises(TypeError, match="wrong structure"):
        cell(np.zeros((2, I)), np.zeros((2, 2 * H)))
    with pytest.raises(TypeError, match="wrong structure"):
        cell(np.zeros((2, I)), (zero.c,))
    with pytest.raises(ValueError, match="state c has the wrong shape"):
        cell(np.zeros((2, I)), (np.zeros((2, H + 1)), zero.h))
    phased = rnn_cell.PhasedLSTMCell(H)
    with pytest.raises(TypeError, match="tuple of 2 arrays: time, x"):
        phased(np.zeros((2, I)), phased.zero_state(2))


def test_activations_may_be_functions_by_their_names() -> None:
    assert rnn_cell.GRUCell(2, np.tanh).wiring.cell == rnn_cell.GRUCell(2).wiring.cell
    relu = rnn_cell.BasicRNNCell(2, derive.symbolic.functions.relu).wiring.cell
    assert relu == rnn_cell.BasicRNNCell(2, "relu").wiring.cell
    linear = rnn_cell.BasicRNNCell(2, "linear").wiring.cell
    assert linear == rnn_cell.BasicRNNCell(2, "identity").wiring.cell


def test_the_dtype_is_that_of_the_inputs() -> None:
    cell = rnn_cell.GRUCell(H)
    y, _ = cell(np.zeros((2, I), np.float32), cell.zero_state(2))
    assert y.dtype == np.float32 and cell.variables["gates/kernel"].dtype == np.float32
    y, _ = cell(np.zeros((2, I)), cell.zero_state(2))
    assert y.dtype == np.float64
    outputs, _ = rnn_cell.dynamic_rnn(cell, np.zeros((2, 3, I)), dtype=np.float32)
    assert outputs.dtype == np.float32
    assert rnn_cell.dynamic_rnn(cell, np.zeros((2, 3, I), int))[0].dtype == np.float32


def test_linear_is_what_the_old_linear_did() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.ones((2, 1))
    kernel, bias = np.arange(8.0).reshape(4, 2), np.array([1.0, -1.0])
    wanted = np.concatenate([a, b], 1) @ kernel
    assert (rnn_cell.linear([a, b], 2, kernel) == wanted).all()
    assert (rnn_cell.linear([a, b], 2, kernel, bias) == wanted + bias).all()
    assert (rnn_cell.linear(a, 2, kernel[:3]) == a @ kernel[:3]).all()
    for args, size, k, shift in (
        ([], 2, kernel, None), ([a[0]], 2, kernel, None), ([a, b], 3, kernel, None),
        ([a, b], 2, kernel, np.zeros(3)),
    ):  # fmt: skip
        with pytest.raises(derive.DeriveError):
            rnn_cell.linear(args, size, k, shift)
