"""Weights look at equations: what the parameters' names promise is proved, or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import derive
from derive import weights
from derive.errors import ArgumentError
from derive.weights.systems import SYSTEMS

LSTM = (
    "cell mine\ninput x: I\nstate h: H, c: H\n"
    "i = sigmoid(W_i @ x + U_i @ h + b_i)\nf = sigmoid(W_f @ x + U_f @ h + b_f)\n"
    "g = tanh(W_g @ x + U_g @ h + b_g)\no = sigmoid(W_o @ x + U_o @ h + b_o)\n"
    "c' = f * c + i * g\nh' = o * tanh(c')\noutput h'\n"
)
SAME = {
    "i and f exchanged": ("f * c + i * g", "i * c + f * g"),
    "a sign": ("W_i @ x", "-(W_i @ x)"),
    "a transposed matrix": ("U_i @ h", "U_i.T @ h"),
    "a number in i": ("+ b_i)", "+ b_i + 1)"),
    "a number in f": ("+ b_f)", "+ b_f + 1)"),
    "twice a bias": ("+ b_f)", "+ 2 * b_f)"),
    "a gate by tanh": (
        "sigmoid(W_o @ x + U_o @ h + b_o)",
        "(1 + tanh(W_o @ x + U_o @ h + b_o)) / 2",
    ),
}
OTHER = {
    "the forget gate outside": ("f * c + i * g", "f * (c + i * g)", "c_next"),
    "tanh of the old c": ("tanh(c')", "tanh(c)", "h_next"),
    "twice the output": ("o * tanh(c')", "2 * o * tanh(c')", "h_next"),
}


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    shapes = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,)}
    shapes["bias_hh_l0"] = (12,)
    return {name: random.normal(size=shape) for name, shape in shapes.items()}


def output(cell: derive.Cell, params: dict[str, np.ndarray]) -> np.ndarray:
    x = np.random.default_rng(4).normal(size=(5, 2, 2))
    return derive.compile(cell, target="numpy", dtype="float64").forward(params, x).output


@pytest.mark.parametrize("name", SAME)
def test_a_cell_that_equals_an_lstm_takes_its_weights_by_the_map(name: str) -> None:
    plain, mine = derive.Cell.parse(LSTM), derive.Cell.parse(LSTM.replace(*SAME[name]))
    wanted = output(plain, weights.load(plain, "pytorch", arrays()))
    params = weights.load(mine, "pytorch", arrays())
    assert np.abs(output(mine, params) - wanted).max() < 1e-14
    back = weights.save(mine, "pytorch", params)
    again = weights.load(plain, "pytorch", back)
    assert np.abs(output(plain, again) - wanted).max() < 1e-14


@pytest.mark.parametrize("name", OTHER)
def test_a_cell_that_is_none_is_refused_with_the_line_that_differs(name: str) -> None:
    old, new, line = OTHER[name]
    mine = derive.Cell.parse(LSTM.replace(old, new))
    with pytest.raises(ArgumentError, match=f"(?s)not proved to be one.*{line}"):
        weights.load(mine, "pytorch", arrays())


def test_an_rnn_of_another_function_is_refused() -> None:
    mine = derive.Cell.parse(
        "cell mine\ninput x: I\nstate h: H\nh' = 2 * tanh(W @ x + U @ h + b)\noutput h'\n"
    )
    with pytest.raises(ArgumentError, match=r"(?s)simple RNN.*2 \* tanh"):
        weights.save(mine, "pytorch", {"W": np.ones((3, 2)), "U": np.eye(3), "b": np.ones(3)})


def test_a_number_added_in_f_is_a_forget_bias() -> None:
    mine = derive.Cell.parse(LSTM.replace("+ b_f)", "+ b_f + 1)"))
    kernel = {"kernel": np.ones((5, 12)), "bias": np.zeros(12)}
    assert not weights.load(mine, "tensorflow", kernel)["b_f"].any()
    assert (weights.load(mine, "tensorflow", kernel, forget_bias=0.0)["b_f"] == -1).all()


def test_nan_in_arrays_is_mentioned() -> None:
    given = arrays()
    given["bias_ih_l0"][0] = np.nan
    with pytest.warns(UserWarning, match="NaN or infinity in bias_ih"):
        weights.load(derive.cells.lstm(), "pytorch", given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights.load(derive.cells.lstm(), "pytorch", arrays())


@pytest.mark.parametrize("form", ["ba2016", "fastrnns", "supercell"])
@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_a_layer_norm_that_no_system_has_is_refused_by_all(form: str, system: str) -> None:
    """Its equations are compared with no kind's, so no system may accept it."""
    cell = derive.cells.lstm(layer_norm=form)
    params = derive.compile(cell, target="numpy").init(I=3, H=4, seed=0)
    with pytest.raises(derive.DeriveError, match="layer normalisation of that form"):
        weights.save(cell, system, params)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lstm:activation=hard_tanh", "the candidate: hard_tanh here, tanh there"),
        ("lstm:recurrent_activation=hard_sigmoid", "gates: hard_sigmoid here, sigmoid there"),
        ("lstm:cell_clip=3", "the clip of c: 3 here, none there"),
        ("gru:recurrent_activation=hard_sigmoid", "gates: hard_sigmoid here"),
        ("rnn:activation=softsign", "the candidate: softsign here, relu or tanh there"),
    ],
)
def test_functions_that_a_system_has_no_choice_of_are_looked_at(spec: str, said: str) -> None:
    cell = derive.cells.from_spec(spec)
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[spec.split(":")[0]]
    arrays = {
        f"{name}_l0": np.zeros((gates * 4, *more), np.float32)
        for name, more in (
            ("weight_ih", (3,)),
            ("weight_hh", (4,)),
            ("bias_ih", ()),
            ("bias_hh", ()),
        )
    }
    with pytest.raises(ArgumentError, match=said):
        derive.weights.load(cell, "pytorch", arrays)


RELU = {"the candidate": ("g = tanh(", "g = relu("), "the output": ("tanh(c')", "relu(c')")}


@pytest.mark.parametrize("system", ["keras", "tensorflow", "flax"])
@pytest.mark.parametrize("place", RELU)
def test_one_activation_of_two_is_refused_where_a_system_has_one_for_both(
    place: str, system: str
) -> None:
    params = weights.load(derive.Cell.parse(LSTM), "pytorch", arrays())
    mine = derive.Cell.parse(LSTM.replace(*RELU[place]))
    with pytest.raises(ArgumentError, match="one function for the candidate and the output"):
        weights.save(mine, system, params)
    both = LSTM.replace(*RELU["the candidate"]).replace(*RELU["the output"])
    assert weights.save(derive.Cell.parse(both), system, params)


def test_gates_of_tensorflow_are_sigmoids() -> None:
    params = weights.load(derive.Cell.parse(LSTM), "pytorch", arrays())
    mine = derive.Cell.parse(LSTM.replace("sigmoid", "hard_sigmoid"))
    with pytest.raises(ArgumentError, match="gates of TensorFlow are sigmoid, and those of mine"):
        weights.save(mine, "tensorflow", params)
    assert weights.save(mine, "keras", params)
