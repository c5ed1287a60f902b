"""Stacks of layers and directions in one call, for every system."""

import numpy as np
import pytest

import derive
from derive import cells, layers, weights

I, H, B, T = 3, 4, 2, 5  # noqa: E741
RANDOM = np.random.default_rng(9)
LSTM = cells.lstm()


def rand(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def keras(width):
    return {
        "kernel": rand(width, 4 * H),
        "recurrent_kernel": rand(H, 4 * H),
        "bias": rand(4 * H),
    }


def below(scope, arrays):
    return {f"{scope}{name}": array for name, array in arrays.items()}


def check(found, wanted):
    """wanted: {end of the names: the parameters of that layer}."""
    assert set(found) == {name + end for end, own in wanted.items() for name in own}
    for end, own in wanted.items():
        assert all(np.array_equal(found[name + end], array) for name, array in own.items())
    rnn = layers.RNN(LSTM, 2, len(wanted) == 4, I=I, H=H, target="numpy")
    rnn.set_params(found)


def test_layers_of_pytorch_and_a_module_are_the_same():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(I, H, 2, bidirectional=True)
    state = below("enc.", module.state_dict())
    found = weights.load_layers(LSTM, "pytorch", state)
    wanted = weights.load(LSTM, "pytorch", module)
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    both = {**state, **below("dec.", module.state_dict())}
    with pytest.raises(derive.DeriveError, match="there are several stacks"):
        weights.load_layers(LSTM, "pytorch", both)
    assert len(weights.load_layers(LSTM, "pytorch", both, prefix="dec.")) == len(wanted)


def test_layers_of_keras_are_sorted_as_a_person_counts():
    one, two = keras(I), keras(H)
    arrays = below("layers/lstm_10/cell/", two) | below("layers/lstm_9/cell/", one)
    wanted = {"_l0": weights.load(LSTM, "keras", one), "_l1": weights.load(LSTM, "keras", two)}
    check(weights.load_layers(LSTM, "keras", arrays), wanted)
    with pytest.raises(derive.DeriveError, match="layer 1 reads width 3, the one below puts out 4"):
        weights.load_layers(
            LSTM, "keras", arrays, prefix=["layers/lstm_10/cell/", "layers/lstm_9/cell/"]
        )


def test_directions_are_told_by_their_words():
    own = [keras(I), keras(I), keras(2 * H), keras(2 * H)]
    ends = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    wanted = {e: weights.load(LSTM, "keras", a) for e, a in zip(ends, own, strict=True)}
    for scopes in (
        ("bidirectional/forward_layer/", "bidirectional/backward_layer/",
         "bidirectional_1/forward_layer/", "bidirectional_1/backward_layer/"),
        ("enc/fw_lstm/", "enc/bw_lstm/", "enc/fw_lstm_1/", "enc/bw_lstm_1/"),
        ("b/forward_lstm/lstm_cell_1/", "b/backward_lstm/lstm_cell_2/",
         "b_1/forward_lstm_1/lstm_cell_4/", "b_1/backward_lstm_1/lstm_cell_5/"),
    ):  # fmt: skip
        arrays = {k: v for s, a in zip(scopes, own, strict=True) for k, v in below(s, a).items()}
        check(weights.load_layers(LSTM, "keras", arrays), wanted)
    listed = [scopes[:2], scopes[2:]]
    check(weights.load_layers(LSTM, "keras", arrays, prefix=listed), wanted)


def test_layers_of_tensorflow_and_flax():
    cell = cells.lstm(forget_bias=1.0)
    own = [{"kernel": rand(w + H, 4 * H), "bias": rand(4 * H)} for w in (I, H)]
    arrays = {}
    for k, each in enumerate(own):
        arrays |= below(f"rnn/multi_rnn_cell/cell_{k}/lstm_cell/", each)
    found = weights.load_layers(cell, "tensorflow", arrays)
    one = weights.load(cell, "tensorflow", own[1])
    assert all(np.array_equal(found[f"{name}_l1"], array) for name, array in one.items())
    params = {name: rand(*[{"I": I, "H": H}[d] for d in shape])
              for name, shape in LSTM.params.items()}  # fmt: skip
    tree = {"lstm_0": weights.save(LSTM, "flax", params, nested=True)}
    check_one = weights.load_layers(LSTM, "flax", tree)
    assert all(np.array_equal(check_one[f"{name}_l0"], array) for name, array in params.items())


def test_layers_of_an_onnx_model_are_its_nodes():
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    nodes, tensors = [], []
    for k, width in enumerate((I, 2 * H)):
        own = {"W": rand(2, 4 * H, width), "R": rand(2, 4 * H, H), "B": rand(2, 8 * H)}
        tensors += [numpy_helper.from_array(a, f"{name}{k}") for name, a in own.items()]
        nodes.append(
            helper.make_node("LSTM", ["X", f"W{k}", f"R{k}", f"B{k}"], [f"Y{k}"],
                             name=f"layer_{k}", direction="bidirectional", hidden_size=H)
        )  # fmt: skip
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    model = onnx.helper.make_model(graph)
    wanted = {}
    for k in range(2):
        layer = weights.from_onnx(model, f"layer_{k}")
        wanted |= {f"_l{k}": layer.params[0], f"_l{k}_reverse": layer.params[1]}
    check(weights.load_layers(LSTM, "onnx", model), wanted)
    assert len(weights.load_layers(LSTM, "onnx", model, node="layer_0")) == 24
    arrays = {name: numpy_helper.to_array(t) for name, t in zip("WRB", tensors, strict=False)}
    assert len(weights.load_layers(LSTM, "onnx", arrays)) == 24


@pytest.mark.parametrize(
    ("arrays", "options", "text"),
    [
        (below("lstm/", keras(I)) | below("gru/", keras(H)), {}, "order of the layers cannot be"),
        (below("a/fw/", keras(I)) | below("a/bw/", keras(I)) | below("b/", keras(2 * H)),
         {}, "order of the layers cannot be"),
        (below("a_1/fw/", keras(I)) | below("a_1/bw/", keras(I)) | below("a_2/fw/", keras(2 * H)),
         {}, "order of the layers cannot be"),
        (below("a/", keras(I)) | below("b/", keras(2 * H)), {"prefix": [("a/", "a/"), "b/"]},
         "some layers have one direction and some have two"),
        (below("a/bw/", keras(I)), {}, "order of the layers cannot be"),
        (below("fw/a/", keras(I)) | below("forward/a/", keras(I)), {}, "are the same layer by"),
        ({"x": rand(2)}, {}, "no recurrent layers of Keras were found\n  given: x"),
        (keras(I), {"prefix": 3}, "prefix is a text or a list"),
        (keras(I), {"prefix": [("a", "b", "c")]}, "the place of a layer is a text or a pair"),
        (keras(I), {"prefix": [1]}, "the place of a layer is a text or a pair"),
    ],
)  # fmt: skip
def test_stacks_that_cannot_be_told_are_refused(arrays, options, text):
    with pytest.raises(derive.DeriveError) as error:
        weights.load_layers(LSTM, "keras", arrays, **options)
    assert text in str(error.value)


def test_options_that_onnx_has_no_use_for_are_refused():
    arrays = {"W": rand(1, 4 * H, I), "R": rand(1, 4 * H, H)}
    with pytest.raises(derive.DeriveError, match="has nodes, and a prefix was given"):
        weights.load_layers(LSTM, "onnx", arrays, prefix="lstm/")
    with pytest.raises(derive.DeriveError, match="node names a layer of an ONNX model, and arrays"):
        weights.load_layers(LSTM, "onnx", arrays, node="LSTM_0")


def test_options_of_one_layer_are_refused():
    with pytest.raises(derive.DeriveError, match="all layers are loaded, and layer was given"):
        weights.load_layers(LSTM, "pytorch", {}, layer=1)


def test_a_gradient_that_does_not_follow_is_refused_with_the_reason():
    cell = cells.gru(reset="after", biases=1)
    grads = {name: rand(*[{"I": I, "H": H}[d] for d in shape])
             for name, shape in cell.params.items()}  # fmt: skip
    with pytest.raises(derive.DeriveError) as error:
        weights.save_gradients(cell, "pytorch", grads)
    assert "the gradient of bias_hh_l0 does not follow from those of gru_biases_1" in str(
        error.value
    )
    assert "biases=2" in str(error.value)
