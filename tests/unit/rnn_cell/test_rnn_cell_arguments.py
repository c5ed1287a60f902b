"""What rnn_cell and layers take, and what they refuse: activations, shared cells, dtypes, names."""

import pickle

import numpy as np
import pytest
import sympy

import derive
from derive import cells, layers, rnn_cell

I, H, B, T = 4, 3, 2, 5  # noqa: E741
RANDOM = np.random.default_rng(6)
X = RANDOM.normal(size=(B, T, I))


@pytest.fixture(autouse=True)
def _in_numpy():
    """What is checked here is the same for all targets."""
    with rnn_cell.using("numpy"):
        yield


def tanh(v):
    """A function whose name says nothing about it."""
    return 2 * v


def step_of(activation):
    """h' of a BasicRNNCell whose pre-activation is x."""
    cell = rnn_cell.BasicRNNCell(H, activation=activation)
    cell.set_variables(kernel=np.concatenate([np.eye(H), np.zeros((H, H))]), bias=np.zeros(H))
    x = np.array([[-2.5, -0.3, 0.7], [0.1, 7.5, -40.0]])
    return cell(x, np.zeros((2, H)))[0], x


@pytest.mark.parametrize(
    ("given", "of"),
    [
        (tanh, lambda x: 2 * x),
        (np.tanh, np.tanh),
        (sympy.tanh, np.tanh),
        (derive.functions.softplus, lambda x: np.logaddexp(0, x)),
        (lambda v: derive.functions.tanh(2 * v) + 1, lambda x: np.tanh(2 * x) + 1),
        ("where(v < 0, 0.2 * v, v)", lambda x: np.where(x < 0, 0.2 * x, x)),
        ("clip(v, 0, 6)", lambda x: np.clip(x, 0, 6)),
        (lambda v: np.where(v < 0, 0.01 * v, v), lambda x: np.where(x < 0, 0.01 * x, x)),
        (lambda v: v, lambda x: x),
    ],
)
def test_an_activation_is_what_it_computes(given, of):
    found, x = step_of(given)
    np.testing.assert_allclose(found, of(x), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["hardsigmoid", "leaky_relu", "gelu", "silu", "softsign"])
def test_an_activation_of_torch_is_found_by_its_values(name):
    torch = pytest.importorskip("torch")
    function = getattr(torch.nn.functional, name)
    found, x = step_of(function)
    np.testing.assert_allclose(found, function(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda v: np.where(v < 0, 0.2 * v, v), "<lambda> is no activation that is known"),
        (lambda v: np.minimum(np.maximum(v, 0), 20), "<lambda> is no activation that is known"),
        (lambda v: 0.2 * v if v.mean() > 0 else v, "<lambda> is no activation that is known"),
        (lambda v: v.reshape(-1, 1), "<lambda> is no activation that is known"),
        (lambda v: v * sympy.Symbol("q"), "<lambda> is no activation\n  it is an expression of v"),
        (lambda v: sympy.gamma(v), "<lambda> is no activation\n  it computes gamma(v)"),
        ("tanh(w)", "'tanh(w)' is no activation\n  it is an expression of v, and of nothing else"),
        ("tanh(2)", "'tanh(2)' is no activation\n  it is an expression of v, and of nothing else"),
        ("tanh(v", "'tanh(v' is no activation"),
        (3, "3 is no activation\n  hint: activation="),
    ],
)
def test_an_activation_that_is_not_known_is_refused(given, text):
    with pytest.raises(derive.DeriveError) as error:
        rnn_cell.GRUCell(H, activation=given)
    assert text in str(error.value)


