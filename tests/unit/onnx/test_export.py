"""Exported models: checked, equal to the kernel in ONNX Runtime at any T and B, by the cell's
names; operators where a cell is proved to be one; and what is refused."""

import math

import numpy as np
import pytest

import derive
from derive import cells, layers, weights
from derive.cli.main import status
from derive.errors import ArgumentError
from derive.kernel.signature import Sizes, names_in
from derive.symbolic.closed_set import TABLE

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

RANDOM = np.random.default_rng(21)
LENGTHS = {"I": 3, "H": 4}
NAMES = cells.names()


def sizes_of(cell):
    groups = (cell.params, cell.inputs, cell.states)
    dims = [n for g in groups for shape in g.values() for d in shape for n in names_in(d)]
    return {dim: LENGTHS.get(dim, 2) for dim in dims}


def session(model):
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def compare(cell, dtype="float64", lengths=False, reverse=False, states=True, **options):
    """The largest difference from the kernel, relative to 1 or the result, at two (T, B)."""
    sizes = sizes_of(cell)
    known = Sizes(1, 1, sizes)
    kernel = derive.compile(cell, target="numpy", dtype=dtype)
    params = kernel.init({n: v for n, v in sizes.items()})
    for name in cell.checked.fixed:
        params[name] = RANDOM.normal(size=known.shape(cell.params[name]))
    model = derive.onnx.export(
        cell, params=params, dtype=dtype, lengths=lengths, reverse=reverse,
        initial_states=states, **options, **sizes,
    )  # fmt: skip
    run, worst = session(model), 0.0
    for T, B in ((3, 2), (5, 4)):
        x = {}
        for name, shape in cell.inputs.items():
            lead = (B,) if name in cell.checked.once else (T, B)
            x[name] = RANDOM.normal(size=(*lead, *known.shape(shape))).astype(dtype)
        start = {
            name: (0.5 * RANDOM.normal(size=(B, *known.shape(shape)))).astype(dtype)
            for name, shape in cell.states.items()
        }
        start = start if states else {}
        ends = RANDOM.integers(0, T + 1, B) if lengths else None
        feed = {**x, **start} | ({"lengths": ends} if lengths else {})
        found = run.run(None, feed)
        wanted = kernel.forward(params, x, start or None, lengths=ends, reverse=reverse)
        pairs = zip(found, [*wanted.outputs.values(), *wanted.states.values()], strict=True)
        for array, other in pairs:
            assert array.shape == other.shape and array.dtype == other.dtype
            assert np.isfinite(array).all() and np.isfinite(other).all()
            worst = max(worst, np.abs(array - other).max() / max(1, np.abs(other).max()))
    return worst


@pytest.mark.parametrize("name", NAMES[::6])
def test_a_catalogue_cell_is_that_of_the_kernel(name):
    cell = getattr(cells, name)()
    assert compare(cell, "float32") < 1e-5
    assert compare(cell, lengths=True, reverse=True) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_catalogue_cell_is_that_of_the_kernel(name):
    cell = getattr(cells, name)()
    assert compare(cell, "float32") < 1e-5
    for form in ("scan", "function"):
        assert compare(cell, lengths=True, reverse=True, form=form) < 1e-12
        assert compare(cell, states=False, form=form) < 1e-12


OWN = """cell own
input x: I, m: H once
state h: H = h0
param W: 4*H x I, U: H x H
fixed A: H x H
i, f, o, g = split(W @ x, 4)
s = softmax(i + h)
r = m * tanh(f + U @ (h * s)) + 0.1 * cumsum(g)
h' = tanh(r + A @ (max(o) * h) + norm(h) + log1p(exp(h)) + expm1(0.01 * h) + logsumexp(h))
output h', s, h, x
"""
HEADS = """cell heads
input x: I, q: D
state C: N x D x D, n: N x D
param W: N x D x I, R: N x D x D, f: N
k = W @ x + R @ n
C' = sigmoid(f) * C + outer(k, k)
n' = tanh(k) * n + (C' @ q) / (1 + abs(sum(k)))
output n', C'
"""


@pytest.mark.parametrize("text", [OWN, HEADS], ids=["own", "heads"])
def test_arrays_with_axes_parts_and_learned_starts(text):
    cell = derive.Cell.parse(text)
    assert compare(cell, lengths=True) < 1e-12
    assert compare(cell, states=False, reverse=True, form="function") < 1e-12


