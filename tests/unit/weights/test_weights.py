"""load and save: round trips of every table, names and scopes, and everything that is refused."""

from __future__ import annotations

import numpy as np
import pytest

import derive
from derive import cells, weights
from derive.weights.systems import SYSTEMS

I, H, P = 3, 4, 2  # noqa: E741
RANDOM = np.random.default_rng(5)

#: Every kind of cell that some system has.
SPECS = (
    "rnn", "rnn:activation=relu",
    "lstm", "lstm:forget_bias=1", "lstm:peephole=true", "lstm:projection=true",
    "lstm:peephole=true,projection=true,cell_clip=3,proj_clip=2", "lstm:coupled=true",
    "lstm:coupled=true,peephole=true,forget_bias=1", "lstm:layer_norm=tensorflow",
    "cifg", "cifg:gate=input", "cifg:forget_bias=1",
    "gru", "gru:biases=1", "gru:keeps=candidate", "gru_reset_before",
    "gru_reset_before:biases=2", "gru_reset_before:keeps=candidate",
)  # fmt: skip

#: What a system has no arrays for.
LACKING = {
    "keras": ("projection", "layer_norm"),
    "pytorch": ("projection=true,", "peephole", "layer_norm", "reset_before"),
    "onnx": ("projection", "layer_norm"),
    "flax": ("projection", "peephole", "layer_norm", "reset_before"),
    "tensorflow": (),
}


def params_of(cell, dtype=np.float64):
    lengths = {"I": I, "H": H, "P": P}
    return {
        name: RANDOM.normal(size=[lengths[d] for d in shape]).astype(dtype)
        for name, shape in cell.params.items()
    }


def kernel_of(cell):
    return derive.compile(cell, target="numpy", dtype="float64")


def lacks(system, spec):
    return any(word in spec for word in LACKING[system])


def error_of(function, *args, **options):
    with pytest.raises(derive.DeriveError) as error:
        function(*args, **options)
    return str(error.value)


# --- round trips --------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_saved_and_loaded_parameters_are_the_same_function(system, spec):
    cell = cells.from_spec(spec)
    params = params_of(cell)
    if lacks(system, spec):
        assert SYSTEMS[system].title in error_of(weights.save, cell, system, params)
        return
    found = weights.load(cell, system, weights.save(cell, system, params))
    assert list(found) == list(cell.params)
    x = RANDOM.normal(size=(3, 2, I))
    kernel = kernel_of(cell)
    wanted = kernel.forward(params, x).output
    np.testing.assert_allclose(kernel.forward(found, x).output, wanted, rtol=0, atol=1e-14)


#: Arrays that come back bit for bit, because the cell has a place for each number.
EXACT = [
    ("tensorflow", "lstm:forget_bias=1", {}),
    ("tensorflow", "lstm:forget_bias=1,peephole=true,projection=true", {}),
    ("tensorflow", "lstm:coupled=true,peephole=true", {}),
    ("tensorflow", "lstm:layer_norm=tensorflow", {}),
    ("tensorflow", "gru_reset_before", {}),
    ("tensorflow", "rnn", {}),
    ("keras", "lstm", {}),
    ("keras", "lstm", {"bias": False}),
    ("keras", "lstm:peephole=true", {}),
    ("keras", "gru", {}),
    ("keras", "gru_reset_before", {}),
    ("keras", "gru_reset_before:keeps=candidate", {}),
    ("keras", "rnn", {}),
    ("pytorch", "gru", {"layer": 2, "reverse": True}),
    ("pytorch", "gru", {"layer": None}),
    ("pytorch", "gru:keeps=candidate", {}),
    ("pytorch", "lstm:projection=true", {"bias": False}),
    ("pytorch", "rnn", {"bias": False}),
    ("onnx", "gru", {}),
    ("onnx", "gru_reset_before:biases=2", {}),
    ("onnx", "lstm:peephole=true", {"bias": False}),
    ("flax", "lstm", {}),
    ("flax", "lstm", {"api": "nnx", "nested": True}),
    ("flax", "lstm", {"nested": True}),
    ("flax", "rnn", {}),
]