def test_every_place_of_the_activation_gets_the_expression():
    own = rnn_cell.LSTMCell(H, use_peepholes=True, activation="tanh(v)")
    usual = rnn_cell.LSTMCell(H, use_peepholes=True)
    for cell in (own, usual):
        cell.build(I, seed=1)
    own.set_variables(usual.variables)
    found, wanted = (rnn_cell.dynamic_rnn(cell, X, return_pullback=True) for cell in (own, usual))
    np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=1e-14)
    d = RANDOM.normal(size=found[0].shape)
    for name, array in wanted[2](d).variables.items():
        np.testing.assert_allclose(found[2](d).variables[name], array, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: rnn_cell.CoupledInputForgetGateLSTMCell(H, activation=a, layer_norm=True),
        lambda a: rnn_cell.LayerNormBasicLSTMCell(H, activation=a),
        lambda a: rnn_cell.IntersectionRNNCell(H, y_activation=a),
        lambda a: rnn_cell.UGRNNCell(H, activation=a),
        lambda a: rnn_cell.SRUCell(H, activation=a),
        lambda a: rnn_cell.IndRNNCell(H, activation=a),
        lambda a: rnn_cell.MinimalRNNCell(H, activation=a),
        lambda a: rnn_cell.CFNCell(H, activation=a),
    ],
)
def test_every_class_takes_an_expression(make):
    own = make("tanh(3 * v)").wiring.cell
    assert "3 * pre_1" in own.to_text() and "erf" not in own.to_text()
    assert set(own.params) == set(make("tanh").wiring.cell.params)


# --- variables --------------------------------------------------------------------------------


def test_one_cell_cannot_be_two_layers():
    cell = rnn_cell.GRUCell(H)
    other = rnn_cell.DropoutWrapper(cell, 0.5)
    stack = rnn_cell.MultiRNNCell([rnn_cell.GRUCell(H)])
    for shared in ([cell, cell], [cell, other], [stack, rnn_cell.GRUCell(H), stack]):
        with pytest.raises(derive.DeriveError, match="are the same GRUCell"):
            rnn_cell.MultiRNNCell(shared)


def test_variables_and_parameters_can_be_assigned():
    cell = rnn_cell.GRUCell(H)
    cell.build(I)
    stack = rnn_cell.MultiRNNCell([cell, rnn_cell.GRUCell(H)])
    stack.build(I)
    rnn = layers.RNN(cells.gru(), 2, I=I, H=H, dtype="float64")
    for held, name in (
        (lambda: cell.variables, "gates/bias"),
        (lambda: stack.variables, "cell_1/gates/bias"),
        (lambda: rnn.params, "b_r_l1"),
    ):
        new = np.full_like(held()[name], 7)
        arrays = held()
        arrays[name] = new
        assert np.array_equal(held()[name], new) and held()[name] is not new
        arrays[name] -= 1
        assert (held()[name] == 6).all() and (new == 7).all()
        arrays.update({name: new})
        arrays |= {name: 2 * new}
        assert (held()[name] == 14).all()
        with pytest.raises(derive.DeriveError):
            held()[name] = np.zeros(99)
        with pytest.raises(derive.DeriveError, match="has no"):
            held()["nothing"] = new
        for change in ("pop", "popitem", "clear", "setdefault", "__delitem__"):
            with pytest.raises(derive.DeriveError, match="can be set, and none taken away"):
                getattr(held(), change)(*([name] if change in ("pop", "__delitem__") else []))
        assert type(pickle.loads(pickle.dumps(held()))) is dict


def test_a_variable_is_given_once():
    cell = rnn_cell.BasicLSTMCell(H)
    cell.build(I)
    kernel = np.zeros((I + H, 4 * H))
    with pytest.raises(derive.DeriveError, match=r"variable kernel .* is given twice"):
        cell.set_variables({"kernel": kernel, "rnn/basic_lstm_cell/kernel:0": kernel})
    with pytest.raises(derive.DeriveError, match=r"variable kernel .* is given twice"):
        cell.set_variables({"rnn/kernel": kernel}, kernel=kernel)
    stack = rnn_cell.MultiRNNCell([cell])
    with pytest.raises(derive.DeriveError, match="is given twice"):
        stack.set_variables({"cell_0/kernel": kernel, "rnn/cell_0/kernel": kernel})


def test_a_variable_with_too_few_rows_is_named():
    with pytest.raises(derive.DeriveError) as error:
        rnn_cell.BasicLSTMCell(H).set_variables(kernel=np.zeros((2, 4 * H)))
    assert "it has 2 rows, and 3 of them belong to the state" in str(error.value)


# --- arguments --------------------------------------------------------------------------------


