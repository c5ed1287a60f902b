"""An ONNX file opened: its graphs, those inside If, Loop and Scan too, and their recurrent nodes.

In: a path, the bytes of a model or an onnx.ModelProto.  Out: `Model`, with a tree of `Scope`, and
`recurrent`, the recurrent nodes with their places: "graph/if_0/then/LSTM_1" is the second LSTM in
the first branch of the main graph's first If.
Not here: what is constant (onnx_constants.py), what a node says (onnx_nodes.py). Needs the extra
`onnx`.

Calls of functions that the file defines are replaced by the functions' nodes. Arrays that lie in
files of their own are read when they are needed, and from the folder of the model only.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel.convert import kind_text
from derive.kernel.signature import Array

OPERATORS = ("RNN", "GRU", "LSTM")
#: ONNX Runtime's LSTM with weights of eight bits: (domain, operator).
QUANTIZED = ("com.microsoft", "DynamicQuantizeLSTM")
_DOMAINS = ("", "ai.onnx")
_WORDS = {"then_branch": "then", "else_branch": "else"}
#: Nodes that functions may become.
_MOST_NODES = 1_000_000


@dataclass(slots=True, eq=False)
class Scope:
    """One graph. nodes: in their order.  makers: {array: number of the node that computes it}.
    children: {number of a node: {attribute: graph}}.  outer: the graph around it, and owner: the
    number of the node there that it belongs to.  order: its inputs in their order, those with a
    constant too."""

    place: str
    outer: Scope | None
    nodes: tuple[Any, ...]
    tensors: Mapping[str, Any]
    sparse: frozenset[str]
    inputs: frozenset[str]
    outputs: tuple[str, ...]
    makers: Mapping[str, int]
    order: tuple[str, ...] = ()
    owner: int = -1
    children: dict[int, dict[str, Scope]] = field(default_factory=dict)

    def home(self, name: str) -> Scope | None:
        """The graph, this one or one around it, that has the array."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.tensors or name in scope.makers or name in scope.inputs:
                return scope
            if name in scope.sparse:
                return scope
            scope = scope.outer
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """title: how messages speak of it.  folder: where arrays outside the file lie; None where the
    model came without one.  opsets: {domain: version}."""

    title: str
    folder: str | None
    opsets: Mapping[str, int]
    main: Scope

    def array(self, tensor: Any) -> Array:
        """A tensor of the file, or of a file beside it."""
        from onnx import numpy_helper

        tensor = self._complete(tensor) if tensor.data_location == tensor.EXTERNAL else tensor
        try:
            found: Array = numpy_helper.to_array(tensor)
            return found
        except Exception as error:  # its type and its bytes may lead to any
            raise ArgumentError(
                f"the tensor {tensor.name!r} of {self.title} cannot be read",
                facts=(f"{type(error).__name__}: {error}",),
            ) from error

    def _complete(self, tensor: Any) -> Any:
        """A copy of the tensor with the bytes that lie in another file."""
        from onnx import TensorProto
        from onnx.external_data_helper import load_external_data_for_tensor

        keys = {entry.key: entry.value for entry in tensor.external_data}
        location = keys.get("location", "")
        what = f"the tensor {tensor.name!r} of {self.title} lies in the file {location!r}"
        if self.folder is None:
            raise ArgumentError(
                f"{what}, and the model was given without a folder",
                hint="derive.weights.from_onnx(path), with that file beside it",
            )
        path = os.path.join(self.folder, location)
        if not os.path.isfile(path):
            raise ArgumentError(
                f"{what}, which is missing",
                facts=(f"looked for: {path}",),
                hint=f"put it at {path}",
            )
        length = keys.get("length", "0")
        if not length.isdigit() or int(length) > os.path.getsize(path):
            raise ArgumentError(
                f"{what}, which is too short",
                facts=(f"{length} bytes are said to be there, of {os.path.getsize(path)}",),
            )
        copy = TensorProto()
        copy.CopyFrom(tensor)
        try:
            load_external_data_for_tensor(copy, self.folder)
        except Exception as error:  # paths that leave the folder, offsets that are no numbers
            raise ArgumentError(
                f"{what}, which cannot be read", facts=(f"{type(error).__name__}: {error}",)
            ) from error
        return copy


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One recurrent node. text: "graph/LSTM_0".  file: its path, "" for a model without one."""

    scope: Scope
    node: Any
    text: str
    file: str

    @property
    def name(self) -> str:
        return str(self.node.name or next(iter(self.node.output), ""))

    @property
    def quantized(self) -> bool:
        return (self.node.domain, self.node.op_type) == QUANTIZED

    @property
    def operator(self) -> str:
        return "LSTM" if self.quantized else str(self.node.op_type)

    @property
    def title(self) -> str:
        inside = f" at {self.text}" if self.text.count("/") > 1 else ""
        file = f" of {self.file}" if self.file else ""
        return f"the {self.node.op_type} node {self.name!r}{inside}{file}"


def open_model(model: Any) -> Model:
    """ArgumentError where it is no ONNX model, ArgumentTypeError where it is nothing to read."""
    onnx = _onnx()
    if isinstance(model, onnx.ModelProto):
        proto, title, folder = model, "the model", None
    elif isinstance(model, bytes):
        title, folder = f"a model of {len(model)} bytes", None
        proto = _parsed(onnx, model, f"{len(model)} bytes")
    elif isinstance(model, (str, os.PathLike)):
        title = os.fsdecode(model)
        folder = os.path.dirname(title) or "."
        try:
            with open(title, "rb") as file:
                data = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ArgumentError(f"{title} cannot be read: {reason}") from error
        proto = _parsed(onnx, data, title)
    else:
        raise ArgumentTypeError(
            f"a model is a path, bytes or an onnx.ModelProto, not {kind_text(model)}"
        )
    proto = _without_functions(onnx, proto, title)
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    try:
        main = _scope(proto.graph, "graph", None)
    except ArgumentError as error:
        raise ArgumentError(f"{title} cannot be read", facts=(error.what,)) from error
    return Model(title, folder, opsets, main)


def recurrent(model: Model) -> tuple[Place, ...]:
    """The RNN, GRU, LSTM and DynamicQuantizeLSTM nodes of all graphs."""
    return tuple(place for place in _all_places(model) if _is_known(place.node))


def strangers(model: Model) -> tuple[str, ...]:
    """Nodes of other operators whose names say that they are recurrent, in words."""
    found = Counter(
        f"{place.node.domain or 'ai.onnx'}.{place.node.op_type}"
        for place in _all_places(model)
        if not _is_known(place.node)
    )
    return tuple(f"{count} of the operator {name}" for name, count in found.items())


def _is_known(node: Any) -> bool:
    return (node.domain in _DOMAINS and node.op_type in OPERATORS) or (
        (node.domain, node.op_type) == QUANTIZED
    )


def _all_places(model: Model) -> Iterator[Place]:
    return _places(model.main, "" if model.folder is None else model.title)


def _places(scope: Scope, file: str) -> Iterator[Place]:
    counts: Counter[str] = Counter()
    for number, node in enumerate(scope.nodes):
        kind = node.op_type
        if any(word in kind.upper() for word in OPERATORS):
            yield Place(scope, node, f"{scope.place}/{kind}_{counts[kind]}", file)
        counts[kind] += 1
        for child in scope.children.get(number, {}).values():
            yield from _places(child, file)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise DeriveError(
            "reading an ONNX file needs the package onnx", hint='pip install "derive-kernels[onnx]"'
        ) from error
    return onnx


def _parsed(onnx: Any, data: bytes, what: str) -> Any:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's own classes
        raise ArgumentError(
            f"{what} is no ONNX file", facts=(f"{type(error).__name__}: {error}",)
        ) from error
    if not proto.HasField("graph"):
        raise ArgumentError(f"{what} is no ONNX file", facts=("there is no graph in it",))
    return proto


def _without_functions(onnx: Any, proto: Any, title: str) -> Any:
    """The model with calls of its own functions replaced by their nodes."""
    if not proto.functions:
        return proto
    sizes: dict[tuple[str, str], int] = {}
    for function in proto.functions:  # a function may call those before it
        nodes = [sizes.get((node.domain, node.op_type), 1) for node in function.node]
        sizes[function.domain, function.name] = sum(nodes)
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in proto.graph.node)
    if max(total, *sizes.values()) > _MOST_NODES:
        raise ArgumentError(
            f"the functions of {title} are too large",
            facts=(f"their calls are {total} nodes, and at most {_MOST_NODES} are read",),
        )
    from onnx import inliner

    try:
        return inliner.inline_local_functions(proto)
    except Exception as error:  # functions that call themselves, opsets that disagree
        raise ArgumentError(
            f"the functions of {title} cannot be read", facts=(f"{type(error).__name__}: {error}",)
        ) from error


def _check_text(graph: Any, place: str) -> None:
    """protobuf gives bytes for what is no UTF-8."""
    for node in graph.node:
        words = (node.op_type, node.domain, node.name, *node.input, *node.output)
        words += tuple(attribute.name for attribute in node.attribute)
        if not all(isinstance(word, str) for word in words):
            raise ArgumentError(f"{place} has a node with a name that is no text")
    named = (*graph.initializer, *graph.input, *graph.output)
    if not all(isinstance(each.name, str) for each in named):
        raise ArgumentError(f"{place} has an array with a name that is no text")


def _scope(graph: Any, place: str, outer: Scope | None, owner: int = -1) -> Scope:
    nodes = tuple(graph.node)
    _check_text(graph, place)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    scope = Scope(
        place=place,
        outer=outer,
        nodes=nodes,
        tensors=tensors,
        sparse=frozenset(sparse.values.name for sparse in graph.sparse_initializer),
        inputs=frozenset(value.name for value in graph.input) - set(tensors),
        outputs=tuple(value.name for value in graph.output),
        makers={name: k for k, node in enumerate(nodes) for name in node.output if name},
        order=tuple(value.name for value in graph.input),
        owner=owner,
    )
    counts: Counter[str] = Counter()
    for number, node in enumerate(nodes):
        inner = f"{place}/{node.op_type.lower()}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        for attribute in sorted(node.attribute, key=lambda a: a.name == "else_branch"):
            graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for k, child in enumerate(graphs):
                word = _WORDS.get(attribute.name, attribute.name) + (f"_{k}" if k else "")
                found = scope.children.setdefault(number, {})
                found[word] = _scope(child, f"{inner}/{word}", scope, number)
    return scope