@pytest.mark.parametrize(("system", "spec", "options"), EXACT, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loaded_and_saved_arrays_are_the_same_bits(system, spec, options, dtype):
    cell = cells.from_spec(spec)
    params = params_of(cell, dtype)
    if options.get("bias") is False:
        params = {n: 0 * a if n.startswith("b") else a for n, a in params.items()}
    arrays = weights.save(cell, system, params, **options)
    back = weights.save(cell, system, weights.load(cell, system, arrays, **options), **options)
    flat, again = leaves(arrays), leaves(back)
    assert list(flat) == list(again)
    for name, array in flat.items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, again[name])


def leaves(tree, at=""):
    found = {}
    for key, value in tree.items():
        found |= leaves(value, f"{at}{key}/") if isinstance(value, dict) else {at + key: value}
    return found


def test_two_biases_come_back_as_their_sum():
    arrays = weights.save(cells.lstm(), "pytorch", params_of(cells.lstm()))
    arrays["bias_hh_l0"] = RANDOM.normal(size=4 * H)
    back = weights.save(cells.lstm(), "pytorch", weights.load(cells.lstm(), "pytorch", arrays))
    np.testing.assert_array_equal(back["bias_ih_l0"], arrays["bias_ih_l0"] + arrays["bias_hh_l0"])
    assert not back["bias_hh_l0"].any()


def test_directions_of_onnx_are_saved_together():
    cell = cells.gru()
    pair = [params_of(cell), params_of(cell)]
    arrays = weights.save(cell, "onnx", pair)
    assert {name: a.shape for name, a in arrays.items()} == {
        "W": (2, 3 * H, I), "R": (2, 3 * H, H), "B": (2, 6 * H)
    }  # fmt: skip
    for direction, params in zip(("forward", "reverse"), pair, strict=True):
        found = weights.load(cell, "onnx", arrays, direction=direction)
        assert all(np.array_equal(found[name], params[name]) for name in params)


def test_the_dead_gate_of_onnx_is_the_mirror_of_the_other():
    """So the arrays are those of the same function for a reader that knows no input_forget."""
    cell = cells.cifg(gate="input")
    arrays = weights.save(cell, "onnx", params_of(cell))
    i, _, f, _ = np.split(arrays["W"][0], 4)
    np.testing.assert_array_equal(f, -i)
    with_relu = cells.cifg(gate="input", recurrent_activation="relu")
    arrays = weights.save(with_relu, "onnx", params_of(with_relu))
    assert not np.split(arrays["W"][0], 4)[2].any()


def test_results_share_no_memory_with_what_was_given():
    cell = cells.rnn()
    params = params_of(cell)
    arrays = weights.save(cell, "pytorch", params)
    found = weights.load(cell, "pytorch", arrays)
    for name in params:
        assert not any(np.shares_memory(params[name], a) for a in arrays.values())
        assert not any(np.shares_memory(found[name], a) for a in arrays.values())


def test_a_cell_by_any_name_and_spelling_will_do():
    text = """
cell mine
state h: 4
param W_z: 4 x 3
a  = W_z @ x + U_z @ h + b_z
r  = sigmoid(W_r @ x + U_r @ h + b_r)
n  = tanh(W_n @ x + b_n + r * (U_n @ h + b_hn))
h' = h + sigmoid(a) * (n - h)
input x: 3
output h'
"""
    mine, theirs = derive.Cell.parse(text), cells.gru()
    params = params_of(theirs)
    arrays = weights.save(theirs, "pytorch", params)
    x = RANDOM.normal(size=(3, 2, I))
    np.testing.assert_allclose(
        kernel_of(mine).forward(weights.load(mine, "pytorch", arrays), x).output,
        kernel_of(theirs).forward(params, x).output,
        atol=1e-14,
    )
    arrays = weights.save(theirs, "pytorch", params_of(cells.gru()), layer=1)
    arrays["weight_ih_l1"] = np.zeros((3 * H, 7))
    text = error_of(weights.load, mine, "pytorch", arrays, layer=1)
    assert "weight_ih is [3H, I], given [12, 7]" in text
    assert "H = 4, I = 3" in text


# --- scopes -------------------------------------------------------------------------------------


def scoped(scope, arrays, end=""):
    return {f"{scope}{name}{end}": array for name, array in arrays.items()}


