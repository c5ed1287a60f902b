"""Recurrent nodes as files have them: weights that are computed, branches, wired states; and
files that are damaged, or want too much."""

import warnings

import numpy as np
import pytest

import derive
from derive import weights
from derive.weights import contents
from derive.weights.onnx_constants import Constants
from derive.weights.onnx_file import open_model

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

T, B, I, H = 4, 3, 2, 5  # noqa: E741
RANDOM = np.random.default_rng(17)
FLOAT = TensorProto.FLOAT


def rand(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def info(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def model_of(nodes, inputs, outputs, tensors, *, functions=(), opset=17, domains=()):
    graph = helper.make_graph(
        list(nodes), "graph", list(inputs), list(outputs), [constant(*t) for t in tensors.items()]
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


def gru(inputs=("X", "W", "R", "B"), name="gru", outputs=("Y", "Y_h"), **attributes):
    return helper.make_node(
        "GRU", list(inputs), list(outputs), name=name, hidden_size=H, linear_before_reset=1,
        **attributes,
    )  # fmt: skip


def held(directions=1):
    return {
        "W": rand(directions, 3 * H, I),
        "R": rand(directions, 3 * H, H),
        "B": rand(directions, 6 * H),
    }


def same_as_runtime(model, X, node=None, given=None, **arguments):
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, given or {"X": X})
    run = weights.from_onnx(model, node).run(X, **arguments)
    for array, other in zip((run.Y, run.Y_h, run.Y_c), wanted, strict=False):
        np.testing.assert_allclose(array, other, rtol=3e-6, atol=2e-6)


# --- what is computed from constants ----------------------------------------------------------


def nodes_for_weights():
    """W, R and B from nodes of many kinds, as exporters leave them."""
    z, r, n = rand(H, I), rand(H, I), rand(H, I)
    nodes = [
        helper.make_node("Slice", ["all", "from", "to", "axis"], ["z_rows"]),
        helper.make_node("Concat", ["z_rows", "r_rows", "n_rows"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["rows", "zero"], ["W"]),
        helper.make_node("Transpose", ["turned"], ["straight"], perm=[1, 0]),
        helper.make_node("Cast", ["straight"], ["single"], to=FLOAT),
        helper.make_node("Reshape", ["single", "shape"], ["R"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "point"], ["flat"]),
        helper.make_node("Expand", ["flat", "wide"], ["B"]),
    ]
    tensors = {
        "all": np.concatenate([rand(1, I), z]), "from": [1], "to": [H + 1], "axis": [0],
        "r_rows": r, "n_rows": n, "zero": [0],
        "turned": rand(H, 3 * H).astype(np.float64), "shape": [1, 3 * H, H],
        "integers": RANDOM.integers(-9, 9, 6 * H).astype(np.int8),
        "scale": np.float32(0.1), "point": np.int8(1), "wide": [1, 6 * H],
    }  # fmt: skip
    return nodes, {k: np.asarray(v) for k, v in tensors.items()}


def test_weights_are_computed_whatever_the_operators():
    nodes, tensors = nodes_for_weights()
    model = model_of([*nodes, gru()], [info("X", [T, B, I])], [info("Y"), info("Y_h")], tensors)
    same_as_runtime(model, rand(T, B, I))


def branches():
    """A GRU in each branch of an If; one has its weights outside, the other makes them inside."""
    nodes, tensors = nodes_for_weights()
    inner = {f"{k}_2": v for k, v in held().items()}
    then = helper.make_graph([*nodes, gru()], "then", [], [info("Y"), info("Y_h")])
    makers = [
        helper.make_node("Constant", [], [name], value=constant(name, v))
        for name, v in inner.items()
    ]
    other = gru(("X", "W_2", "R_2", "B_2"), outputs=("Z", "Z_h"))
    orelse = helper.make_graph([*makers, other], "else", [], [info("Z"), info("Z_h")])
    node = helper.make_node(
        "If", ["which"], ["out", "out_h"], name="choice", then_branch=then, else_branch=orelse
    )
    inputs = [info("X", [T, B, I]), info("which", [], TensorProto.BOOL)]
    return model_of([node], inputs, [info("out"), info("out_h")], tensors)


def test_nodes_in_branches_are_chosen_by_their_places():
    model, X = branches(), rand(T, B, I)
    for word, which in (("then", True), ("else", False)):
        given = {"X": X, "which": np.array(which)}
        same_as_runtime(model, X, f"graph/if_0/{word}/GRU_0", given)
    with pytest.raises(derive.DeriveError) as error:
        weights.from_onnx(model)
    assert "2 RNN, GRU and LSTM nodes" in str(error.value)
    assert "hint: node='graph/if_0/then/GRU_0'" in str(error.value)
    with pytest.raises(derive.DeriveError, match="2 recurrent nodes of the model are called 'gru'"):
        weights.from_onnx(model, "gru")


def test_an_if_with_a_constant_condition_is_the_branch_that_it_takes():
    tensors = {**held(), "yes": np.array(True), "W_2": rand(1, 3 * H, I)}
    bodies = [
        helper.make_graph([helper.make_node("Identity", [n], [f"{n}_out"])], "b", [],
                          [info(f"{n}_out")])
        for n in ("W", "W_2")
    ]  # fmt: skip
    choice = helper.make_node(
        "If", ["yes"], ["chosen"], then_branch=bodies[1], else_branch=bodies[0]
    )
    model = model_of(
        [choice, gru(("X", "chosen", "R", "B"))],
        [info("X", [T, B, I])], [info("Y"), info("Y_h")], tensors,
    )  # fmt: skip
    assert np.array_equal(weights.from_onnx(model).node.weights["W"], tensors["W_2"])
    same_as_runtime(model, rand(T, B, I))


def test_nodes_in_the_bodies_of_loop_and_scan_are_read():
    tensors = {**held(), "count": np.array(2), "go": np.array(True)}
    step = gru(("X", "W", "R", "B", "", "h"), outputs=("", "h_next"))
    loop_body = helper.make_graph(
        [step, helper.make_node("Identity", ["on"], ["on_next"])], "body",
        [info("i", [], TensorProto.INT64), info("on", [], TensorProto.BOOL), info("h", [1, B, H])],
        [info("on_next", [], TensorProto.BOOL), info("h_next", [1, B, H])],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["count", "go", "start"], ["end"], body=loop_body)
    scan_body = helper.make_graph(
        [gru(("X", "W", "R", "B"), name="scanned", outputs=("", "last")),
         helper.make_node("Identity", ["row"], ["row_out"])],
        "body", [info("row", [1])], [info("row_out", [1])],
    )  # fmt: skip
    scan = helper.make_node("Scan", ["X0"], ["rows"], body=scan_body, num_scan_inputs=1)
    inputs = [info("X", [T, B, I]), info("start", [1, B, H]), info("X0", [T, 1])]
    model = model_of([loop, scan], inputs, [info("end"), info("rows")], tensors)
    layer = weights.from_onnx(model, "graph/loop_0/body/GRU_0")
    with pytest.raises(derive.DeriveError, match="needs initial_h") as error:
        layer.run(rand(T, B, I))
    assert "the input 'h' of graph/loop_0/body" in str(error.value)
    X, h = rand(T, B, I), rand(1, B, H)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    end, _ = session.run(None, {"X": X, "start": h, "X0": rand(T, 1)})
    for _ in range(2):
        h = layer.run(X, initial_h=h).Y_h
    np.testing.assert_allclose(h, end, rtol=0, atol=2e-6)
    assert weights.from_onnx(model, "scanned").node.place == "graph/scan_0/body/GRU_0"


def body_of(nodes, inputs, outputs):
    """inputs, outputs: {name: type}; shapes of real arrays are left open."""
    infos = [
        [info(n, None if kind == FLOAT else [], kind) for n, kind in group.items()]
        for group in (inputs, outputs)
    ]
    return helper.make_graph(list(nodes), "body", *infos)


INTEGER, TRUTH = TensorProto.INT64, TensorProto.BOOL


def identity(a, b):
    return helper.make_node("Identity", [a], [b])


def test_weights_that_a_loop_hands_on_are_read_inside_and_behind_it():
    tensors = {**held(), "count": np.array(2), "go": np.array(True)}
    step = gru(("X", "W_in", "R_in", "B", "", "h"), outputs=("", "h_next"), name="inner")
    body = body_of(
        [step, identity("on", "on_next"), identity("W_in", "W_mid"), identity("W_mid", "W_out"),
         identity("R", "R_out")],
        {"i": INTEGER, "on": TRUTH, "h": FLOAT, "W_in": FLOAT, "R_in": FLOAT},
        {"on_next": TRUTH, "h_next": FLOAT, "W_out": FLOAT, "R_out": FLOAT},
    )  # fmt: skip
    loop = helper.make_node(
        "Loop", ["count", "go", "start", "W", "R"], ["end", "W_end", "R_end"], body=body
    )
    last = gru(("X", "W_end", "R_end", "B", "", "end"), name="last")
    inputs = [info("X", [T, B, I]), info("start", [1, B, H])]
    model = model_of([loop, last], inputs, [info("Y"), info("Y_h")], tensors)
    X, start = rand(T, B, I), rand(1, B, H)
    inner, outer = (weights.from_onnx(model, name) for name in ("inner", "last"))
    for layer in (inner, outer):
        assert np.array_equal(layer.node.weights["W"], tensors["W"])
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, {"X": X, "start": start})[1]
    for layer, times in ((inner, 2), (outer, 1)):
        for _ in range(times):
            start = layer.run(X, initial_h=start).Y_h
    np.testing.assert_allclose(start, wanted, rtol=0, atol=2e-6)


def test_weights_that_a_loop_changes_are_no_constants():
    tensors = {**held(), "count": np.array(2), "go": np.array(True)}
    body = body_of(
        [gru(("X", "W_in", "R", "B"), outputs=("", "h"), name="inner"), identity("on", "on_next"),
         helper.make_node("Neg", ["W_in"], ["W_out"])],
        {"i": INTEGER, "on": TRUTH, "W_in": FLOAT}, {"on_next": TRUTH, "W_out": FLOAT},
    )  # fmt: skip
    loop = helper.make_node("Loop", ["count", "go", "W"], ["W_end"], body=body)
    model = model_of([loop], [info("X", [T, B, I])], [info("W_end")], tensors)
    with pytest.raises(derive.DeriveError, match="the input 'W_in' of graph/loop_0/body"):
        weights.from_onnx(model)


def looped(kind):
    """W made by a Loop or a Scan of constants, as an exporter leaves a function that fills it."""
    if kind == "Loop":  # rows one by one, until the condition says so; a nested If and Loop
        inner = body_of(
            [helper.make_node("Add", ["v", "one"], ["v_out"]), identity("g", "g_out")],
            {"j": INTEGER, "g": TRUTH, "v": FLOAT}, {"g_out": TRUTH, "v_out": FLOAT},
        )  # fmt: skip
        even, odd = (body_of([helper.make_node(op, ["raised"], [f"{op}_out"])], {},
                             {f"{op}_out": FLOAT}) for op in ("Sin", "Cos"))  # fmt: skip
        body = body_of(
            [
                helper.make_node("Loop", ["two", "", "row"], ["raised"], body=inner),
                helper.make_node("Mod", ["i", "two"], ["rest"]),
                helper.make_node("Cast", ["rest"], ["is_odd"], to=TRUTH),
                helper.make_node("If", ["is_odd"], ["made"], then_branch=odd, else_branch=even),
                helper.make_node("Less", ["i", "last"], ["on_next"]),
            ],
            {"i": INTEGER, "on": TRUTH, "row": FLOAT},
            {"on_next": TRUTH, "raised": FLOAT, "made": FLOAT},
        )
        made = helper.make_node("Loop", ["", "go", "first"], ["end", "rows"], body=body)
        more = {"go": np.array(True), "two": np.array(2), "one": np.float32(1) * np.ones(I, "f"),
                "last": np.array(3 * H - 1), "first": rand(I)}  # fmt: skip
    else:  # columns, last to first, put side by side along another axis
        body = body_of(
            [helper.make_node("Add", ["sum", "column"], ["sum_out"]), identity("sum_out", "made")],
            {"sum": FLOAT, "column": FLOAT}, {"sum_out": FLOAT, "made": FLOAT},
        )  # fmt: skip
        made = helper.make_node(
            "Scan", ["zero", "columns"], ["end", "rows"], body=body, num_scan_inputs=1,
            scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[1],
            scan_output_directions=[1],
        )  # fmt: skip
        more = {"zero": np.zeros(3 * H, "f"), "columns": rand(3 * H, I)}
    whole = helper.make_node("Unsqueeze", ["rows", "axis"], ["W"])
    return with_w_from(made, whole, axis=np.array([0]), **more)


@pytest.mark.parametrize("kind", ["Loop", "Scan"])
def test_a_loop_of_constants_is_run(kind):
    same_as_runtime(looped(kind), rand(T, B, I))


def endless(nodes, state):
    body = body_of(
        [*nodes, identity("on", "on_next")],
        {"i": INTEGER, "on": TRUTH, "v": FLOAT}, {"on_next": TRUTH, "v_out": FLOAT},
    )  # fmt: skip
    loop = helper.make_node("Loop", ["", "go", "v0"], ["W"], body=body)
    return with_w_from(loop, go=np.array(True), v0=state)


def test_loops_without_an_end_are_refused(monkeypatch):
    monkeypatch.setattr("derive.weights.onnx_constants.MOST_RUNS", 50)
    with pytest.raises(derive.DeriveError, match="is not computed\n  it takes more than 50 nodes"):
        weights.from_onnx(endless([helper.make_node("Neg", ["v"], ["v_out"])], rand(1)))
    monkeypatch.setattr("derive.weights.onnx_evaluate.MOST", 2**12)
    growing = [helper.make_node("Concat", ["v", "v"], ["v_out"], axis=0)]
    with pytest.raises(derive.DeriveError, match=r"is not computed\n  that takes .* bytes"):
        weights.from_onnx(endless(growing, rand(4)))


def without(node, name):
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.input.pop(),
        lambda node: without(node, "num_scan_inputs"),
        lambda node: without(node, "body"),
        lambda node: node.attribute[0].g.output.pop(),
    ],
    ids=["input", "count", "body", "output"],
)
def test_loops_that_are_no_loops_are_not_run(change):
    model = looped("Scan")
    change(model.graph.node[0])
    with pytest.raises(derive.DeriveError, match=r"not in the file|Scan of the model is not"):
        weights.from_onnx(model)


