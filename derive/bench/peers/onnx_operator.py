"""ONNX Runtime's operators LSTM, GRU and RNN; forward only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.bench.peers import not_installed
from derive.bench.peers.closed import Known, known
from derive.bench.peers.onnx_session import session
from derive.bench.stacks import layers_of
from derive.bench.task import Contestant, Results, Task, named

NAME = "ONNX Runtime"
STACKS = True

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
    stacked = task.shape.is_stack
    prepared = session(_stack_model(found, task) if stacked else _model(found, task), task)
    (x,) = task.inputs.values()
    given = {"X": x}
    for name, a in task.states.items():
        each = np.split(a, task.shape.layers) if stacked else [a[None]]
        given |= {f"initial_{name}{k or ''}": part for k, part in enumerate(each)}

    def infer() -> Any:
        return prepared.run(["Y"], given)

    def read(result: Any) -> Results:
        output = result[0] if stacked else result[0][:, 0]
        return named(output=dict.fromkeys(task.d_outputs, output))

    return [Contestant(NAME, infer, None, read, start=time.perf_counter() - start)]


def _model(found: Known, task: Task) -> Any:
    from onnx import TensorProto, helper

    weights, node = _node(found, [task], "X", "Y", "")
    T, B, I, H = task.shape.T, task.shape.B, task.shape.I, task.shape.H  # noqa: E741
    inputs = {"X": (T, B, I), **{f"initial_{name}": (1, B, H) for name in task.states}}
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (T, 1, B, H))
    return _of_nodes([node], inputs, output, weights)


def _stack_model(found: Known, task: Task) -> Any:
    """A node for each layer; what both directions put out is laid side by side between them."""
    from onnx import TensorProto, helper

    shape, layers, nodes, weights, x = task.shape, layers_of(task), [], {}, "X"
    T, B, H, D = shape.T, shape.B, shape.H, shape.directions
    inputs = {"X": (T, B, shape.I)}
    weights["shape"] = np.array([T, B, D * H])
    for layer in range(shape.layers):
        end = str(layer or "")
        own = layers[layer * D : (layer + 1) * D]
        more, node = _node(found, own, x, f"y{layer}", end)
        weights |= more
        inputs |= {f"initial_{name}{end}": (D, B, H) for name in task.states}
        x = "Y" if layer + 1 == shape.layers else f"x{layer + 1}"
        moved = helper.make_node("Transpose", [f"y{layer}"], [f"z{layer}"], perm=(0, 2, 1, 3))
        nodes += [node, moved, helper.make_node("Reshape", [f"z{layer}", "shape"], [x])]
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (T, B, D * H))
    return _of_nodes(nodes, inputs, output, weights)


def _node(
    found: Known, directions: list[Task], x: str, y: str, end: str
) -> tuple[dict[str, Any], Any]:
    """Weights of a layer by name, and its node. end: what their names end in."""
    from onnx import helper

    each = [_weights(found, task) for task in directions]
    weights = {f"{n}{end}": np.concatenate([own[n] for own in each]) for n in each[0]}
    states = [f"initial_{name}{end}" for name in directions[0].states]
    names = [x, f"W{end}", f"R{end}", f"B{end}", "", *states]
    names += [f"P{end}"] if found.peepholes else []
    attributes: dict[str, Any] = {"hidden_size": directions[0].shape.H}
    if len(directions) == 2:
        attributes["direction"] = "bidirectional"
    if _OPERATOR[found.kind] == "GRU":
        attributes["linear_before_reset"] = int(found.kind == "gru")
    return weights, helper.make_node(_OPERATOR[found.kind], names, [y], **attributes)


def _weights(found: Known, task: Task) -> dict[str, Any]:
    def stacked(names: tuple[str, ...]) -> Any:
        return np.concatenate([task.params[names[k]] for k in _ORDER[found.kind]])

    bias = stacked(found.bias)
    hidden_bias = stacked(found.hidden_bias) if found.hidden_bias else np.zeros_like(bias)
    weights = {
        "W": stacked(found.input)[None],
        "R": stacked(found.hidden)[None],
        "B": np.concatenate([bias, hidden_bias])[None],
    }
    if found.peepholes:
        i, f, o = (task.params[name] for name in found.peepholes)
        weights["P"] = np.concatenate([i, o, f])[None]
    return weights


def _of_nodes(
    nodes: list[Any], inputs: Mapping[str, tuple[int, ...]], output: Any, weights: dict[str, Any]
) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "cell",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [output],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