def test_a_scope_of_tensorflow_is_found():
    cell = cells.gru(reset="before")
    arrays = weights.save(cell, "tensorflow", params_of(cell))
    inside = scoped("rnn/gru_cell/", arrays, ":0")
    inside |= {"dense/kernel:0": np.zeros((2, 2)), "rnn/gru_cell/gates/kernel/Adam:0": np.ones(3)}
    wanted = weights.load(cell, "tensorflow", arrays)
    found = weights.load(cell, "tensorflow", inside)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert weights.save(cell, "tensorflow", wanted, prefix="rnn/").keys() == {
        f"rnn/{name}" for name in arrays
    }


def test_several_scopes_need_a_prefix():
    cell = cells.lstm()
    sides = [weights.save(cell, "keras", params_of(cell)) for _ in range(2)]
    both = scoped("bidirectional/forward_lstm/", sides[0])
    both |= scoped("bidirectional/backward_lstm/", sides[1])
    text = error_of(weights.load, cell, "keras", both)
    assert "hint: prefix='bidirectional/backward_lstm/'" in text
    found = weights.load(cell, "keras", both, prefix="bidirectional/forward_lstm/")
    wanted = weights.load(cell, "keras", sides[0])
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


# --- refusals -----------------------------------------------------------------------------------


def test_the_candidate_of_a_reset_after_gru_needs_two_biases():
    gru = cells.gru()
    params = params_of(gru)
    arrays = weights.save(gru, "pytorch", params)
    one = cells.gru(biases=1)
    text = error_of(weights.load, one, "pytorch", arrays)
    assert text == (
        "the two biases of the candidate cannot become one in gru_biases_1\n"
        "  n = tanh(W_n x + b_n + r * (U_n h + b_hn)): r multiplies b_hn alone, so b_n + b_hn is "
        "another function\n"
        "  b_hn is not zero, and gru_biases_1 has no b_hn\n"
        '  hint: derive.cells.gru(reset="after", biases=2)'
    )
    arrays["bias_hh_l0"][2 * H :] = 0  # that of r and z merge exactly
    found = weights.load(one, "pytorch", arrays)
    np.testing.assert_array_equal(found["b_r"], params["b_r"] + params["b_hr"])
    assert "cannot become one in Flax" in error_of(weights.save, gru, "flax", params, api="nnx")


@pytest.mark.parametrize(
    ("cell", "system", "source", "hint"),
    [
        (cells.lstm(), "pytorch", cells.gru(), 'gru(reset="after", biases=2)'),
        (cells.gru(), "pytorch", cells.lstm(), "lstm()"),
        (cells.rnn(), "pytorch", cells.lstm(projection=True), "lstm(projection=True)"),
        (cells.lstm(), "pytorch", cells.lstm(projection=True), "lstm(projection=True)"),
        (cells.lstm(projection=True), "pytorch", cells.lstm(), "lstm()"),
        (cells.lstm(peephole=True), "pytorch", cells.lstm(), "lstm()"),
        (cells.gru(reset="before"), "pytorch", cells.gru(), 'gru(reset="after", biases=2)'),
        (cells.lstm(), "tensorflow", cells.lstm(peephole=True),
         "lstm(forget_bias=1.0, peephole=True)"),
        (cells.lstm(peephole=True), "tensorflow", cells.lstm(projection=True),
         "lstm(forget_bias=1.0, projection=True)"),
        (cells.lstm(), "tensorflow", cells.gru(), 'gru(reset="after", biases=2)'),
        (cells.gru(), "tensorflow", cells.gru(reset="before"), 'gru(reset="before")'),
        (cells.lstm(), "tensorflow", cells.lstm(layer_norm="tensorflow"),
         'lstm(forget_bias=1.0, layer_norm="tensorflow")'),
        (cells.gru(), "keras", cells.gru(reset="before"), 'gru(reset="before")'),
        (cells.gru(reset="before"), "keras", cells.gru(), 'gru(reset="after", biases=2)'),
        (cells.rnn(), "keras", cells.lstm(), "lstm()"),
        (cells.lstm(), "onnx", cells.lstm(peephole=True), "lstm(peephole=True)"),
        (cells.lstm(), "onnx", cells.rnn(), "rnn()"),
        (cells.lstm(), "flax", cells.gru(), 'gru(reset="after", biases=2)'),
    ],
    ids=lambda v: getattr(v, "name", v),
)  # fmt: skip
def test_a_wrong_cell_is_refused_with_one_that_fits(cell, system, source, hint):
    arrays = weights.save(source, system, params_of(source))
    text = error_of(weights.load, cell, system, arrays)
    assert f"hint: derive.cells.{hint}" in text
    fits = eval(f"cells.{hint}", {"cells": cells})
    weights.load(fits, system, arrays)


