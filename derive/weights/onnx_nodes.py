"""An ONNX file's RNN, GRU or LSTM node, read: attributes, weights, constants.

In: a path, the bytes of a model or an onnx.ModelProto, and which node.  Out: `Node`.
Not here: what the attributes mean for a cell (onnx_cells.py). Needs the extra `onnx`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel.convert import closest, kind_text
from derive.kernel.signature import Array, Arrays

OPERATORS = ("RNN", "GRU", "LSTM")
#: Inputs in their order; the LSTM has two more.
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_DIRECTIONS = {"forward": ("forward",), "reverse": ("reverse",)} | {
    "bidirectional": ("forward", "reverse")
}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One recurrent node.

    weights: W, R and, where given, B and P, with their axis of directions.  constants:
    sequence_lens, initial_h, initial_c where the file has them.  activations: their names, all
    directions one after the other, empty for the default; alpha and beta: values in the order
    in which activations take them.  clip: 0 for none.
    """

    operator: str
    name: str
    weights: Arrays
    constants: Arrays
    directions: tuple[str, ...]
    activations: tuple[str, ...]
    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    clip: float
    input_forget: bool
    linear_before_reset: bool
    layout: int

    @property
    def flags(self) -> dict[str, Any]:
        """The options of derive.weights.load that the node decides."""
        if self.operator == "LSTM":
            return {"input_forget": self.input_forget}
        return {"linear_before_reset": self.linear_before_reset} if self.operator == "GRU" else {}


def read_node(model: Any, name: str | None = None) -> Node:
    """The only recurrent node of a model, or the one of that name (or that writes that output)."""
    graph = _model(model).graph
    nodes = [node for node in graph.node if node.op_type in OPERATORS and not node.domain]
    return _read(_checked(_chosen(nodes, name)), _constants(graph))


def _checked(node: Any) -> Any:
    """The node, whose attributes have the names and types of its operator."""
    import onnx

    try:
        onnx.checker.check_node(node)
    except Exception as error:  # the checker's own class, and UnicodeDecodeError
        raise ArgumentError(
            f"{_title(node)} is no {node.op_type} of ONNX", facts=(str(error).partition("\n")[0],)
        ) from error
    return node


def _model(model: Any) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise DeriveError(
            "reading an ONNX file needs the package onnx", hint='pip install "derive-kernels[onnx]"'
        ) from error
    if isinstance(model, onnx.ModelProto):
        return model
    if not isinstance(model, (bytes, str, os.PathLike)):
        raise ArgumentTypeError(
            f"a model is a path, bytes or an onnx.ModelProto, not {kind_text(model)}"
        )
    what = f"{len(model)} bytes" if isinstance(model, bytes) else os.fspath(model)
    try:
        return onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(what)
    except OSError as error:
        raise ArgumentError(f"{what} cannot be read: {error.strerror}") from error
    except Exception as error:  # protobuf's own classes
        raise ArgumentError(
            f"{what} is no ONNX file", facts=(f"{type(error).__name__}: {error}",)
        ) from error


def _chosen(nodes: list[Any], name: str | None) -> Any:
    names = [_name(node) for node in nodes]
    if name is not None:
        for node in nodes:
            if name in (node.name, *node.output):
                return node
        raise ArgumentError(
            f"the model has no recurrent node {name!r}",
            facts=(f"it has: {', '.join(names) or 'none'}",),
            hint=closest(name, names),
        )
    if len(nodes) != 1:
        raise ArgumentError(
            f"the model has {len(nodes)} RNN, GRU and LSTM nodes",
            facts=(f"they are: {', '.join(names)}",) if nodes else (),
            hint=f"node={names[0]!r}" if nodes else None,
        )
    return nodes[0]


def _constants(graph: Any) -> Arrays:
    """Initialisers and Constant nodes, and what Identity nodes make of them."""
    from onnx import numpy_helper

    def read(tensor: Any, name: str) -> Array:
        try:
            array: Array = numpy_helper.to_array(tensor)
            return array
        except Exception as error:  # whatever its element type and its bytes lead to
            raise ArgumentError(
                f"the tensor {name!r} cannot be read", facts=(f"{type(error).__name__}: {error}",)
            ) from error

    found = {tensor.name: read(tensor, tensor.name) for tensor in graph.initializer}
    for node in graph.node:
        if not node.output:
            continue
        if node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]:
            found[node.output[0]] = read(node.attribute[0].t, node.output[0])
        if node.op_type == "Identity" and node.input and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _read(node: Any, constants: Arrays) -> Node:
    given = _attributes(node)
    direction = given.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise ArgumentError(
            f"direction of {_title(node)} cannot be {direction!r}",
            facts=(f"it is {', '.join(_DIRECTIONS)}",),
        )
    arrays = dict(_inputs(node, constants))
    weights: Arrays = {name: arrays.pop(name) for name in ("W", "R", "B", "P") if name in arrays}
    _check_sizes(node, given, weights, len(_DIRECTIONS[direction]))
    return Node(
        operator=node.op_type,
        name=_name(node),
        weights=weights,
        constants=arrays,
        directions=_DIRECTIONS[direction],
        activations=tuple(given.get("activations", ())),
        alpha=tuple(given.get("activation_alpha", ())),
        beta=tuple(given.get("activation_beta", ())),
        clip=float(given.get("clip", 0.0)),
        input_forget=bool(given.get("input_forget", 0)),
        linear_before_reset=bool(given.get("linear_before_reset", 0)),
        layout=int(given.get("layout", 0)),
    )


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    def text(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return [text(v) for v in value] if isinstance(value, (list, tuple)) else value

    return {a.name: text(helper.get_attribute_value(a)) for a in node.attribute}


def _inputs(node: Any, constants: Arrays) -> Iterator[tuple[str, Array]]:
    """The inputs that the file holds. Weights must be among them."""
    for name, source in zip(_INPUTS, node.input, strict=False):
        if not source or name == "X":
            continue
        if source in constants:
            yield name, constants[source]
        elif name in ("W", "R", "B", "P"):
            raise ArgumentError(
                f"{name} of {_title(node)} is not in the file",
                facts=(f"it is computed, or given at run time, as {source!r}",),
                hint="derive.weights.load(cell, 'onnx', {'W': ..., 'R': ..., 'B': ...})",
            )


def _check_sizes(node: Any, given: dict[str, Any], weights: Arrays, directions: int) -> None:
    if missing := [name for name in ("W", "R") if name not in weights]:
        raise ArgumentError(f"{_title(node)} has no {missing[0]}")
    units = weights["R"].shape[-1]
    if given.get("hidden_size", units) != units:
        raise ArgumentError(
            f"hidden_size of {_title(node)} is {given['hidden_size']}, and R has {units} columns"
        )
    for name, array in weights.items():
        if array.shape[0] != directions:
            raise ArgumentError(
                f"{name} of {_title(node)} has {array.shape[0]} directions, "
                f"and direction says {directions}"
            )


def _title(node: Any) -> str:
    return f"the {node.op_type} node {_name(node)!r}"


def _name(node: Any) -> str:
    return str(node.name or next(iter(node.output), ""))


def as_layout(array: Array, layout: int) -> Array:
    """Y_h, Y_c and initial states with batch and direction in the order of `layout`."""
    return np.swapaxes(array, 0, 1) if layout else array