def test_a_list_of_inputs_computes_in_their_dtype():
    cell = rnn_cell.PhasedLSTMCell(H)
    time = np.cumsum(np.ones((B, T, 1)), axis=1)
    cell.build((1, I), dtype="float64", seed=2)
    (listed, _), (paired, _) = (
        rnn_cell.dynamic_rnn(cell, kind((time, X))) for kind in (list, tuple)
    )
    assert listed.dtype == np.float64
    np.testing.assert_array_equal(listed, paired)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: rnn_cell.dynamic_rnn("lstm", X), "must be an RNNCell, not the text 'lstm'"),
        (lambda: rnn_cell.static_rnn(cells.lstm(), [X[:, 0]]), "must be an RNNCell, not Cell"),
        (lambda: rnn_cell.bidirectional_dynamic_rnn(rnn_cell.GRUCell(H), rnn_cell.GRUCell, X),
         "must be an RNNCell, not type"),
        (lambda: rnn_cell.static_rnn(rnn_cell.GRUCell(H), [np.zeros((2, I)), np.zeros((3, I))]),
         "inputs[0] is [2, 4], inputs[1] is [3, 4]"),
        (lambda: rnn_cell.static_rnn(rnn_cell.PhasedLSTMCell(H), [np.zeros((2, I))]),
         "is a tuple of 2 arrays: time, x"),
        (lambda: rnn_cell.DropoutWrapper(rnn_cell.GRUCell(H), "0.5"),
         "input_keep_prob is a number, not str"),
        (lambda: rnn_cell.GRUCell(H).zero_state(2, None), "float32 or float64, not None"),
        (lambda: layers.RNN(cells.gru(), I=I, H=H, dtype=None), "unknown dtype 'None'"),
        (lambda: layers.RNN(cells.gru(), I=I, H=H, seed=-1), "seed = -1 is negative"),
        (lambda: rnn_cell.GRUCell(H).build(I, seed=-1), "seed = -1 is negative"),
    ],
)  # fmt: skip
def test_arguments_are_refused_in_words(call, text):
    with pytest.raises(derive.DeriveError) as error:
        call()
    assert text in str(error.value)


def test_shape_errors_speak_of_the_axes_that_were_given():
    cell = rnn_cell.GRUCell(H)
    _, _, pullback = rnn_cell.dynamic_rnn(cell, X, return_pullback=True)
    wanted = r"outputs are \[B, T, width\] = \[2, 5, 3\], given \[5, 2, 3\]"
    with pytest.raises(derive.DeriveError, match=wanted):
        pullback(np.zeros((T, B, H)))
    pair = (cell, rnn_cell.GRUCell(H))
    _, _, pullback = rnn_cell.bidirectional_dynamic_rnn(*pair, X, return_pullback=True)
    with pytest.raises(derive.DeriveError, match=wanted):
        pullback((np.zeros((T, B, H)), None))
    flags = np.zeros((T, B), bool)
    wanted = r"resets is \[B, T\] with T = 5, B = 2, given \[5, 2\]\n.*np.zeros\(\(2, 5\), bool\)"
    with pytest.raises(derive.DeriveError, match=wanted):
        rnn_cell.dynamic_rnn(cell, X, resets=flags)
    rnn = layers.RNN(cells.gru(), I=I, H=H, batch_first=True)
    with pytest.raises(derive.DeriveError, match=wanted):
        rnn.forward(X, resets=flags)
    y, _, pullback = rnn_cell.static_rnn(cell, list(X.swapaxes(0, 1)), return_pullback=True)
    with pytest.raises(derive.DeriveError, match="d_outputs is a list of 5 arrays"):
        pullback(y[:2])


def test_files_of_parameters_are_refused_in_words(tmp_path):
    rnn = layers.RNN(cells.rnn(), I=I, H=H)
    with pytest.raises(derive.DeriveError, match="there is no folder"):
        rnn.save(tmp_path / "none" / "a.npz")
    path = tmp_path / "a.npz"
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(derive.DeriveError, match=r"it is no .npz file"):
        rnn.load(path)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(derive.DeriveError, match="it holds Python objects, which are not read"):
        rnn.load(path)
