"""One node of an ONNX graph, computed by the onnx package's reference evaluator.

In: a `Model`, a node, and what it reads.  Out: its results; ArgumentError where they cannot be
computed, or would be too large.
Not here: which nodes are computed (onnx_constants.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Array
from derive.weights.onnx_file import Model

#: Bytes that one result may take.
MOST = 2**29
#: Operators whose results are no larger than what they read, and whose shapes are not inferred.
_BOUNDED = frozenset(
    "NonZero Compress Unique SequenceAt SequenceConstruct SplitToSequence ConcatFromSequence "
    "SequenceLength SequenceInsert".split()
)


def evaluated(opened: Model, node: Any, given: Mapping[str, Any]) -> list[Any]:
    """The results of one node, by the reference evaluator."""
    what = f"{node.op_type} {node.name!r}".removesuffix(" ''")
    try:
        versions = _versions(node, opened.opsets)
        model = _model(node, given, opened.opsets, versions[0])
        room = _room(model, node, given)
        results = [] if room is None or room > MOST else _results(node, given, model, versions)
    except Exception as error:  # operators it lacks, operands that do not fit
        raise ArgumentError(
            f"{what} of {opened.title} cannot be computed",
            facts=(f"{type(error).__name__}: {error}".partition("\n")[0],),
        ) from error
    if room is None or room > MOST:
        size = "an unknown number of" if room is None else f"{room}"
        raise ArgumentError(
            f"{what} of {opened.title} is not computed",
            facts=(f"its result has {size} bytes, and at most {MOST} are read",),
        )
    return [v if isinstance(v, (list, np.ndarray)) else np.asarray(v) for v in results]


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


def filling(model: Model, node: Any) -> Array:
    """What ConstantOfShape repeats."""
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
        return sum(map(bytes_of, given.values()))
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


def bytes_of(value: Any) -> int:
    """Of an array, or a sequence of arrays."""
    return sum(map(bytes_of, value)) if isinstance(value, list) else int(np.asarray(value).nbytes)
