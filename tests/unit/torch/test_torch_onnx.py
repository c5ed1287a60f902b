"""torch.onnx.export of modules that hold derive.torch's."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

import derive  # noqa: E402
import derive.torch as dt  # noqa: E402
from derive.torch import engine, onnx_translation  # noqa: E402


class Model(torch.nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths):
        y, _ = self.rnn(x, lengths=lengths)
        return torch.tanh(y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: dt.RNN(derive.cells.janet(), 4, 5, bidirectional=True),
        lambda: dt.LSTM(4, 5, 2),
    ],
    ids=["janet", "lstm"],
)
def test_an_exported_module_computes_the_same(make):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    module = Model(make()).eval()
    dims = {0: torch.export.Dim("T"), 1: torch.export.Dim("B")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (torch.randn(6, 3, 4), torch.tensor([6, 2, 0])), dynamo=True, verbose=False,
            dynamic_shapes=(dims, {0: dims[1]}),
            custom_translation_table=dt.onnx_translations(),
        )  # fmt: skip
    session = runtime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    for T, lengths in ((6, [6, 2, 0]), (9, [1, 9])):
        x, ends = torch.randn(T, len(lengths), 4), torch.tensor(lengths)
        found = session.run(None, dict(zip(names, (x.numpy(), ends.numpy()), strict=True)))[0]
        with torch.no_grad():
            np.testing.assert_allclose(found, module(x, ends).numpy(), rtol=0, atol=2e-6)


def test_the_function_of_a_cell_is_checked_and_reads_stacked_parameters():
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from onnx import helper

    cell = derive.cells.janet()
    module = dt.RNN(cell, 3, 4)
    made = engine.engine_of_key(module._plain_key)
    stacked = engine.engine_of(cell.to_text(), 1, ((0, 1), (2, 3), (4, 5)))
    random = np.random.default_rng(2)
    parts = [random.normal(size=s).astype(np.float32)
             for s in ((4, 3), (4, 3), (4, 4), (4, 4), (4,), (4,))]  # fmt: skip
    names = list(cell.params)
    order = [names.index(n) for n in ("W_f", "W_g", "U_f", "U_g", "b_f", "b_g")]
    by_name = {names[place]: part for place, part in zip(order, parts, strict=True)}
    groups = tuple((order[k], order[k + 1]) for k in (0, 2, 4))
    stacked = engine.engine_of(cell.to_text(), 1, groups)
    tensors = [np.concatenate(parts[k : k + 2]) for k in (0, 2, 4)]
    shapes = [tensor.shape for tensor in tensors]
    assert made.cell == stacked.cell
    function = onnx_translation._function(stacked, shapes, np.float32, True, True)
    feed = {"x": random.normal(size=(5, 2, 3)).astype(np.float32), "lengths": np.array([5, 3])}
    feed |= {"h": random.normal(size=(2, 4)).astype(np.float32)}
    feed |= {f"params_{k}": tensor for k, tensor in enumerate(tensors)}
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(feed[name].dtype), feed[name].shape
        )
        for name in function.input
    ]
    shapes = [[5, 2, 4], [2, 4]]
    outputs = [
        helper.make_tensor_value_info(name, 1, shape)
        for name, shape in zip(function.output, shapes, strict=True)
    ]
    node = helper.make_node(
        function.name, list(function.input), list(function.output), domain="derive"
    )
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, outputs), functions=[function], ir_version=10,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("derive", 1)],
    )  # fmt: skip
    onnx.checker.check_model(model)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y, last = session.run(None, feed)
    kernel = derive.compile(cell, target="numpy")
    run = kernel.forward(by_name, feed["x"], feed["h"], lengths=feed["lengths"], reverse=True)
    np.testing.assert_allclose(y, run.output, rtol=0, atol=2e-6)
    np.testing.assert_allclose(last, run.states["h"], rtol=0, atol=2e-6)


def test_what_has_no_translation_is_refused(monkeypatch):
    cell = derive.Cell.parse(
        "cell a\ninput x: H\nstate h: H = h0\nh' = tanh(U @ h + x)\noutput h'\n"
    )
    made = engine.engine_of(cell.to_text(), 1)
    shapes = [[4] * len(shape) for shape in cell.params.values()]
    with pytest.raises(derive.DeriveError, match="a step knows in parts, once or fixed"):
        onnx_translation._function(made, shapes, np.float32, False, False)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(derive.DeriveError, match="needs the package onnxscript"):
        dt.onnx_translations()
