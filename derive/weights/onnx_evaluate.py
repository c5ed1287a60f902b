"""One node of an ONNX graph, computed by the onnx package's reference evaluator.

In: a `Model`, a node, and what it reads.  Out: its results; ArgumentError where they cannot be
computed, or would be too large.
Not here: which nodes are computed (onnx_constants.py), what they take (onnx_sizes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Array
from derive.weights.onnx_file import Model
from derive.weights.onnx_sizes import cost_of, is_text

#: Bytes that one node may take for its results, and meanwhile.
MOST = 2**29


def evaluated(
    opened: Model, node: Any, given: Mapping[str, Any], spend: Callable[[int], None]
) -> list[Any]:
    """The results of one node, by the reference evaluator. spend: is told of the work before it
    is done, and may refuse it."""
    what = f"{node.op_type} {node.name!r}".removesuffix(" ''")
    try:
        if any(map(is_text, given.values())):
            raise ValueError("it reads text, which no weight is made of")
        versions = _versions(node, opened.opsets)
        model = _model(node, given, opened.opsets, versions[0])
        cost = cost_of(model, node, given)
    except Exception as error:  # operators that are none, operands that do not fit
        raise _uncomputed(opened, what, error) from error
    if cost is None or cost.room > MOST:
        size = "an unknown number of" if cost is None else f"{cost.room}"
        raise ArgumentError(
            f"{what} of {opened.title} is not computed",
            facts=(f"that takes {size} bytes, and a node may have {MOST}",),
        )
    spend(cost.work)
    try:
        results = _results(node, given, model, versions)
        found = [v if isinstance(v, (list, np.ndarray)) else np.asarray(v) for v in results]
        if any(map(is_text, found)):
            raise ValueError("its result is text, which no weight is made of")
    except Exception as error:  # operators that the evaluator lacks, operands that do not fit
        raise _uncomputed(opened, what, error) from error
    return found


def _uncomputed(opened: Model, what: str, error: Exception) -> ArgumentError:
    return ArgumentError(
        f"{what} of {opened.title} cannot be computed",
        facts=(f"{type(error).__name__}: {error}".partition("\n")[0],),
    )


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
