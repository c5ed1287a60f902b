"""What a graph computes from constants alone, as arrays.

In: a `Model`, and the name of an array in one of its graphs.  Out: its value; or what it is
repeated from, where only its shape is open; or where it comes from, in words.
Not here: which arrays are asked for (onnx_nodes.py).

Any operator that the onnx package's reference evaluator knows is computed, one node at a time, and
only where all that it reads is constant. The shape of a result is inferred before it is computed,
so that a small file cannot ask for a large array. An If whose condition is constant is the branch
that it takes; Loop and Scan are not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Array
from derive.weights.onnx_file import Model, Scope

#: Bytes that one result, and all results together, may take.
MOST, MOST_TOGETHER = 2**29, 2**32
#: Operators whose results differ from call to call.
_RANDOM = frozenset(
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli "
    "Dropout".split()
)
#: Operators whose results are no larger than what they read, and whose shapes are not inferred.
_BOUNDED = frozenset(
    "NonZero Compress Unique SequenceAt SequenceConstruct SplitToSequence ConcatFromSequence "
    "SequenceLength SequenceInsert".split()
)
#: Operators that only repeat what they read, and those that move or choose its elements.
_REPEATING = frozenset({"Expand", "Tile"})
_MOVING = frozenset(
    "Identity Slice Gather Reshape Squeeze Unsqueeze Split Transpose Flatten".split()
)

Key = tuple[int, str]


class Constants:
    """The constants of one model. given: arrays that are known besides, by name."""

    def __init__(self, model: Model, given: Mapping[str, Array] | None = None) -> None:
        self._model = model
        self._given = dict(given or {})
        self._known: dict[Key, bool] = {}
        self._values: dict[Key, Any] = {}
        self._bytes = 0

    def clear(self) -> None:
        """Forget the arrays."""
        self._values.clear()
        self._bytes = 0

    def value(self, scope: Scope, name: str) -> Array | None:
        """The array, None where it is not constant; ArgumentError where it cannot be computed."""
        try:
            if not self._constant(scope, name):
                return None
            found = self._computed(scope, name)
        except RecursionError as error:
            raise ArgumentError(
                f"{name!r} of {self._model.title} hangs on conditions nested too deeply"
            ) from error
        if not isinstance(found, np.ndarray):
            raise ArgumentError(f"{name!r} of {self._model.title} is no array")
        return found

    def repeated(self, scope: Scope, name: str) -> Array | None:
        """The constant that an array of open shape repeats: broadcast it to the shape. None where
        there is no such constant."""
        chain: list[tuple[Scope, Any]] = []
        while not self._constant(scope, name):
            home = scope.home(name)
            if home is None or name not in home.makers or len(chain) > len(home.nodes):
                return None
            node = home.nodes[home.makers[name]]
            kind = node.op_type if node.domain in ("", "ai.onnx") else ""
            if kind not in _REPEATING | _MOVING | {"Cast", "ConstantOfShape"}:
                return None
            chain.append((home, node))
            if kind == "ConstantOfShape":
                return self._along(_filling(self._model, node), chain[:-1])
            scope, name = home, node.input[0]
        found = self.value(scope, name)
        return None if found is None else self._along(found, chain)

    def source(self, scope: Scope, name: str) -> str:
        """Where an array comes from, in words."""
        home = scope.home(name)
        if home is None:
            return f"{name!r}, which is nowhere in the model"
        if name in home.tensors:
            return f"the constant {name!r}"
        if name in home.sparse:
            return f"the sparse constant {name!r}, which is not read"
        if name in home.makers:
            node = home.nodes[home.makers[name]]
            return f"{name!r}, which {node.op_type} {node.name!r} computes".replace(" ''", "")
        return f"the input {name!r} of {'the model' if home.outer is None else home.place}"

    # --- what is constant ---------------------------------------------------------------------

    def _constant(self, scope: Scope, name: str) -> bool:
        """Whether an array hangs on constants alone. A stack of its own: graphs may be deep."""
        waiting = [(scope, name)]
        opened: set[Key] = set()
        while waiting:
            scope, name = waiting[-1]
            home = scope.home(name)
            if home is None:
                return False
            key = (id(home), name)
            if key in self._known:
                waiting.pop()
                continue
            if name in self._given or name in home.tensors:
                self._known[key] = True
                continue
            if name not in home.makers:
                self._known[key] = False
                continue
            needed = self._needed(home, home.makers[name], name)
            if needed is None:
                self._known[key] = False
                continue
            states = [self._state(inner, other) for inner, other in needed]
            if False in states:
                self._known[key] = False
            elif None not in states:
                self._known[key] = True
            else:
                opened.add(key)
                missing = [n for n, state in zip(needed, states, strict=True) if state is None]
                if any((id(inner.home(other)), other) in opened for inner, other in missing):
                    raise ArgumentError(f"{name!r} of {self._model.title} is computed from itself")
                waiting += missing
        return bool(self._state(scope, name))

    def _state(self, scope: Scope, name: str) -> bool | None:
        home = scope.home(name)
        return False if home is None else self._known.get((id(home), name))

    def _needed(self, home: Scope, number: int, name: str) -> list[tuple[Scope, str]] | None:
        """What a node reads; None where its results are never constant."""
        node = home.nodes[number]
        if node.op_type in _RANDOM:
            return None
        read = [(home, operand) for operand in node.input if operand]
        children = home.children.get(number)
        if not children:
            return read
        if node.op_type != "If" or len(read) != 1:
            return None
        if self._state(*read[0]) is not True:
            return read
        taken = self._taken(home, number)
        place = list(node.output).index(name)
        if taken is None or place >= len(taken.outputs):
            return None
        return [*read, (taken, taken.outputs[place])]

    def _taken(self, home: Scope, number: int) -> Scope | None:
        condition = self._computed(home, home.nodes[number].input[0])
        return home.children[number].get("then" if np.all(condition) else "else")

    # --- values -------------------------------------------------------------------------------

    def _computed(self, scope: Scope, name: str) -> Any:
        """The value of what is constant."""
        waiting = [(scope, name)]
        while waiting:
            scope, name = waiting[-1]
            home = scope.home(name)
            assert home is not None
            key = (id(home), name)
            if key in self._values:
                waiting.pop()
                continue
            if name in self._given:
                self._values[key] = self._given[name]
            elif name in home.tensors:
                self._values[key] = self._model.array(home.tensors[name])
            else:
                number = home.makers[name]
                needed = self._needed(home, number, name) or []
                missing = [n for n in needed if self._value_of(*n) is None]
                if missing:
                    waiting += missing
                elif home.children.get(number):
                    self._values[key] = self._value_of(*needed[-1])
                else:
                    operands = [self._value_of(*each) for each in needed]
                    self._run(home, home.nodes[number], operands)
        return self._value_of(scope, name)

    def _value_of(self, scope: Scope, name: str) -> Any:
        return self._values.get((id(scope.home(name)), name))

    def _run(self, home: Scope, node: Any, operands: Sequence[Any]) -> None:
        names = dict.fromkeys(operand for operand in node.input if operand)
        given = dict(zip([n for n in node.input if n], operands, strict=True))
        results = self._evaluated(node, {name: given[name] for name in names})
        for name, result in zip([n for n in node.output if n], results, strict=True):
            self._values[id(home), name] = result
            self._bytes += _bytes_of(result)
        if self._bytes > MOST_TOGETHER:
            raise ArgumentError(
                f"constants of {self._model.title} are too large",
                facts=(f"computing them takes more than {MOST_TOGETHER >> 30} GiB",),
            )

    def _evaluated(self, node: Any, given: Mapping[str, Any]) -> list[Any]:
        """The results of one node, by the reference evaluator."""
        what = f"{node.op_type} {node.name!r}".removesuffix(" ''")
        try:
            versions = _versions(node, self._model.opsets)
            model = _model(node, given, self._model.opsets, versions[0])
            room = _room(model, node, given)
            results = [] if room is None or room > MOST else _results(node, given, model, versions)
        except Exception as error:  # operators it lacks, operands that do not fit
            raise ArgumentError(
                f"{what} of {self._model.title} cannot be computed",
                facts=(f"{type(error).__name__}: {error}".partition("\n")[0],),
            ) from error
        if room is None or room > MOST:
            size = "an unknown number of" if room is None else f"{room}"
            raise ArgumentError(
                f"{what} of {self._model.title} is not computed",
                facts=(f"its result has {size} bytes, and at most {MOST} are read",),
            )
        return [v if isinstance(v, (list, np.ndarray)) else np.asarray(v) for v in results]

    def _along(self, base: Array, chain: Sequence[tuple[Scope, Any]]) -> Array | None:
        """`base` after the nodes of a chain, last first, none of which may change its elements
        but by choosing whole ones."""
        tiled = False
        for home, node in reversed(chain):
            kind = node.op_type
            if kind == "Cast":
                base = self._evaluated(node, {node.input[0]: base})[0]
            elif kind in _REPEATING | {"Identity"} or base.size == 1:
                tiled |= kind == "Tile"
                base = base if base.size > 1 or kind in _REPEATING else base.reshape(())
            elif kind == "Transpose" and not tiled:
                order = [list(a.ints) for a in node.attribute if a.name == "perm"]
                if not order or len(order[0]) < base.ndim:
                    return None
                padded = base.reshape((1,) * (len(order[0]) - base.ndim) + base.shape)
                base = padded.transpose(order[0])
            elif kind == "Slice" and not tiled and self._slices_whole(home, node, base):
                operands = {n: self.value(home, n) for n in node.input[1:] if n}
                base = self._evaluated(node, {**operands, node.input[0]: base})[0]
            elif kind == "Unsqueeze" and self._at_the_front(home, node):
                pass
            else:
                return None
        return base

    def _slices_whole(self, home: Scope, node: Any, base: Array) -> bool:
        """Whether a Slice cuts only axes whose length the base has."""
        axes = self._axes(home, node, 3)
        others = [n for n in node.input[1:] if n]
        return (
            axes is not None
            and base.ndim == 3
            and all(self._constant(home, n) for n in others)
            and all(-3 <= axis < 3 and base.shape[axis] != 1 for axis in axes)
        )

    def _at_the_front(self, home: Scope, node: Any) -> bool:
        axes = self._axes(home, node, 1)
        return axes is not None and axes == [0]

    def _axes(self, home: Scope, node: Any, place: int) -> list[int] | None:
        for attribute in node.attribute:
            if attribute.name == "axes":
                return list(attribute.ints)
        if len(node.input) <= place or not node.input[place]:
            return None
        found = self.value(home, node.input[place])
        return None if found is None else [int(axis) for axis in np.ravel(found)]


def _versions(node: Any, opsets: Mapping[str, int]) -> list[int]:
    """Versions of an operator that mean the same for this node: the model's, and later ones that
    have its attributes. The evaluator has, of some operators, only the later ones."""
    from onnx import defs

    domain = "" if node.domain == "ai.onnx" else node.domain
    if not defs.has(node.op_type, domain):
        raise ValueError(f"{domain or 'ai.onnx'}.{node.op_type} is no operator of ONNX")
    first = opsets.get(node.domain, opsets.get(domain, defs.onnx_opset_version()))
    used = {attribute.name for attribute in node.attribute}
    found = [first]
    for version in range(first + 1, defs.onnx_opset_version() + 1 if not domain else 0):
        schema = defs.get_schema(node.op_type, version, domain)
        if schema.since_version == version and used <= set(schema.attributes):
            found.append(version)
    return found


def _model(node: Any, given: Mapping[str, Any], opsets: Mapping[str, int], version: int) -> Any:
    """A model of one node."""
    from onnx import helper

    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    inputs = [_info(name, value) for name, value in given.items()]
    graph = helper.make_graph([node], "node", inputs, outputs)
    imports = [helper.make_opsetid(d, v) for d, v in {**opsets, node.domain: version}.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _results(
    node: Any, given: Mapping[str, Any], model: Any, versions: Sequence[int]
) -> Sequence[Any]:
    from onnx.reference import ReferenceEvaluator

    for version in versions:
        for entry in model.opset_import:
            entry.version = version if entry.domain == node.domain else entry.version
        try:
            evaluator = ReferenceEvaluator(model)
        except RuntimeError:  # "No implementation for operator ... and version"
            if version == versions[-1]:
                raise
            continue
        with np.errstate(all="ignore"):
            found: Sequence[Any] = evaluator.run(None, dict(given))
            return found
    raise AssertionError("there is at least one version")


def _filling(model: Model, node: Any) -> Array:
    for attribute in node.attribute:
        if attribute.name == "value":
            return model.array(attribute.t).reshape(())
    return np.zeros((), np.float32)


def _info(name: str, value: Any) -> Any:
    import onnx

    if not isinstance(value, np.ndarray):
        return onnx.helper.make_empty_tensor_value_info(name)
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, value.shape)


def _room(model: Any, node: Any, given: Mapping[str, Any]) -> int | None:
    """Bytes of the results by shape inference; None where it does not tell."""
    import onnx

    small = {
        name: value
        for name, value in given.items()
        if isinstance(value, np.ndarray) and value.size <= 1024 and value.dtype.kind in "iufb"
    }
    known = onnx.ModelProto()
    known.CopyFrom(model)
    known.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in small.items()
    )
    if node.op_type in _BOUNDED:
        return sum(map(_bytes_of, given.values()))
    inferred = onnx.shape_inference.infer_shapes(known, data_prop=True)
    total = 0
    for output in inferred.graph.output:
        shape = output.type.tensor_type
        if not shape.HasField("shape") or any(
            not dim.HasField("dim_value") for dim in shape.shape.dim
        ):
            return None
        kind = onnx.helper.tensor_dtype_to_np_dtype(shape.elem_type)
        total += max(kind.itemsize, 1) * math.prod(dim.dim_value for dim in shape.shape.dim)
    return total


def _bytes_of(value: Any) -> int:
    return sum(map(_bytes_of, value)) if isinstance(value, list) else int(np.asarray(value).nbytes)