def test_loops_whose_operands_do_not_fit_are_refused():
    model = looped("Scan")
    for tensor in model.graph.initializer:
        if tensor.name == "columns":
            tensor.CopyFrom(constant("columns", rand(3 * H)))
    with pytest.raises(derive.DeriveError, match="Scan of the model cannot be computed"):
        weights.from_onnx(model)
    model = looped("Scan")
    model.graph.node[0].attribute.append(helper.make_attribute("scan_output_axes", [0, 1]))
    with pytest.raises(derive.DeriveError):
        weights.from_onnx(model)


def test_a_function_of_the_file_is_read_as_its_nodes():
    call = helper.make_function(
        "own", "Layer", ["x", "w", "r", "b"], ["y", "y_h"],
        [gru(("x", "w", "r", "b"), outputs=("y", "y_h"))], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = helper.make_node("Layer", ["X", "W", "R", "B"], ["Y", "Y_h"], domain="own")
    model = model_of(
        [node], [info("X", [T, B, I])], [info("Y"), info("Y_h")], held(),
        functions=[call], domains=["own"],
    )  # fmt: skip
    same_as_runtime(model, rand(T, B, I))


# --- what is wired ----------------------------------------------------------------------------


def rows_of_x():
    """Nodes for the shape [2, B, H] of an initial state, B taken from X."""
    return [
        helper.make_node("Shape", ["X"], ["shape"], start=1, end=2),
        helper.make_node("Concat", ["two", "shape", "units"], ["state_shape"], axis=0),
    ], {"two": np.array([2]), "units": np.array([H])}


def started(makers, tensors, initial="h0", inputs=()):
    node = gru(("X", "W", "R", "B", "", initial), direction="bidirectional")
    return model_of(
        [*makers, node], [info("X", [T, "B", I]), *inputs], [info("Y"), info("Y_h")],
        {**held(2), **tensors},
    )  # fmt: skip


def test_a_learned_start_is_repeated_for_all_rows():
    makers, tensors = rows_of_x()
    makers.append(helper.make_node("Expand", ["learned", "state_shape"], ["h0"]))
    model = started(makers, {**tensors, "learned": rand(2, 1, H)})
    for rows in (1, B):
        same_as_runtime(model, rand(T, rows, I))


def test_a_learned_start_of_several_layers_is_cut():
    makers, tensors = rows_of_x()
    tensors["two"] = np.array([4])
    makers += [
        helper.make_node("Expand", ["learned", "state_shape"], ["both"]),
        helper.make_node("Slice", ["both", "from", "to", "axis"], ["h0"]),
    ]
    cut = {"learned": rand(4, 1, H), "from": [2], "to": [4], "axis": [0]}
    model = started(makers, tensors | {k: np.asarray(v) for k, v in cut.items()})
    same_as_runtime(model, rand(T, B, I))


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_start_of_one_value_needs_no_rows(value):
    makers, tensors = rows_of_x()
    filling = constant("value", np.array([value], np.float32))
    makers.append(helper.make_node("ConstantOfShape", ["state_shape"], ["h0"], value=filling))
    same_as_runtime(started(makers, tensors), rand(T, B, I))


def test_a_start_that_hangs_on_x_is_computed_from_it():
    makers = [helper.make_node("ReduceMean", ["X"], ["mean"], axes=[0, 2], keepdims=0)]
    makers += [
        helper.make_node("Unsqueeze", ["mean", "axes"], ["column"]),
        helper.make_node("Mul", ["column", "weights"], ["h0"]),
    ]
    model = started(makers, {"axes": np.array([0, 2]), "weights": rand(2, 1, H)})
    same_as_runtime(model, rand(T, B, I))


def test_a_start_from_outside_is_asked_for_by_name():
    model = started([], {}, "mine", [info("mine", [2, "B", H])])
    X, h = rand(T, B, I), rand(2, B, H)
    with pytest.raises(derive.DeriveError) as error:
        weights.from_onnx(model).run(X)
    assert str(error.value) == (
        "gru needs initial_h\n  the file takes it from the input 'mine' of the model\n"
        "  hint: run(X, initial_h=...)"
    )
    same_as_runtime(model, X, given={"X": X, "mine": h}, initial_h=h)


def test_lengths_from_outside_are_asked_for_by_name():
    node = gru(("X", "W", "R", "B", "lens"))
    inputs = [info("X", [T, B, I]), info("lengths", [B], TensorProto.INT64)]
    cast = helper.make_node("Cast", ["lengths"], ["lens"], to=TensorProto.INT32)
    model = model_of([cast, node], inputs, [info("Y"), info("Y_h")], held())
    X, lengths = rand(T, B, I), np.array([2, 4, 1])
    with pytest.raises(derive.DeriveError, match="needs sequence_lens"):
        weights.from_onnx(model).run(X)
    same_as_runtime(model, X, given={"X": X, "lengths": lengths}, sequence_lens=lengths)


def test_float64_adds_biases_in_float64():
    node = helper.make_node("GRU", ["X", "W", "R", "B"], ["Y"], hidden_size=H)
    model = model_of([node], [info("X", [T, B, I])], [info("Y")], held())
    layer = weights.from_onnx(model)
    one, two = np.split(layer.node.weights["B"][0].astype(np.float64), 2)
    wanted = (one + two)[:H]
    assert np.array_equal(layer.params_in("float64")[0]["b_z"], wanted)
    loaded = weights.load(layer.cells[0], "onnx", model, dtype="float64")
    assert np.array_equal(loaded["b_z"], wanted)
    assert not np.array_equal(layer.params[0]["b_z"].astype(np.float64), wanted)


# --- integers of eight bits -------------------------------------------------------------------


@pytest.mark.parametrize("per", ["direction", "row"])
def test_a_quantised_lstm_is_dequantised_and_says_so(per):
    shape = (2,) if per == "direction" else (2, 4 * H)
    kind = np.int8
    scales = (0.01 + 0.01 * RANDOM.random((2, *shape))).astype(np.float32)
    tensors = {
        "W": RANDOM.integers(-90, 90, (2, I, 4 * H)).astype(kind),
        "R": RANDOM.integers(-90, 90, (2, H, 4 * H)).astype(kind), "B": rand(2, 8 * H),
        "W_scale": scales[0], "W_point": np.zeros(shape, kind),
        "R_scale": scales[1], "R_point": np.zeros(shape, kind),
    }  # fmt: skip
    names = ["X", "W", "R", "B", "", "", "", "", "W_scale", "W_point", "R_scale", "R_point"]
    node = helper.make_node(
        "DynamicQuantizeLSTM", names, ["Y"], domain="com.microsoft", hidden_size=H,
        direction="bidirectional",
    )  # fmt: skip
    model = model_of(
        [node], [info("X", [1, B, I])], [info("Y")], tensors, domains=["com.microsoft"]
    )
    # ONNX Runtime rounds X to steps of (max - min) / 255: with these nothing is lost.
    X = np.array([0, 255, 17, 91, 3, 200], np.float32).reshape(1, B, I) / 255
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (wanted,) = session.run(None, {"X": X})
    with pytest.warns(UserWarning, match="integers of eight bits: dequantised"):
        layer = weights.from_onnx(model)
    np.testing.assert_allclose(layer.run(X).Y, wanted, rtol=0, atol=2e-6)
    for load in (weights.load, weights.load_layers):
        with pytest.warns(UserWarning, match="dequantised") as warned:
            found = load(derive.cells.lstm(), "onnx", model)
        assert warned[0].filename == __file__
        end = "" if load is weights.load else "_l0"
        assert np.array_equal(found[f"W_i{end}"], layer.params[0]["W_i"])


# --- arrays beside the file -------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path):
    model = model_of([gru()], [info("X", [T, B, I])], [info("Y"), info("Y_h")], held())
    path = tmp_path / "model.onnx"
    wanted = weights.from_onnx(model).params[0]
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
    return path, wanted


def test_arrays_beside_the_file_are_read(beside):
    path, wanted = beside
    found = weights.from_onnx(path).params[0]
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_missing_and_short_files_beside_the_model_are_named(beside):
    path, _ = beside
    data = path.with_name("model.data")
    whole = data.read_bytes()
    data.write_bytes(whole[:40])
    with pytest.raises(derive.DeriveError, match=r"'model.data', which is too short"):
        weights.from_onnx(path)
    data.unlink()
    with pytest.raises(derive.DeriveError, match=r"'model.data', which is missing"):
        weights.from_onnx(path)
    with pytest.raises(derive.DeriveError, match="the model was given without a folder"):
        weights.from_onnx(path.read_bytes())


def test_arrays_outside_the_folder_are_not_read(beside):
    path, _ = beside
    model = onnx.load(path, load_external_data=False)
    path.with_name("model.data").rename(path.parent.parent / "elsewhere.data")
    for tensor in model.graph.initializer:
        next(e for e in tensor.external_data if e.key == "location").value = "../elsewhere.data"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(derive.DeriveError, match="which cannot be read"):
        weights.from_onnx(path)


# --- files that want too much -----------------------------------------------------------------


def with_w_from(*nodes, **tensors):
    arrays = {k: v for k, v in held().items() if k != "W"} | tensors
    return model_of([*nodes, gru()], [info("X", [T, B, I])], [info("Y"), info("Y_h")], arrays)


def doubling():
    nodes = [
        helper.make_node("Concat", [f"w{k}", f"w{k}"], [f"w{k + 1}"], axis=0) for k in range(60)
    ]
    return with_w_from(*nodes, helper.make_node("Identity", ["w60"], ["W"]), w0=rand(8, I))


@pytest.mark.parametrize(
    "model",
    [
        with_w_from(helper.make_node("ConstantOfShape", ["s"], ["W"]), s=np.array([10**6] * 2)),
        with_w_from(helper.make_node("Expand", ["v", "s"], ["W"]), v=rand(1),
                    s=np.array([10**6, 10**6])),
        with_w_from(helper.make_node("Range", ["a", "b", "c"], ["W"]), a=np.array(0),
                    b=np.array(10**12), c=np.array(1)),
    ],
    ids=["ConstantOfShape", "Expand", "Range"],
)  # fmt: skip
def test_a_small_file_cannot_ask_for_a_large_array(model):
    with pytest.raises(derive.DeriveError, match=r"is not computed\n  that takes .* bytes"):
        weights.from_onnx(model)


def test_arrays_that_double_come_to_an_end(monkeypatch):
    monkeypatch.setattr("derive.weights.onnx_evaluate.MOST", 2**16)
    with pytest.raises(derive.DeriveError, match="is not computed\n  that takes 131072 bytes"):
        weights.from_onnx(doubling())


def test_what_is_computed_from_itself_is_refused():
    model = with_w_from(
        helper.make_node("Identity", ["a"], ["W"]), helper.make_node("Identity", ["W"], ["a"])
    )
    with pytest.raises(derive.DeriveError, match="is computed from itself"):
        weights.from_onnx(model)


def test_a_deep_chain_of_nodes_is_followed():
    nodes = [helper.make_node("Identity", [f"w{k}"], [f"w{k + 1}"]) for k in range(400)]
    array = rand(1, 3 * H, I)
    model = with_w_from(*nodes, helper.make_node("Identity", ["w400"], ["W"]), w0=array)
    opened = open_model(model)
    assert np.array_equal(Constants(opened).value(opened.main, "W"), array)


def test_functions_that_multiply_are_refused():
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", "f0", ["x"], ["y"],
                             [helper.make_node("Identity", ["x"], ["y"])], opset)
    ]  # fmt: skip
    for k in range(40):
        calls = [helper.make_node(f"f{k}", [a], [b], domain="own") for a, b in ("xm", "my")]
        functions.append(helper.make_function("own", f"f{k + 1}", ["x"], ["y"], calls, opset))
    call = helper.make_node("f40", ["R"], ["W"], domain="own")
    model = with_w_from(call)
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    with pytest.raises(derive.DeriveError, match="the functions of the model are too large"):
        weights.from_onnx(model)