@pytest.mark.parametrize("opset", [15, 18, 24])
def test_versions_of_the_operators(opset):
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip("this onnx has no such version")
    cell = derive.Cell.parse(
        "cell m\ninput x: H\nstate h: H\nh' = x * softmax(h + U @ x)\noutput h'\n"
    )
    assert compare(cell, opset=opset, lengths=True) < 1e-12


def of_each_function():
    """Every function of one array that `.cell` text has."""
    public = [name for name, record in TABLE.items() if record.public]
    return sorted(name for name in public if len(TABLE[name].partials) == 1)


#: Where a function is defined.
ARGUMENTS = {"log": "0.1 + x * x", "log1p": "x * x", "sqrt": "0.1 + x * x"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_is_loaded_and_computed(dtype):
    lines = [f"y_{name} = {name}({ARGUMENTS.get(name, 'x')})" for name in of_each_function()]
    outputs = ", ".join(f"y_{name}" for name in of_each_function())
    text = "\n".join(
        ["cell all", "input x: H", "state h: H", *lines, "h' = x", f"output {outputs}"]
    )
    assert len(lines) > 25
    assert (
        compare(derive.Cell.parse(text), dtype=dtype) < {"float32": 1e-5, "float64": 1e-13}[dtype]
    )


def test_erf_in_float64_is_that_of_the_standard_library():
    cell = derive.Cell.parse("cell e\ninput x: H\nstate h: H\nh' = h\noutput y\ny = erf(x)\n")
    model = derive.onnx.export(cell, dtype="float64", H=1)
    near = np.nextafter(0.46875, [0, 1])
    x = np.concatenate(
        [np.linspace(-7, 7, 2001), near, -near, [0, -0.0, 5e-324, -1e-310, 1e-8, 1e300, -np.inf]]
    )
    (found, _) = session(model).run(None, {"x": x.reshape(-1, 1, 1), "h": np.zeros((1, 1))})
    wanted = np.array([math.erf(v) for v in x])
    assert np.abs(found.ravel() - wanted).max() < 1e-15
    assert np.allclose(found.ravel(), wanted, rtol=1e-15, atol=0)
    nan = session(model).run(None, {"x": np.full((1, 1, 1), np.nan), "h": np.zeros((1, 1))})[0]
    assert np.isnan(nan).all()


def test_a_clip_after_a_relu_in_float64_is_loaded():
    text = "cell a\ninput x: H\nstate h: H\nh' = clip(relu(x + U @ h), 0.1, 2)\noutput h'\n"
    assert compare(derive.Cell.parse(text)) < 1e-12


OPERATORS = {
    "lstm": (cells.lstm(peephole=True, forget_bias=1.0), "LSTM"),
    "elu": (cells.lstm(recurrent_activation="hard_sigmoid", activation="elu"), "LSTM"),
    "coupled": (cells.cifg(gate="input"), "LSTM"),
    "after": (cells.gru(reset="after", biases=2), "GRU"),
    "candidate": (cells.gru(reset="before", keeps="candidate"), "GRU"),
    "rnn": (cells.rnn(activation="leaky_relu"), "RNN"),
    "linear": (cells.rnn(activation="identity"), "RNN"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_the_same(name):
    cell, operator = OPERATORS[name]
    for options in ({}, {"lengths": True, "reverse": True}, {"states": False, "lengths": True}):
        assert compare(cell, "float32", form="operator", **options) < 1e-6
    model = derive.onnx.export(cell, form="operator", **LENGTHS)
    assert [n.op_type for n in model.graph.node if n.op_type in ("LSTM", "GRU", "RNN")] == [
        operator
    ]


def test_an_operator_is_read_back():
    cell = cells.lstm(peephole=True)
    params = derive.compile(cell, target="numpy").init(**LENGTHS)
    layer = weights.from_onnx(derive.onnx.export(cell, params=params, form="operator"))
    assert layer.cells == (cell,)
    assert all(np.array_equal(layer.params[0][name], params[name]) for name in params)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (cells.janet(), "janet is no LSTM, GRU or simple RNN"),
        (cells.lstm(projection=True), "ONNX has no array for the projection"),
        (cells.lstm(cell_clip=1.0), "no operator clips the cell state"),
        (cells.rnn(activation="gelu"), "no operator has gelu, which rnn_activation_gelu applies"),
        (derive.Cell.parse("cell a\ninput x: I\nstate h: H\nparam b: H\n"
                           "a = W @ x + U @ h + b\nh' = tanh(a)\noutput h', a\n"),
         "an operator puts out h', and a has the outputs h_next, a"),
    ],
    ids=["janet", "projection", "clip", "gelu", "outputs"],
)  # fmt: skip
def test_a_cell_that_is_no_operator_is_refused_with_the_reason(cell, text):
    sizes = {"I": 3, "H": 4} | ({"P": 2} if "P" in str(cell.params) else {})
    with pytest.raises(derive.DeriveError) as error:
        derive.onnx.export(cell, form="operator", **sizes)
    assert text in str(error.value)


@pytest.mark.parametrize("form", ["scan", "operator"])
@pytest.mark.parametrize(("count", "both"), [(2, False), (2, True), (1, True)])
def test_layers_and_directions_are_those_of_layers_rnn(form, count, both, tmp_path):
    cell = cells.gru(reset="after", biases=2)
    rnn = layers.RNN(cell, count, both, target="numpy", seed=3, **LENGTHS)
    path = tmp_path / "rnn.npz"
    rnn.save(path)
    model = derive.onnx.export(
        cell, params=path, num_layers=count, bidirectional=both, lengths=True, form=form
    )
    run = session(model)
    for T, B in ((4, 3), (6, 1)):
        x = RANDOM.normal(size=(T, B, 3)).astype(np.float32)
        h = RANDOM.normal(size=(count * (1 + both), B, 4)).astype(np.float32)
        lengths = RANDOM.integers(0, T + 1, B)
        y, last = run.run(None, {"x": x, "h": h, "lengths": lengths})
        wanted = rnn.forward(x, h, lengths)
        np.testing.assert_allclose(y, wanted.output, rtol=0, atol=2e-6)
        np.testing.assert_allclose(last, wanted.states["h"], rtol=0, atol=2e-6)
    if form == "scan":
        tensors = {tensor.name for tensor in model.graph.initializer}
        assert set(rnn.params) <= tensors


def test_a_model_says_what_it_is(tmp_path):
    cell = cells.janet()
    path = tmp_path / "janet.onnx"
    model = derive.onnx.export(cell, path, **LENGTHS)
    assert path.read_bytes() == model.SerializeToString()
    assert [each.name for each in tmp_path.iterdir()] == ["janet.onnx"]
    assert derive.Cell.parse(model.doc_string) == cell
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props["derive.digest"] == layers.checkpoint.digest(cell)
    assert set(cell.params) <= {tensor.name for tensor in model.graph.initializer}
    assert [value.name for value in model.graph.input] == ["x", "h"]
    assert [value.name for value in model.graph.output] == ["h_next", "h_last"]
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    docs = [node.doc_string for node in scan.attribute[0].g.node]
    assert any(doc.startswith("g = tanh(") for doc in docs)


def test_a_function_is_one_node():
    cell = cells.gru()
    model = derive.onnx.export(cell, form="function", **LENGTHS)
    (node,) = model.graph.node
    assert (node.op_type, node.domain) == (cell.name, "derive")
    (function,) = model.functions
    assert derive.Cell.parse(function.doc_string) == cell


def test_names_of_a_cell_give_way_to_nothing():
    cell = derive.Cell.parse(
        "cell odd\ninput rows: I\nstate steps: H, lengths: H\nparam scan: H x I, t: H\n"
        "steps' = tanh(scan @ rows + t * lengths)\nlengths' = steps' * lengths\n"
        "output steps', steps\n"
    )
    assert compare(cell) < 1e-12


GRU = cells.gru()
ALONE = "cell a\nstate h: H\nh' = b * h\noutput h'\n"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: derive.onnx.export("gru"), "cell must be a derive.Cell, not str"),
        (lambda: derive.onnx.export(GRU, I=3), "the length of H is missing"),
        (lambda: derive.onnx.export(GRU, I=3, H=4, K=5), "gru has no dimension 'K'"),
        (lambda: derive.onnx.export(GRU, form="loop", **LENGTHS), "form is scan, function"),
        (lambda: derive.onnx.export(GRU, opset=7, I=3, H=4), "opset = 7 is too small"),
        (lambda: derive.onnx.export(GRU, opset=99, I=3, H=4), "opset = 99 is too large"),
        (lambda: derive.onnx.export(GRU, dtype="int8", I=3, H=4), "float32 or float64, not 'int8'"),
        (lambda: derive.onnx.export(GRU, dtype="no", I=3, H=4), "float32 or float64, not 'no'"),
        (lambda: derive.onnx.export(GRU, params=3), "params must be a mapping from names"),
        (lambda: derive.onnx.export(GRU, params={}), "parameter W_r is missing"),
        (lambda: derive.onnx.export(cells.rnn(), params={"W": np.ones((4, 3)), "U": np.ones((4, 5)),
                                                         "b": np.ones(4)}),
         "parameter U has the wrong shape\n  it is [H, H] = [4, 4], given [4, 5]"),
        (lambda: derive.onnx.export(cells.rnn(), params={"W": np.ones(4), "U": np.ones((4, 4)),
                                                         "b": np.ones(4)}),
         "parameter W has 2 axes"),
        (lambda: derive.onnx.export(cells.rnn(), params={"W": np.ones((4, 3)), "U": np.ones((4, 4)),
                                                         "b": np.ones(4), "B": 1}),
         "rnn has no parameter 'B'"),
        (lambda: derive.onnx.export(cells.phased_lstm(), num_layers=2, I=3, H=4),
         "2 inputs, and layers pass on one"),
        (lambda: derive.onnx.export(derive.Cell.parse(OWN), I=3, H=4), "own has fixed arrays"),
        (lambda: derive.onnx.export(GRU, bidirectional=True, reverse=True, form="operator",
                                    **LENGTHS),
         "has no reverse"),
        (lambda: derive.onnx.export(derive.Cell.parse(ALONE), H=2),
         "a has no inputs"),
        (lambda: derive.onnx.export(GRU, "/no/such/folder/a.onnx", **LENGTHS), "cannot be written"),
        (lambda: derive.onnx.export(GRU, 3, **LENGTHS), "path must be a path, not int"),
    ],
)  # fmt: skip
def test_what_has_no_model_is_refused_in_words(call, text):
    with pytest.raises(derive.DeriveError) as error:
        call()
    assert text in str(error.value)


