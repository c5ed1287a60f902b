"""derive::forward in torch.onnx.export: a function of the model for each cell.

In: nothing.  Out: `onnx_translations()`, a custom_translation_table.
Not here: the nodes of a cell (emit/onnx/), models of cells alone (onnx/).

Needs the packages onnxscript and onnx, which torch.onnx.export needs as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

import derive.torch.operators  # noqa: F401
from derive.emit.onnx.nodes import Nodes
from derive.emit.onnx.recurrence import ROWS, SHARED, STEPS, Known, Loop
from derive.errors import ArgumentError, DeriveError
from derive.torch.engine import Engine, engine_of_key

DOMAIN = "derive"
#: torch.onnx.export builds models of this version, and converts them afterwards.
OPSET = 18


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For torch.onnx.export(module, args, dynamo=True, custom_translation_table=...): a module
    that holds a derive.torch.RNN, LSTM, GRU, SimpleRNN or Cell becomes an ONNX model, in which
    each cell is a function in the domain "derive", or the nodes of that function where the
    exporter puts them in its place. The widths of the module are those of the model; T and B stay
    open where `dynamic_shapes` says so.
    """
    try:
        import onnx_ir  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise DeriveError(
            "torch.onnx.export needs the package onnxscript", hint="pip install onnxscript"
        ) from error
    return {torch.ops.derive.forward.default: _translated}


def _translated(
    key: Any, params: Any, inputs: Any, states: Any, lengths: Any = None, reverse: Any = False,
    training: Any = False,
) -> Any:  # fmt: skip
    """Adds the function and a node that calls it to what is being exported."""
    import onnx_ir as ir
    import onnxscript

    engine = engine_of_key(key)
    recorder: Any = onnxscript.evaluator.default()
    shapes = [[int(length) for length in value.shape] for value in params]
    real = inputs[0].dtype.numpy()
    proto = _function(engine, shapes, real, lengths is not None, bool(reverse))
    function = ir.serde.deserialize_function(proto)
    recorder.functions[function.identifier()] = function
    operands = [*inputs, *([lengths] if lengths is not None else []), *states, *params]
    node = ir.Node(DOMAIN, proto.name, operands, num_outputs=len(proto.output))
    recorder.nodes.append(node)
    if not training:
        return list(node.outputs)
    # What backward would need, which nothing in an exported model reads.
    unread = ir.Node("", "Identity", [inputs[0]], num_outputs=1)
    recorder.nodes.append(unread)
    return [*node.outputs, *unread.outputs]


def _function(
    engine: Engine, shapes: Sequence[Sequence[int]], real: Any, lengths: bool, reverse: bool
) -> Any:
    """A FunctionProto of inputs, lengths, states and stacked parameters."""
    from onnx import helper, numpy_helper

    cell = engine.cell
    sizes = _sizes(engine, shapes)
    nodes = Nodes(real, OPSET)
    stacked = [f"params_{k}" for k in range(len(shapes))]
    nodes.taken.update({*cell.inputs, *cell.states, *cell.params, "lengths", *stacked})
    first = next(iter(cell.inputs))
    steps = nodes.node("Shape", first, start=0, end=1)
    rows = nodes.node("Shape", first, start=1, end=2)
    given = {n: Known(n, ROWS if n in cell.checked.once else STEPS) for n in cell.inputs}
    given |= {state: Known(state, ROWS) for state in cell.states}
    names = list(cell.params)
    for group, whole in zip(engine.groups, stacked, strict=True):
        start = 0
        for place in group:
            end = start + sizes[names[place]]
            bounds = (nodes.integers(n) for n in (start, end, 0))
            part = whole if len(group) == 1 else nodes.node("Slice", whole, *bounds)
            given[names[place]] = Known(part, SHARED)
            start = end
    loop = Loop(
        cell.step, nodes, sizes["dims"], given, rows, steps, "lengths" if lengths else "", reverse
    )
    outputs, last = loop.write()
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in nodes.all_tensors.items()
    ]
    taken = [*cell.inputs, *(["lengths"] if lengths else []), *cell.states, *stacked]
    mark = repr((engine.key, shapes, str(real), lengths, reverse)).encode()
    return helper.make_function(
        DOMAIN, f"{cell.name}_{hashlib.sha256(mark).hexdigest()[:8]}", taken, [*outputs, *last],
        [*constants, *nodes.nodes], [helper.make_opsetid("", OPSET)], doc_string=cell.to_text(),
    )  # fmt: skip


def _sizes(engine: Engine, shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """{"dims": lengths of dimensions}, and of each parameter the length of its first axis."""
    cell = engine.cell
    if not cell.checked.is_plain or not cell.inputs:
        raise ArgumentError(
            f"{cell.name} has arrays that a step knows in parts, once or fixed",
            hint="derive.onnx.export(cell), which takes every cell",
        )
    names = list(cell.params)
    dims: dict[str, int] = {}
    for _ in range(2):
        for group, shape in zip(engine.groups, shapes, strict=True):
            axes = [cell.params[names[place]] for place in group]
            for dim, length in zip(axes[0][1:], shape[1:], strict=True):
                if isinstance(dim, str):
                    dims[dim] = length
            if len({own[0] for own in axes}) == 1 and isinstance(axes[0][0], str):
                dims[axes[0][0]] = shape[0] // len(axes)
    found: dict[str, Any] = {"dims": dims}
    for name, shape_ in cell.params.items():
        found[name] = dims[shape_[0]] if isinstance(shape_[0], str) else shape_[0]
    return found
