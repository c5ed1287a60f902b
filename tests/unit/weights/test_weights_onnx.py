"""ONNX nodes as layers: against ONNX Runtime with every attribute, and the reference evaluator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import derive
from derive import cells, weights
from derive.layers.sequence import using

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

T, B, I, H = 4, 3, 3, 4  # noqa: E741
RANDOM = np.random.default_rng(11)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
#: alpha and beta that are nobody's defaults
NUMBERS = {
    "Affine": (0.7, 0.1), "ScaledTanh": (1.2, 0.8), "HardSigmoid": (0.3, 0.4),
    "LeakyRelu": (0.2,), "ThresholdedRelu": (0.3,), "Elu": (0.6,),
}  # fmt: skip


@pytest.fixture(autouse=True)
def numpy_kernels():
    with using("numpy"):
        yield


def rand(*shape):
    return (RANDOM.normal(size=shape) * 0.6).astype(np.float32)


def make(operator, directions=1, *, given=(), name="recurrent", x=None, **attributes):
    """A model with one node; `given` are the optional inputs that the file holds."""
    gates = GATES[operator]
    rows = (B, directions) if attributes.get("layout") else (directions, B)
    held = {"W": rand(directions, gates * H, I), "R": rand(directions, gates * H, H)}
    optional = {
        "B": rand(directions, 2 * gates * H),
        "sequence_lens": np.array([3, 0, T], np.int32),
        "initial_h": rand(*rows, H),
        "initial_c": rand(*rows, H),
        "P": rand(directions, 3 * H),
    }
    held |= {key: optional[key] for key in given}
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    order += ["initial_c", "P"] if operator == "LSTM" else []
    inputs = [key if key in held or key == "X" else "" for key in order]
    while not inputs[-1]:
        inputs.pop()
    outputs = ["Y", "Y_h"] + (["Y_c"] if operator == "LSTM" else [])
    node = helper.make_node(operator, inputs, outputs, name=name, hidden_size=H, **attributes)
    shape = x if x is not None else ([B, T, I] if attributes.get("layout") else [T, B, I])
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in outputs],
        [numpy_helper.from_array(value, key) for key, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def compare_with_runtime(model):
    runtime = pytest.importorskip("onnxruntime")
    X = rand(T, B, I)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, {"X": X})
    run = weights.from_onnx(model).run(X.astype(np.float64))
    for array, other in zip((run.Y, run.Y_h, run.Y_c), wanted, strict=False):
        np.testing.assert_allclose(array, other, rtol=3e-6, atol=2e-6)


def attributes_for(names, directions):
    found = {"activations": list(names) * directions}
    for k, key in enumerate(("activation_alpha", "activation_beta")):
        values = [NUMBERS[n][k] for n in names if len(NUMBERS.get(n, ())) > k]
        if values:
            found[key] = values * directions
    return found


DIRECTIONS = ("forward", "reverse", "bidirectional")


@pytest.mark.parametrize("clip", [{}, {"clip": 0.5}], ids=["", "clip"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "names",
    [("Sigmoid", "Tanh", "Tanh"), ("HardSigmoid", "Softsign", "Elu"),
     ("Sigmoid", "ThresholdedRelu", "ScaledTanh"), ("Sigmoid", "Affine", "LeakyRelu")],
    ids="-".join,
)  # fmt: skip
def test_lstm_is_that_of_onnx_runtime(names, direction, clip):
    count = 1 + (direction == "bidirectional")
    for coupled, given in itertools.product(
        (0, 1), ((), ("B", "P"), ("B", "sequence_lens", "initial_h", "initial_c"))
    ):
        compare_with_runtime(
            make("LSTM", count, given=given, direction=direction, input_forget=coupled,
                 **clip, **attributes_for(names, count))
        )  # fmt: skip


@pytest.mark.parametrize("clip", [{}, {"clip": 0.5}], ids=["", "clip"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "names", [("Sigmoid", "Tanh"), ("HardSigmoid", "ScaledTanh"), ("Sigmoid", "Relu")],
    ids="-".join,
)  # fmt: skip
def test_gru_is_that_of_onnx_runtime(names, direction, clip):
    count = 1 + (direction == "bidirectional")
    for after, given in itertools.product((0, 1), ((), ("B", "sequence_lens", "initial_h"))):
        compare_with_runtime(
            make("GRU", count, given=given, direction=direction, linear_before_reset=after,
                 **clip, **attributes_for(names, count))
        )  # fmt: skip


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["Tanh", "Relu", "Sigmoid", "Affine", "Elu", "Softplus"])
def test_rnn_is_that_of_onnx_runtime(name, direction):
    count = 1 + (direction == "bidirectional")
    for clip in ({}, {"clip": 0.5}):
        compare_with_runtime(
            make("RNN", count, given=("B", "sequence_lens"), direction=direction,
                 **clip, **attributes_for([name], count))
        )  # fmt: skip


def test_activations_have_the_defaults_of_onnx_runtime():
    for name in ("HardSigmoid", "LeakyRelu", "Elu", "ThresholdedRelu"):
        compare_with_runtime(make("RNN", given=("B",), activations=[name]))


def test_directions_may_have_different_activations():
    model = make("GRU", 2, given=("B",), direction="bidirectional",
                 activations=["Sigmoid", "Tanh", "HardSigmoid", "Elu"],
                 activation_alpha=[0.3, 0.6], activation_beta=[0.4])  # fmt: skip
    compare_with_runtime(model)
    first, second = weights.from_onnx(model).cells
    assert first == cells.gru(reset="before")
    assert float(second.consts["alpha_g"]) == 0.6


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("operator", ["GRU", "LSTM"])
def test_batch_first_layout_is_that_of_the_reference_evaluator(operator, direction):
    """ONNX Runtime has no layout=1; the reference evaluator has no lengths and activations."""
    from onnx.reference import ReferenceEvaluator

    count = 1 + (direction == "bidirectional")
    given = ("B", "initial_h") + (("initial_c",) if operator == "LSTM" else ())
    model = make(operator, count, given=given, direction=direction, layout=1)
    X = rand(B, T, I)
    run = weights.from_onnx(model).run(X)
    swapped = make(operator, count, given=given, direction=direction)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name.startswith("initial"):
            value = np.ascontiguousarray(np.swapaxes(value, 0, 1))
        other = next(i for i in swapped.graph.initializer if i.name == tensor.name)
        other.CopyFrom(numpy_helper.from_array(value, tensor.name))
    wanted = ReferenceEvaluator(swapped).run(None, {"X": np.swapaxes(X, 0, 1)})
    np.testing.assert_allclose(run.Y, np.moveaxis(wanted[0], 2, 0), rtol=0, atol=2e-6)
    np.testing.assert_allclose(run.Y_h, np.swapaxes(wanted[1], 0, 1), rtol=0, atol=2e-6)
    if operator == "LSTM":
        np.testing.assert_allclose(run.Y_c, np.swapaxes(wanted[2], 0, 1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("layout", [0, 1])
def test_gradients_are_slopes(layout):
    model = make("LSTM", 2, given=("B", "P", "initial_h", "initial_c"), layout=layout,
                 direction="bidirectional", clip=2.0)  # fmt: skip
    layer = weights.from_onnx(model)
    swap = (lambda v: np.swapaxes(v, 0, 1)) if layout else (lambda v: v)
    X = swap(RANDOM.normal(size=(T, B, I)))
    h, c = (swap(RANDOM.normal(size=(2, B, H))) for _ in range(2))
    lengths = [3, 0, T]
    run = layer.run(X, lengths, h, c)
    d = [RANDOM.normal(size=v.shape) for v in (run.Y, run.Y_h, run.Y_c)]
    grads = run.backward(*d)

    def loss(X, h, c):
        run = layer.run(X, lengths, h, c)
        return sum((a * b).sum() for a, b in zip(d, (run.Y, run.Y_h, run.Y_c), strict=True))

    at = [X, h, c]
    for k, found in enumerate((grads.X, grads.initial_h, grads.initial_c)):
        assert found.shape == at[k].shape
        way = RANDOM.normal(size=at[k].shape)
        ends = [
            loss(*(v + (step * way if k == n else 0) for n, v in enumerate(at)))
            for step in (1e-6, -1e-6)
        ]
        assert abs((ends[0] - ends[1]) / 2e-6 - (found * way).sum()) < 1e-7
    assert set(grads.params[1]) == set(layer.params[1])


def test_what_the_file_holds_gives_way_to_what_is_given():
    layer = weights.from_onnx(make("GRU", given=("sequence_lens", "initial_h")))
    X = rand(T, B, I)
    kept = layer.run(X)
    assert not kept.Y[:, 0, 1].any()  # length 0
    given = layer.run(X, sequence_lens=[T, T, T], initial_h=np.zeros((1, B, H)))
    assert given.Y[:, 0, 1].all()
    assert given.Y.dtype == np.float32
    np.testing.assert_array_equal(given.Y[-1], given.Y_h)


def test_float16_is_computed_in_float32():
    layer = weights.from_onnx(make("RNN"))
    X = rand(T, B, I).astype(np.float16)
    assert layer.run(X).Y.dtype == np.float16
    np.testing.assert_allclose(layer.run(X).Y, layer.run(X.astype(float)).Y, atol=2e-3)


def test_cells_come_from_the_catalogue_where_it_has_them():
    made = {
        cells.rnn(activation="relu"): make("RNN", activations=["Relu"]),
        cells.gru(reset="after"): make("GRU", linear_before_reset=1),
        cells.gru(reset="before"): make("GRU"),
        cells.lstm(peephole=True): make("LSTM", given=("P",)),
        cells.cifg(gate="input"): make("LSTM", input_forget=1),
    }
    for cell, model in made.items():
        assert weights.from_onnx(model).cells == (cell,)


def test_load_takes_a_file(tmp_path):
    model = make("GRU", 2, given=("B",), direction="bidirectional", linear_before_reset=1)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    layer = weights.from_onnx(path)
    for source in (path, str(path), model, path.read_bytes()):
        for direction, wanted in zip(("forward", "reverse"), layer.params, strict=True):
            found = weights.load(cells.gru(), "onnx", source, direction=direction)
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    with pytest.raises(derive.DeriveError, match="linear_before_reset is 1"):
        weights.load(cells.gru(reset="before"), "onnx", path)


def test_weights_may_be_constants_of_nodes():
    model = make("RNN")
    constants = [
        helper.make_node("Constant", [], [f"{tensor.name}_raw"], value=tensor)
        for tensor in model.graph.initializer
    ]
    renamed = [helper.make_node("Identity", [f"{t.name}_raw"], [t.name])
               for t in model.graph.initializer]  # fmt: skip
    nodes = [*constants, *renamed, *model.graph.node]
    wanted = weights.from_onnx(model).params[0]
    del model.graph.initializer[:]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    found = weights.from_onnx(model).params[0]
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def two_nodes():
    model = make("RNN", name="first")
    other = make("RNN", name="second").graph.node[0]
    other.output[:] = ["Z", "Z_h"]
    model.graph.node.append(other)
    return model


def computed_weights():
    model = make("RNN")
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "W"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def other_hidden_size():
    model = make("RNN")
    next(a for a in model.graph.node[0].attribute if a.name == "hidden_size").i = 9
    return model


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (two_nodes, "2 RNN, GRU and LSTM nodes\n  they are: first, second\n  hint: node='first'"),
        (computed_weights, "W of the RNN node 'recurrent' is not in the file"),
        (other_hidden_size, "hidden_size of the RNN node 'recurrent' is 9, and R has 4 columns"),
        (lambda: make("RNN", direction="bidirectional"), "has 1 directions"),
        (lambda: make("RNN", direction="up"), "direction of the RNN node 'recurrent' cannot be"),
        (lambda: make("RNN", activations=["Cosine"]), "'Cosine' of recurrent is no activation"),
        (lambda: make("RNN", activations=["Affine"]), "does not say the alpha of Affine"),
        (lambda: make("LSTM", activations=["Tanh"]), "has 1 activations\n  LSTM has 3"),
        (lambda: "no/such.onnx", "no/such.onnx cannot be read: No such file"),
        (lambda: 3, "a model is a path, bytes or an onnx.ModelProto, not int"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_wrong_with_a_file_is_said(model, text):
    with pytest.raises(derive.DeriveError) as error:
        weights.from_onnx(model())
    assert text in str(error.value)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("not a model")
    with pytest.raises(derive.DeriveError, match="is no ONNX file"):
        weights.from_onnx(path)


def without_outputs():
    model = make("LSTM", name="")
    del model.graph.node[0].output[:]
    return model


def tensor_of_no_type():
    model = make("LSTM")
    model.graph.initializer[0].data_type = 0
    return model


def tensor_of_few_bytes():
    model = make("LSTM")
    model.graph.initializer[0].raw_data = b"123"
    return model


def attribute_of_another_type():
    model = make("LSTM")
    model.graph.node[0].attribute.append(helper.make_attribute("clip", "wide"))
    return model


def direction_of_no_text():
    model = make("LSTM")
    model.graph.node[0].attribute.append(helper.make_attribute("direction", b"\xff\xfe"))
    return model


def empty_nodes_around():
    model = make("LSTM")
    model.graph.node.extend([helper.make_node(kind, [], []) for kind in ("Constant", "Identity")])
    model.graph.node[0].op_type = "RNN"
    return model


@pytest.mark.parametrize(
    "damaged",
    [tensor_of_no_type, tensor_of_few_bytes, attribute_of_another_type,
     direction_of_no_text, empty_nodes_around],
)  # fmt: skip
def test_a_damaged_model_is_refused_as_a_file_as_bytes_and_as_a_model(damaged, tmp_path):
    model = damaged()
    data = model.SerializeToString()
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data)
    for given in (path, data, model):
        with pytest.raises(derive.DeriveError):
            weights.from_onnx(given)


def test_a_node_without_name_and_outputs_is_read():
    model = without_outputs()
    data = model.SerializeToString()
    assert weights.from_onnx(data).cells[0].states.keys() == {"h", "c"}
    with pytest.raises(derive.DeriveError, match="no recurrent node 'lstm'"):
        weights.from_onnx(data, node="lstm")


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(derive.DeriveError, match="3 bytes is no ONNX file"):
        weights.from_onnx(b"\x08\xff\xff")


def test_a_node_is_chosen_by_its_name_or_output():
    model = two_nodes()
    assert weights.from_onnx(model, "second").node.name == "second"
    assert weights.from_onnx(model, "Z_h").node.name == "second"
    with pytest.raises(derive.DeriveError, match="did you mean 'second'"):
        weights.from_onnx(model, "secnd")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"X": np.zeros((T, B))}, "X has 3 axes"),
        ({"X": np.zeros((T, B, I), complex)}, "X must hold real numbers"),
        ({"initial_h": np.zeros((B, 1, H))}, "initial_h has the wrong shape"),
        ({"initial_c": np.zeros((1, B, H))}, "RNN has no initial_c"),
        ({"sequence_lens": [1, 2]}, "lengths has the wrong shape"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_wrong_arguments_of_run_are_refused(arguments, text):
    layer = weights.from_onnx(make("RNN"))
    with pytest.raises(derive.DeriveError) as error:
        layer.run(**{"X": np.zeros((T, B, I)), **arguments})
    assert text in str(error.value)