def test_peepholes_that_are_zero_are_none():
    cell = cells.lstm(peephole=True)
    params = params_of(cell)
    params |= {f"p_{k}": np.zeros(H) for k in "ifo"}
    found = weights.load(cells.lstm(), "onnx", weights.save(cell, "onnx", params))
    assert "p_i" not in found


def test_gates_that_are_not_coupled_fit_no_coupled_cell():
    arrays = weights.save(cells.lstm(), "pytorch", params_of(cells.lstm()))
    text = error_of(weights.load, cells.lstm(coupled=True), "pytorch", arrays)
    assert text.startswith("lstm_coupled has no gate i of its own\n  there i is 1 - f")
    text = error_of(weights.load, cells.cifg(), "onnx", {}, input_forget=0)
    assert "no array" in text


def test_signs_turn_only_gates_with_a_mirror():
    gru = cells.gru(keeps="candidate", recurrent_activation="softplus")
    text = error_of(weights.save, gru, "keras", params_of(gru))
    assert "z keeps the candidate state here and the previous state there" in text
    cifg = cells.cifg(recurrent_activation="relu")
    text = error_of(weights.save, cifg, "keras", params_of(cifg))
    assert "i is 1 - f here, and has parameters there" in text


ARRAYS = {
    "weight_ih_l0": np.zeros((4 * H, I)),
    "weight_hh_l0": np.zeros((4 * H, H)),
    "bias_ih_l0": np.zeros(4 * H),
    "bias_hh_l0": np.zeros(4 * H),
}
W3 = {"W": np.zeros((1, 12, I)), "R": np.zeros((1, 12, H))}
ZERO = {n: np.zeros([{"I": I, "H": H}[d] for d in s]) for n, s in cells.lstm().params.items()}


def less(arrays, *names):
    return {name: array for name, array in arrays.items() if name not in names}