def test_names_that_are_no_text_are_refused_with_the_file(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(plain().SerializeToString().replace(b"gru", b"g\xffu"))
    with pytest.raises(derive.DeriveError) as error:
        weights.from_onnx(path)
    assert str(error.value) == (
        f"{path} cannot be read\n  graph has a node with a name that is no text"
    )
    path.write_bytes(plain().SerializeToString().replace(b"\x01W", b"\x01\xff"))
    with pytest.raises(derive.DeriveError, match="cannot be read"):
        weights.from_onnx(path)


def test_random_weights_are_no_constants():
    node = helper.make_node("RandomNormal", [], ["W"], shape=[1, 3 * H, I])
    with pytest.raises(derive.DeriveError, match="which RandomNormal computes"):
        weights.from_onnx(with_w_from(node))


def test_an_operator_that_cannot_be_computed_is_named():
    node = helper.make_node("NoSuchThing", ["R"], ["W"], name="made")
    with pytest.raises(derive.DeriveError, match="NoSuchThing 'made' of the model cannot be"):
        weights.from_onnx(with_w_from(node))


def test_a_file_that_is_cut_off_is_refused_or_whole(tmp_path):
    nodes, tensors = nodes_for_weights()
    model = model_of([*nodes, gru()], [info("X", [T, B, I])], [info("Y"), info("Y_h")], tensors)
    data, path = model.SerializeToString(), tmp_path / "cut.onnx"
    refused = 0
    for end in range(0, len(data) - 1, 61):
        path.write_bytes(data[:end])
        with pytest.raises(derive.DeriveError):
            weights.from_onnx(path)
        refused += 1
    assert refused > 20


def test_bytes_that_are_changed_are_refused_or_read():
    nodes, tensors = nodes_for_weights()
    model = model_of([*nodes, gru()], [info("X", [T, B, I])], [info("Y"), info("Y_h")], tensors)
    data = np.frombuffer(model.SerializeToString(), np.uint8)
    random = np.random.default_rng(3)
    outcomes = set()
    for _ in range(120):
        other = data.copy()
        other[random.integers(0, len(data), 4)] = random.integers(0, 256, 4)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weights.from_onnx(other.tobytes())
            outcomes.add("read")
        except derive.DeriveError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


# --- what an operator does not have -----------------------------------------------------------


def plain(**attributes):
    return model_of([gru(**attributes)], [info("X", [T, B, I])], [info("Y"), info("Y_h")], held())


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (plain(layout=2), "layout of the GRU node 'gru' is 0 or 1, not 2"),
        (plain(clip=-1.0), "clip of the GRU node 'gru' cannot be -1"),
        (plain(forget=1), "Unrecognized attribute: forget for operator GRU"),
        (plain(activation_alpha=[0.1]), "activation_alpha of gru has 1 values too many"),
        (with_w_from(W=rand(1, 3 * H)), "W of the GRU node 'gru' has 3 axes"),
        (with_w_from(W=rand(1, 2 * H, I)), "W of the GRU node 'gru' has the wrong shape"),
        (with_w_from(W=np.ones((1, 3 * H, I), int)), "W of the GRU node 'gru' must hold real"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_an_operator_does_not_have_is_refused(model, text):
    with pytest.raises(derive.DeriveError) as error:
        weights.from_onnx(model)
    assert text in str(error.value)


def test_cotangents_have_the_shapes_of_what_they_belong_to():
    run = weights.from_onnx(plain()).run(rand(T, B, I))
    for name, shape in (("d_Y", (T, 2, B, H)), ("d_Y", (T, 1, 1, H)), ("d_Y_h", (2, B, H))):
        with pytest.raises(derive.DeriveError, match=f"{name} has the wrong shape"):
            run.backward(**{name: np.ones(shape, np.float32)})
    with pytest.raises(derive.DeriveError, match="GRU has no Y_c"):
        run.backward(d_Y_c=np.ones((1, B, H)))


# --- contents ---------------------------------------------------------------------------------


def test_contents_list_places_shapes_feeds_and_cells(tmp_path):
    path = tmp_path / "branches.onnx"
    onnx.save(branches(), path)
    found = contents(path)
    assert [part.place for part in found.parts] == [
        "graph/if_0/then/GRU_0", "graph/if_0/else/GRU_0"
    ]  # fmt: skip
    for part in found.parts:
        assert part.sizes == {"I": I, "H": H} and part.direction == "forward"
        assert part.feeds == ("X: the input 'X' of the model",)
        assert part.cell == 'derive.cells.gru(reset="after")'
        assert part.load == f"weights.from_onnx({str(path)!r}, {part.place!r})"


def test_contents_say_what_is_not_read(tmp_path):
    node = helper.make_node("AttnLSTM", ["X"], ["Y"], domain="com.microsoft")
    other = gru(("X", "X", "X", ""))
    model = model_of([node, other], [info("X", [T, B, I])], [info("Y"), info("Y_h")], {})
    path = tmp_path / "strange.onnx"
    onnx.save(model, path)
    found = contents(path)
    assert found.others == ("1 of the operator com.microsoft.AttnLSTM",)
    wanted = f"not read: W of the GRU node 'gru' of {path} is not in the file"
    assert found.parts[0].note == wanted
    with pytest.raises(derive.DeriveError, match=r"com.microsoft.AttnLSTM, which is not read"):
        weights.from_onnx(path, "attention")
