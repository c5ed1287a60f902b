"""What small ONNX files may ask for: memory, work, iterations; text."""

import numpy as np
import pytest

import derive
from derive import weights
from derive.weights import onnx_constants, onnx_evaluate, onnx_sizes
from derive.weights.onnx_constants import Constants
from derive.weights.onnx_file import open_model

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FLOAT, INTEGER, TRUTH = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
TEXT, BYTE = TensorProto.STRING, TensorProto.UINT8


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def loop(inputs, outputs, body):
    return helper.make_node("Loop", inputs.split(" "), outputs.split(" "), body=body)


def body_of(nodes, inputs, outputs):
    infos = [
        [
            helper.make_tensor_value_info(n, kind, None if n[0] in "vs" else [])
            for n, kind in x.items()
        ]
        for x in (inputs, outputs)
    ]
    return helper.make_graph(list(nodes), "body", *infos)


def model_of(*nodes, opset=20, **tensors):
    """A GRU of one unit, of which `nodes` compute W."""
    arrays = {"R": np.ones((1, 3, 1), "f"), "shape": np.array([1, 3, 1]), **tensors}
    gru = node("GRU", "X W R", "Y", hidden_size=1, name="gru")
    graph = helper.make_graph(
        [*nodes, gru],
        "graph",
        [helper.make_tensor_value_info("X", FLOAT, [2, 1, 1])],
        [helper.make_tensor_value_info("Y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def filled(shape, kind=np.uint8, name="big"):
    """A node that fills an array, of a shape that the file holds."""
    value = numpy_helper.from_array(np.ones(1, kind))
    dims = numpy_helper.from_array(np.array(shape))
    return (
        helper.make_node("Constant", [], [f"{name}_shape"], value=dims),
        helper.make_node("ConstantOfShape", [f"{name}_shape"], [name], value=value),
    )


MEBI = 2**20
#: Nodes whose operands are few MiB at most, and which take more than 8 MiB.
GREEDY = {
    "NonZero": [*filled([2**13] + [2] * 7), node("NonZero", "big", "W")],
    "Unique": [*filled([MEBI]), node("Unique", "big", "W a b c")],
    "Unique unsorted": [*filled([2**18]), node("Unique", "big", "W a b c", sorted=0)],
    "SplitToSequence": [*filled([MEBI // 4]), node("SplitToSequence", "big one", "s"),
                        node("SequenceAt", "s zero", "W")],
    "SplitToSequence of lengths": [
        *filled([2**17], np.int64, "lengths"), node("SplitToSequence", "lengths lengths", "s"),
        node("SequenceAt", "s zero", "W"),
    ],
    "TopK": [*filled([2**17] + [1] * 7 + [2]), node("TopK", "big ones", "W a")],
    "OneHot of none": [*filled([0], np.int64), node("OneHot", "big many pair", "W")],
    "Expand of none": [*filled([0, 1], np.float32), node("Expand", "big wide", "W")],
    "Tile to none": [*filled([4, 4], np.float32), node("Tile", "big times", "W")],
    "Cast": [*filled([MEBI + 1]), node("Cast", "big", "c", to=TensorProto.DOUBLE),
             node("Add", "c c", "W")],
    "Pad": [node("Pad", "ones pads", "W")],
    "Range": [node("Range", "zero many one", "W")],
    "EyeLike": [*filled([2**11, 2**11]), node("EyeLike", "big", "W", dtype=TensorProto.DOUBLE)],
    "Einsum": [*filled([2**8], np.float32),
               node("Einsum", "big big big", "W", equation="i,j,k->")],
    "MatMul": [*filled([2**11, 1], np.float32), *filled([1, 2**11], np.float32, "row"),
               node("MatMul", "big row", "W")],
    "Where": [*filled([2**11, 1], np.float32), *filled([1, 2**11], np.float32, "row"),
              node("Less", "big row", "c"), node("Where", "c big row", "W")],
    "Gather": [*filled([2**12], np.int64, "at"), *filled([2, 2**10], np.float32),
               node("Gather", "big at", "W")],
    "PRelu": [*filled([2**11, 1], np.float32), *filled([1, 2**11], np.float32, "row"),
              node("PRelu", "big row", "W")],
    "Clip": [*filled([2**11, 1], np.float32), *filled([1, 2**11], np.float32, "row"),
             node("Clip", "big row", "W")],
    "Gemm": [*filled([2**11, 1], np.float32), *filled([1, 1], np.float32, "b"),
             *filled([1, 2**11], np.float32, "row"), node("Gemm", "big b row", "W")],
    "DequantizeLinear": [*filled([2**11, 1]), *filled([2**11], np.float32, "scale"),
                         node("DequantizeLinear", "big scale", "W", axis=1)],
    "GatherND": [*filled([2**17, 1], np.int64, "at"), node("GatherND", "ones at", "W")],
    "GatherElements": [*filled([2**17, 1]), node("GatherElements", "big corner", "W")],
    "MaxPool": [*filled([1, 1, 8], np.float32),
                node("MaxPool", "big", "W", kernel_shape=[2**22], pads=[2**21, 2**21])],
    "Conv": [*filled([1, 1, 2**11], np.float32), *filled([1, 1, 2**10], np.float32, "k"),
             node("Conv", "big k", "W")],
}  # fmt: skip
OPERANDS = {
    "one": np.array(1), "zero": np.array(0), "ones": np.array([1]), "many": np.array(2**21),
    "pair": np.ones(2, "f"), "wide": np.array([1, 2**22]), "times": np.array([2**22, 0]),
    "pads": np.array([0, 2**21]), "corner": np.zeros((1, 1), np.int64),
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_what_a_node_takes_is_known_before_it_is_computed(name, monkeypatch):
    monkeypatch.setattr(onnx_evaluate, "MOST", 8 * MEBI)
    nodes = GREEDY[name]
    used = {n: OPERANDS[n] for each in nodes for n in each.input if n in OPERANDS}
    with pytest.raises(derive.DeriveError, match=r"is not computed\n  that takes \d+ bytes"):
        weights.from_onnx(model_of(*nodes, **used))


def test_scales_that_are_repeated_in_blocks_are_counted(monkeypatch):
    monkeypatch.setattr(onnx_evaluate, "MOST", 8 * MEBI)
    blocked = node("DequantizeLinear", "small scale", "W", axis=0, block_size=2**21)
    tensors = {"small": np.ones((2, 2), np.uint8), "scale": np.ones((1, 2), "f")}
    with pytest.raises(derive.DeriveError, match=r"is not computed\n  that takes \d+ bytes"):
        weights.from_onnx(model_of(blocked, opset=21, **tensors))


def test_sequences_that_grow_come_to_an_end(monkeypatch):
    monkeypatch.setattr(onnx_constants, "MOST_TOGETHER", MEBI)
    body = body_of(
        [node("SequenceInsert", "s v", "s2"), node("Identity", "on", "on2")],
        {"i": INTEGER, "on": TRUTH, "s": FLOAT}, {"on2": TRUTH, "s2": FLOAT},
    )  # fmt: skip
    nodes = [
        node("SequenceConstruct", "v", "s0"), loop("count  s0", "s9", body),
        node("SequenceAt", "s9 zero", "W"),
    ]  # fmt: skip
    given = {"v": np.zeros(0, "f"), "count": np.array(1000), "zero": np.array(0)}
    with pytest.raises(derive.DeriveError, match="constants of the model are too large"):
        weights.from_onnx(model_of(*nodes, **given))


def test_text_is_not_computed():
    body = body_of(
        [node("StringConcat", "s s", "s2"), node("Identity", "on", "on2")],
        {"i": INTEGER, "on": TRUTH, "s": TEXT}, {"on2": TRUTH, "s2": TEXT},
    )  # fmt: skip
    doubled = [loop("count  s0", "s9", body), node("Cast", "s9", "W", to=FLOAT)]
    count = np.array(10)
    with pytest.raises(derive.DeriveError, match="Cast of the model cannot") as error:
        weights.from_onnx(
            model_of(node("Cast", "one", "s0", to=TEXT), *doubled, one=np.ones(1), count=count)
        )
    assert "its result is text, which no weight is made of" in str(error.value)
    with pytest.raises(derive.DeriveError, match="StringConcat of the model cannot") as error:
        weights.from_onnx(model_of(*doubled, s0=np.array(["a"], object), count=count))
    assert "it reads text, which no weight is made of" in str(error.value)


def test_results_that_turn_out_as_text_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_evaluate, "_results", lambda *_: [[np.array(["1"])]])
    with pytest.raises(derive.DeriveError, match="its result is text"):
        weights.from_onnx(model_of(node("Neg", "v", "W"), v=np.ones((1, 3, 1), "f")))


# --- work --------------------------------------------------------------------------------------


def summed(count, nodes=(), inside="v one"):
    """W is what a loop adds up; `nodes` are of its body too."""
    body = body_of(
        [node("Add", inside, "v2"), node("Identity", "on", "on2"), *nodes],
        {"i": INTEGER, "on": TRUTH, "v": FLOAT}, {"on2": TRUTH, "v2": FLOAT},
    )  # fmt: skip
    return body, {"count": np.array(count), "one": np.float32(1), "v0": np.float32(0)}


def test_all_loops_of_a_model_have_one_budget(monkeypatch):
    body, given = summed(20)
    nodes = [loop(f"count  v{k}", f"v{k + 1}", body) for k in range(4)]
    model = model_of(*nodes, node("Expand", "v4 shape", "W"), **given)
    assert weights.from_onnx(model).node.weights["W"][0, 0, 0] == 80
    runs = []
    monkeypatch.setattr(Constants, "_run_once", lambda self: runs.append(1))
    weights.from_onnx(model)
    monkeypatch.undo()
    monkeypatch.setattr(onnx_constants, "MOST_RUNS", len(runs))
    weights.from_onnx(model)
    monkeypatch.setattr(onnx_constants, "MOST_RUNS", len(runs) - 1)
    with pytest.raises(derive.DeriveError) as error:
        weights.from_onnx(model)
    assert str(error.value) == (
        "Loop of the model is not computed\n"
        f"  it takes more than {len(runs) - 1} nodes and iterations, with all loops"
    )


def test_what_nodes_read_counts_as_work(monkeypatch):
    monkeypatch.setattr(onnx_constants, "MOST_WORK", 2**30)
    read = [node("ReduceSum", "big", "r", keepdims=0)]
    for count, enough in ((100, True), (1100, False)):
        body, given = summed(count, read, "v r")
        model = model_of(
            *filled([2**18], np.float32), loop("count  v0", "v1", body),
            node("Expand", "v1 shape", "W"), **given,
        )  # fmt: skip
        if enough:
            assert weights.from_onnx(model).node.weights["W"][0, 0, 0] == 100 * 2**18
            continue
        with pytest.raises(derive.DeriveError) as error:
            weights.from_onnx(model)
        assert str(error.value) == (
            "constants of the model take too long to compute\n"
            "  their nodes go through more than 1 GiB"
        )


SQUARE = filled([2**9, 2**9], np.float32)
#: Nodes that do more than 2**26 steps with arrays of at most 2 MiB.
BUSY = {
    "MatMul": [*SQUARE, node("MatMul", "big big", "W")],
    "Gemm": [*SQUARE, node("Gemm", "big big", "W", transA=1)],
    "Einsum": [*SQUARE, node("Einsum", "big big", "W", equation="i...,...k->ik")],
    "integers": [*filled([2**8, 2**8], np.int64), node("MatMul", "big big", "W")],
    "Erf": [*filled([2**17], np.float32), node("Erf", "big", "W")],
    "TopK": [*filled([2**17], np.float32), node("TopK", "big ones", "W a")],
    "ScatterND": [*filled([2**14, 1], np.int64, "at"), *filled([2**14], np.float32),
                  node("ScatterND", "pair at big", "W")],
    "ScatterND of none": [*filled([2**14, 0], np.int64, "at"), *filled([2**14, 2], np.float32),
                          node("ScatterND", "pair at big", "W")],
    "Resize": [*filled([1, 1, 2**12], np.float32), node("Resize", "big  scales", "W")],
}  # fmt: skip
BUSY["Resize"][-1] = helper.make_node("Resize", ["big", "", "scales"], ["W"])


@pytest.mark.parametrize("name", BUSY)
def test_what_a_node_does_counts_as_work(name, monkeypatch):
    monkeypatch.setattr(onnx_constants, "MOST_WORK", 2**26)
    nodes = BUSY[name]
    operands = {**OPERANDS, "scales": np.array([1, 1, 2], "f")}
    used = {n: operands[n] for each in nodes for n in each.input if n in operands}
    with pytest.raises(derive.DeriveError, match="take too long to compute"):
        weights.from_onnx(model_of(*nodes, **used))


def test_an_iteration_forgets_only_what_the_last_one_made():
    body, given = summed(50, [node("Neg", "v", f"dead{k}") for k in range(300)])
    opened = open_model(
        model_of(loop("count  v0", "v1", body), node("Expand", "v1 shape", "W"), **given)
    )
    constants = Constants(opened)
    most = []
    forget = constants._forget

    def counted(repeated):
        held = (constants._known, constants._values)
        most.append(sum(len(group[n]) for group in held for n in group.keys() & repeated.numbers))
        forget(repeated)

    constants._forget = counted
    assert constants.value(opened.main, "W").ravel()[0] == 50
    assert len(most) > 50 and max(most) <= 12
    assert not set(constants._values) & set(map(id, opened.main.children[0].values()))


@pytest.mark.parametrize("kind", ["slices", "pieces"])
def test_slices_of_many_gate_blocks_are_not_work(kind, monkeypatch):
    """One array of which a hundred parts are cut: as cuDNN's weights lie in a file."""
    monkeypatch.setattr(onnx_constants, "MOST_WORK", 2**23)
    big = np.arange(2**18, dtype=np.float32)
    if kind == "slices":
        cuts = [node("Slice", f"big b{k} b{k + 1}", f"p{k}") for k in range(100)]
    else:
        cuts = [node("Split", "big sizes", " ".join(f"p{k}" for k in range(101)))]
    given = {f"b{k}": np.array([3 * k]) for k in range(101)} | {"big": big}
    given["sizes"] = np.array([3] * 100 + [2**18 - 300])
    parts = " ".join(f"p{k}" for k in range(100))
    nodes = [*cuts, node("Concat", parts, "all", axis=0), node("Slice", "all b1 b2", "one_part"),
             node("Reshape", "one_part shape", "W")]  # fmt: skip
    found = weights.from_onnx(model_of(*nodes, **given)).node.weights["W"]
    assert found.ravel().tolist() == [3, 4, 5]


def test_a_loop_without_iterations_gives_what_it_began_with():
    body = body_of(
        [node("Add", "v one", "v2"), node("Identity", "on", "on2"), node("Neg", "v", "v3")],
        {"i": INTEGER, "on": TRUTH, "v": FLOAT}, {"on2": TRUTH, "v2": FLOAT, "v3": FLOAT},
    )  # fmt: skip
    given = {"count": np.array(0), "one": np.float32(1), "v0": np.float32(7)}
    none = loop("count  v0", "v1 stack", body)
    model = model_of(none, node("Expand", "v1 shape", "W"), **given)
    assert weights.from_onnx(model).node.weights["W"].ravel().tolist() == [7, 7, 7]
    runtime = pytest.importorskip("onnxruntime")
    model.graph.output.append(helper.make_tensor_value_info("W", FLOAT, None))
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert session.run(["W"], {"X": np.zeros((2, 1, 1), "f")})[0].ravel().tolist() == [7, 7, 7]
    with pytest.raises(derive.DeriveError, match="'stack' has no slices, and no shape"):
        weights.from_onnx(model_of(none, node("Expand", "stack shape", "W"), **given))


def test_sizes_of_sequences_count_their_pieces():
    arrays = [np.zeros(2, np.float32), np.zeros(0)]
    assert onnx_sizes.bytes_of(arrays) == 8 + 2 * onnx_sizes.PIECE