@pytest.mark.parametrize(
    ("system", "arrays", "options", "text"),
    [
        ("torch", ARRAYS, {}, "unknown system 'torch'"),
        ("pytorch", ARRAYS, {"layers": 0}, "PyTorch has no option 'layers'"),
        ("pytorch", ARRAYS, {"layer": -1}, "layer cannot be -1\n  it is 0, 1, ..., or None"),
        ("pytorch", ARRAYS, {"layer": 1}, "no array of PyTorch was found"),
        ("pytorch", ARRAYS, {"layer": 1}, "hint: layer=0"),
        ("pytorch", ARRAYS, {"prefix": "encoder."}, "no array of PyTorch was found"),
        ("pytorch", {}, {}, "given: nothing"),
        ("pytorch", [], {}, "arrays must be a mapping from names to arrays, not list"),
        ("pytorch", less(ARRAYS, "bias_hh_l0"), {}, "the array 'bias_hh' of PyTorch is missing"),
        ("pytorch", less(ARRAYS, "weight_hh_l0"), {}, "'weight_hh' of PyTorch is missing"),
        ("pytorch", ARRAYS | {"bias_hx_l0": 1}, {}, "has no array 'bias_hx_l0'"),
        ("pytorch", ARRAYS | {"bias_hx_l0": 1}, {}, "did you mean 'bias_ih'"),
        ("pytorch", ARRAYS | {"bias_ih_l0": ["a"]}, {}, "must hold real numbers, not text"),
        ("pytorch", ARRAYS | {"bias_ih_l0": [[1], 2]}, {}, "'bias_ih_l0' cannot be read"),
        ("pytorch", ARRAYS | {"bias_ih_l0": np.zeros(3)}, {}, "bias_ih is [4H], given [3]"),
        ("pytorch", ARRAYS | {"bias_ih_l0": np.zeros((3, 1))}, {}, "shapes that do not fit lstm"),
        ("keras", [np.zeros((3, 4))], {}, "1 arrays are no recurrent layer of Keras"),
        ("onnx", {"W": np.zeros((4 * H, I))}, {}, "W of ONNX has a leading axis"),
        ("onnx", W3, {"linear_before_reset": 2}, "linear_before_reset cannot be 2"),
        ("tensorflow", {"kernel": np.zeros((7, 16))}, {}, "'bias' of TensorFlow is missing"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_wrong_arrays_and_options_are_refused(system, arrays, options, text):
    assert text in error_of(weights.load, cells.lstm(), system, arrays, **options)


@pytest.mark.parametrize(
    ("system", "params", "options", "text"),
    [
        ("keras", ZERO | {"b_i": np.ones(H)}, {"bias": False}, "b_i is not zero, and Keras has no"),
        ("keras", less(ZERO, "U_o"), {}, "parameter U_o is missing of lstm"),
        ("keras", ZERO | {"U_p": 1}, {}, "'U_p' is none of lstm's parameters"),
        ("keras", ZERO | {"U_o": np.zeros((H, 9))}, {}, "U_o is [H, P], given [4, 9]"),
        ("keras", ZERO | {"U_o": "text"}, {}, "params must hold real numbers"),
        ("keras", [], {}, "params must be a mapping from names to arrays, not list"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_wrong_parameters_are_refused(system, params, options, text):
    assert text in error_of(weights.save, cells.lstm(), system, params, **options)


@pytest.mark.parametrize("name", ["janet", "ligru", "indrnn", "min_lstm", "mgu", "min_gru"])
def test_cells_that_no_system_has_are_refused(name):
    text = error_of(weights.save, cells.from_spec(name), "keras", {})
    assert "is no LSTM, GRU or simple RNN" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h' = tanh(W @ x + U @ h + b + q)", "no other system has the parameters q of"),
        (
            "z = sigmoid(W_z @ x + U_z @ h + b_z)\nr = sigmoid(W_r @ x + U_r @ h + b_r)\n"
            "h' = z * h + (1 - z) * tanh(W_n @ x + U_n @ h + b_n + 0 * r)",
            "are not those of a GRU",
        ),
        (
            "z = cos(W_z @ x + U_z @ h + b_z)\nr = sigmoid(W_r @ x + U_r @ h + b_r)\n"
            "h' = z * h + (1 - z) * tanh(W_n @ x + U_n @ (r * h) + b_n)",
            "do not tell what its gate z keeps",
        ),
        (
            "state c\nf = sigmoid(W_f @ x + U_f @ h + b_f)\ng = tanh(W_g @ x + U_g @ h + b_g)\n"
            "c' = f * c + g\nh' = sigmoid(W_o @ x + U_o @ h + b_o) * tanh(c')",
            "are not those of an LSTM with coupled gates",
        ),
    ],
    ids=["parameter", "reset", "keeps", "coupled"],
)
def test_equations_that_are_none_of_the_kinds_are_refused(text, message):
    cell = derive.Cell.parse(f"cell mine\ninput x\nstate h\n{text}\noutput h'\n")
    assert message in error_of(weights.save, cell, "keras", {})


def test_a_cell_and_nothing_else_is_a_cell():
    assert "cell must be a Cell, not str" in error_of(weights.load, "lstm", "keras", {})
    text = error_of(weights.load, cells.lstm(coupled=True), "onnx", W3, input_forget=False)
    assert "couples its gates i and f, and input_forget is 0" in text
    text = error_of(weights.load, cells.gru(), "onnx", W3, linear_before_reset=0)
    assert 'hint: derive.cells.gru(reset="before")' in text


# --- the tables ---------------------------------------------------------------------------------


def test_every_parameter_lies_in_one_place_of_a_layout():
    for system in SYSTEMS.values():
        for layout in system.layouts:
            roles = [role for entry in layout.entries for role in entry.roles]
            assert len(roles) == len(set(roles))
            names = [name for entry in layout.entries for name in (entry.name, *entry.aliases)]
            assert len(names) == len(set(names))


def test_every_option_has_values():
    from derive.weights import options

    known = {name for system in SYSTEMS.values() for name in system.options}
    assert known == set(options._VALID) == set(options._VALUES)