def test_layers_that_do_not_fit_are_refused():
    rnn = layers.RNN(GRU, 2, I=3, H=3, target="numpy")
    wrong = {name: np.ones((3, 5)) if name == "W_r_l1" else a for name, a in rnn.params.items()}
    with pytest.raises(derive.DeriveError):
        derive.onnx.export(GRU, params=wrong, num_layers=2)
    for name in ("W_r_l1", "W_z_l1", "W_n_l1"):
        wrong[name] = np.ones((3, 5))
    with pytest.raises(derive.DeriveError, match="layers of gru do not fit on each other"):
        derive.onnx.export(GRU, params=wrong, num_layers=2)


def test_derive_export_writes_a_file(tmp_path, capsys):
    path = tmp_path / "a.onnx"
    words = ["export", "lstm:peephole=true", "--format", "onnx", "--size", "I=3", "--size", "H=4"]
    assert status([*words, "--lengths", "--as", "operator", "-o", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{path}\n" and "in  lengths [B]" in captured.err
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert status(["export", "gru", "--size", "H", "-o", str(path)]) == 2
    assert "'H' is no width" in capsys.readouterr().err
    assert status(["export", "janet", "--as", "operator", "--size", "I=3", "--size", "H=4"]) == 2


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}])
def test_every_layer_starts_from_what_it_learned(options):
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate h: H = h0\nh' = tanh(W @ x + U @ h)\noutput h'"
    )
    model = derive.onnx.export(cell, initial_states=False, I=2, H=3, **options)
    names = {tensor.name for tensor in model.graph.initializer}
    assert len([name for name in names if name.startswith("h0_l")]) == 2


def test_parameters_of_a_layer_that_is_not_exported_are_told(tmp_path):
    rnn = layers.RNN(cells.lstm(), 2, target="numpy", I=2, H=3)
    rnn.save(tmp_path / "two.npz")
    with pytest.raises(ArgumentError, match="not exported"):
        derive.onnx.export(cells.lstm(), params=tmp_path / "two.npz")
    one = layers.RNN(cells.lstm(), target="numpy", I=2, H=3)
    derive.onnx.export(cells.lstm(), params=one.params)


def test_an_input_called_lengths_stands_in_the_way_of_lengths():
    cell = derive.Cell.parse("cell c\ninput lengths: H\nstate h: H\nh' = lengths + h\noutput h'")
    with pytest.raises(ArgumentError, match="called lengths"):
        derive.onnx.export(cell, lengths=True, H=3)


@pytest.mark.parametrize("size", ["H=²", "path=9", "seed=9"])
def test_derive_export_takes_widths_of_the_cell_alone(size, tmp_path, capsys):
    assert status(["export", "lstm", "--size", size, "-o", str(tmp_path / "a.onnx")]) == 2
    assert "width" in capsys.readouterr().err
