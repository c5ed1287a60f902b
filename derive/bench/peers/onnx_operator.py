"""ONNX Runtime's operators LSTM, GRU and RNN; forward only."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from derive.bench.peers import not_installed
from derive.bench.peers.closed import Known, known
from derive.bench.peers.onnx_session import session
from derive.bench.task import Contestant, Results, Task, named

NAME = "ONNX Runtime"

#: Gates in the operator's order, by their place in `Known`.
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "gru_before": (1, 0, 2), "rnn": (0,)}
_OPERATOR = {"lstm": "LSTM", "gru": "GRU", "gru_before": "GRU", "rnn": "RNN"}


def missing() -> str | None:
    return not_installed("onnx", "onnxruntime")


def enter(task: Task) -> list[Contestant]:
    found = known(task.cell)
    if found is None:
        return []
    start = time.perf_counter()
    prepared = session(_model(found, task), task)
    (x,) = task.inputs.values()
    given = {"X": x, **{f"initial_{name}": a[None] for name, a in task.states.items()}}

    def infer() -> Any:
        return prepared.run(["Y"], given)

    def read(result: Any) -> Results:
        return named(output=dict.fromkeys(task.cell.outputs, result[0][:, 0]))

    return [Contestant(NAME, infer, None, read, start=time.perf_counter() - start)]


def _model(found: Known, task: Task) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    def stacked(names: tuple[str, ...]) -> Any:
        return np.concatenate([task.params[names[k]] for k in _ORDER[found.kind]])

    bias = stacked(found.bias)
    hidden_bias = stacked(found.hidden_bias) if found.hidden_bias else np.zeros_like(bias)
    weights = {
        "W": stacked(found.input)[None],
        "R": stacked(found.hidden)[None],
        "B": np.concatenate([bias, hidden_bias])[None],
    }
    names = ["X", "W", "R", "B", "", *(f"initial_{name}" for name in task.states)]
    if found.peepholes:
        i, f, o = (task.params[name] for name in found.peepholes)
        weights["P"] = np.concatenate([i, o, f])[None]
        names.append("P")
    attributes: dict[str, Any] = {"hidden_size": task.shape.H}
    if _OPERATOR[found.kind] == "GRU":
        attributes["linear_before_reset"] = int(found.kind == "gru")
    node = helper.make_node(_OPERATOR[found.kind], names, ["Y"], **attributes)
    T, B, I, H = task.shape.T, task.shape.B, task.shape.I, task.shape.H  # noqa: E741
    inputs = {"X": (T, B, I), **{f"initial_{name}": (1, B, H) for name in task.states}}
    graph = helper.make_graph(
        [node],
        "cell",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, (T, 1, B, H))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
