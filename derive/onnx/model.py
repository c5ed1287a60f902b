"""export: a cell with its parameters as an ONNX model.

In: a Cell, parameters, and what the model shall have.  Out: an onnx.ModelProto, checked, and a
file.
Not here: parameters and sizes (given.py), nodes (scan.py, operator.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError, DeriveError
from derive.kernel.convert import closest, kind_text, to_count, to_flag, to_path
from derive.layers.checkpoint import digest
from derive.layers.sizes import sizes_of_layers
from derive.onnx.given import Stack, stack_of
from derive.onnx.operator import drawn_operator
from derive.onnx.scan import Drawn, drawn

FORMS = ("scan", "function", "operator")
#: Operators of this version are used as they are from here on.
LEAST_OPSET = 15
DOMAIN = "derive"


def export(
    cell: Cell,
    path: str | os.PathLike[str] | None = None,
    *,
    params: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    num_layers: int = 1,
    bidirectional: bool = False,
    lengths: bool = False,
    reverse: bool = False,
    initial_states: bool = True,
    form: str = "scan",
    opset: int = 17,
    dtype: Any = "float32",
    seed: int = 0,
    **sizes: int,
) -> Any:
    """The onnx.ModelProto of a cell over sequences; written to `path`, if there is one.

    Inputs: those of the cell [T, B, width], its initial states [B, width] (with
    initial_states=False zeros, or the learned start), and with lengths=True `lengths` [B] of
    int64. Outputs: those of the cell [T, B, width] by their keys, and NAME_last [B, width] of each
    state. T and B are open. With layers or directions, states are [layers * directions, B, width],
    and the output is that of the last layer, both directions side by side, as layers.RNN has it.

    params: {name: array}, or a file of them; names as layers.RNN's where there are layers. Left
    out, those of kernel.init(seed=seed), for which `sizes` has the lengths: I=8, H=16.
    form: "scan", a Scan over the equations; "function", the same as a function of the model,
    which Netron shows as one node; "operator", LSTM, GRU or RNN of ONNX, where the cell is proved
    to be one.  dtype: "float32" or "float64".

    Tensors of the parameters have the parameters' names. The model's doc string is the cell's
    text, `derive.digest` in its metadata the digest of the equations. ArgumentError where a cell
    has no such model; the model is checked with onnx.checker before it is returned.
    """
    onnx = _onnx()
    if not isinstance(cell, Cell):
        raise ArgumentTypeError(
            f"cell must be a derive.Cell, not {kind_text(cell)}", hint="derive.cells.lstm()"
        )
    target = None if path is None else to_path(path, "path")
    if form not in FORMS:
        raise ArgumentError(f"form is {', '.join(FORMS)}, not {form!r}", hint=closest(form, FORMS))
    name = _dtype(dtype)
    latest = onnx.defs.onnx_opset_version()
    if to_count(opset, "opset", LEAST_OPSET) > latest:
        raise ArgumentError(f"opset = {opset} is too large", facts=(f"at most {latest}",))
    if lengths and "lengths" in {*cell.inputs, *cell.states, *cell.params}:
        raise ArgumentError(
            f"{cell.name} has an array called lengths, as the rows' lengths would be",
            hint="rename it in the cell, or leave out lengths=True",
        )
    layers = to_count(num_layers, "num_layers", 1, 10_000)
    directions = 1 + to_flag(bidirectional, "bidirectional")
    options = {
        "lengths": to_flag(lengths, "lengths"),
        "reverse": to_flag(reverse, "reverse"),
        "states": to_flag(initial_states, "initial_states"),
    }
    if layers * directions > 1 and len(cell.inputs) != 1:
        raise ArgumentError(
            f"{cell.name} has {len(cell.inputs)} inputs, and layers pass on one",
            facts=(f"inputs: {', '.join(cell.inputs) or 'none'}",),
        )
    stack = stack_of(cell, params, sizes, layers, directions, name, seed)
    _check_stack(stack)
    draw = drawn_operator if form == "operator" else drawn
    model = _model(onnx, stack, draw(stack, name, opset, **options), opset, form)
    try:
        onnx.checker.check_model(model, full_check=True)
    except ValueError as error:  # of more than 2 GiB, which protobuf cannot hold
        raise ArgumentError(
            f"the model of {cell.name} cannot be checked", facts=(str(error).partition("\n")[0],)
        ) from error
    if target is not None:
        _write(onnx, model, target)
    return model


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise DeriveError(
            "an ONNX model needs the package onnx", hint='pip install "derive-kernels[onnx]"'
        ) from error
    return onnx


def _dtype(dtype: Any) -> str:
    try:
        name = str(np.dtype(object if dtype is None else dtype).name)
    except TypeError:
        name = "object"
    if name not in ("float32", "float64"):
        raise ArgumentTypeError(f"dtype is float32 or float64, not {dtype!r}")
    return name


def _check_stack(stack: Stack) -> None:
    """Upper layers read what lower ones put out."""
    if stack.is_one:
        return
    cell = stack.cell
    wanted = sizes_of_layers(cell, stack.sizes[0], stack.layers, stack.directions)
    for place, sizes in enumerate(stack.sizes):
        own = wanted[place // stack.directions]
        if dict(sizes) != own:
            raise ArgumentError(
                f"layers of {cell.name} do not fit on each other",
                facts=(f"the parameters that end in {stack.suffix(place)} are for {dict(sizes)}, "
                       f"and what is below for {own}",),
            )  # fmt: skip


def _model(onnx: Any, stack: Stack, found: Drawn, opset: int, form: str) -> Any:
    helper, cell = onnx.helper, stack.cell
    real = helper.np_dtype_to_tensor_dtype(found.nodes.real)

    def info(name: str, shape: list[Any]) -> Any:
        kind = onnx.TensorProto.INT64 if name in found.integers else real
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [info(name, shape) for name, shape in found.inputs.items()]
    outputs = [info(name, shape) for name, shape in found.outputs.items()]
    tensors = {
        name: onnx.numpy_helper.from_array(array, name)
        for name, array in found.nodes.all_tensors.items()
    }
    nodes, functions = found.nodes.nodes, []
    imports = [helper.make_opsetid("", opset)]
    if form == "function":
        constants = [n for n in tensors if n not in found.params]
        made = [helper.make_node("Constant", [], [n], value=tensors.pop(n)) for n in constants]
        taken = [*found.inputs, *found.params]
        functions = [
            helper.make_function(
                DOMAIN, cell.name, taken, list(found.outputs), [*made, *nodes], imports,
                doc_string=cell.to_text(),
            )
        ]  # fmt: skip
        nodes = [
            helper.make_node(cell.name, taken, list(found.outputs), name=cell.name, domain=DOMAIN)
        ]
        imports = [*imports, helper.make_opsetid(DOMAIN, 1)]
    equations = "\n".join(f"{eq.lhs} = {eq.rhs}" for eq in cell.equations)
    graph = helper.make_graph(
        nodes, cell.name, inputs, outputs, list(tensors.values()), doc_string=equations
    )
    model = helper.make_model(
        graph,
        functions=functions,
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports[:1]),
        producer_name="derive",
        doc_string=cell.to_text(),
    )
    helper.set_model_props(
        model,
        {
            "derive.digest": digest(cell),
            "derive.layers": str(stack.layers),
            "derive.directions": str(stack.directions),
        },
    )
    return model


def _write(onnx: Any, model: Any, path: str) -> None:
    part = f"{path}.{os.getpid()}.part"  # what was there stays until all is written
    try:
        with open(part, "wb") as file:
            file.write(model.SerializeToString())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part)
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from error
