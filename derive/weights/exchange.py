"""load and save: another system's arrays as a cell's parameters, and back.

In: a Cell, the name of a system, arrays or parameters, options.  Out: {parameter: array} or
{the system's name: array}.
Not here: the tables (systems.py), what is exact (transfer.py).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text, read, shape_text
from derive.kernel.signature import Arrays
from derive.weights.array_files import read_arrays
from derive.weights.blocks import Entry, Lengths, dims_of, join, lengths_of, split
from derive.weights.compare import compare, layout_of, misfit
from derive.weights.kinds import converted, kinship
from derive.weights.name_scopes import by_names, global_arrays, local_arrays
from derive.weights.options import (
    check_cell,
    check_prefix,
    float_type,
    is_model,
    options_of,
    system_of,
)
from derive.weights.suggest import fit, renamed
from derive.weights.systems import Layout, System
from derive.weights.traits import Traits, mirrored, traits_of
from derive.weights.transfer import Side, transfer


def load(
    cell: Cell,
    source: str,
    arrays: Any,
    *,
    prefix: str | None = None,
    names: Mapping[str, str] | None = None,
    dtype: Any = None,
    **options: Any,
) -> Arrays:
    """Parameters of `cell` from the arrays of another system.

    source: "tensorflow", "keras", "pytorch", "onnx" or "flax".  arrays: {the system's name:
    array}, or the path of a file of them (.npz, .safetensors, .pt, .h5, .keras); for PyTorch also
    a module, and then all its layers and directions come by the names of layers.RNN; a list as
    layer.get_weights() for Keras, a nested tree for Flax, and for ONNX a file or a model with one
    recurrent node.  prefix: the scope of the arrays, "encoder." or "rnn/lstm_cell/"; left out, it
    is found if only one place fits.  names: {the system's name: what the archive calls it}, where
    it has names of its own.  dtype: float32 or float64, in which biases are added; left out, that
    of the arrays.

    Options, by system:

    - tensorflow: forget_bias, what TensorFlow adds at run time; left out, what the cell adds.
    - pytorch: layer (0; None for torch.nn.LSTMCell and the like), reverse (False).
    - onnx: direction ("forward" or "reverse"), input_forget and linear_before_reset (0 or 1;
      left out, as the cell has it), node (the name of one in a file of several).

    Arrays keep their dtype; the result shares no memory with them. UserWarning where one holds
    NaN or infinity. ArgumentError where the cell is a wrong one, with a hint which one fits,
    where its equations are not proved to be those of its kind, and where the function would
    change.
    """
    check_cell(cell)
    system = system_of(source)
    check_prefix(prefix)
    chosen = options_of(system, options)
    if system.name == "pytorch" and hasattr(arrays, "state_dict"):
        from derive.weights.modules import load_module

        others = {"prefix": prefix, "names": names, "dtype": dtype}
        given = [*options, *(name for name, value in others.items() if value is not None)]
        if given:
            raise ArgumentError(
                f"a module is loaded whole, and {given[0]} was given",
                hint=f'weights.load(cell, "pytorch", module.state_dict(), {given[0]}=...)',
            )
        return load_module(cell, arrays)
    if system.name == "onnx" and is_model(arrays):
        from derive.weights.onnx_nodes import read_node

        node = read_node(arrays, chosen["node"])
        arrays = node.weights
        chosen |= {key: value for key, value in node.flags.items() if chosen[key] is None}
    elif isinstance(arrays, (str, os.PathLike)):
        arrays = read_arrays(os.fspath(arrays))
    kind = None if dtype is None else float_type(dtype)
    if names is not None:
        arrays, prefix = by_names(system, arrays, names, prefix, chosen), ""
    found = local_arrays(system, arrays, prefix, chosen)
    if kind is not None:
        found = {name: array.astype(kind) for name, array in found.items()}
    _mention_nan(found)
    kin = kinship(cell, traits_of(cell))
    own, traits = kin.reference, kin.traits
    layout = layout_of(system, own, traits, chosen, found)
    params = load_layout(system, layout, own, traits, renamed(layout, found), chosen)
    return params if kin.backward is None else converted(kin.backward, own, cell, params)


def _mention_nan(arrays: Arrays) -> None:
    """A warning that names the arrays in which something is no number."""
    strange = [n for n, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]
    if strange:
        text = f"NaN or infinity in {', '.join(strange)}: taken over as it is"
        warnings.warn(text, UserWarning, stacklevel=3)


def save(
    cell: Cell,
    target: str,
    params: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    prefix: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Arrays of another system from the parameters of `cell`, by that system's own names.

    This is for values; gradients are mapped by `save_gradients`.

    target and prefix: as in `load`.  params: {parameter: array}; for ONNX also a pair, of the
    forward and the backward direction.

    Options are those of `load`, and

    - bias (True): keras, pytorch and onnx may leave their biases out; those must be zero.
    - flax: nested (False) for a tree instead of paths "ii/kernel", api ("linen" or "nnx").

    Where the system has two biases and the cell one, the second is zero.
    """
    check_cell(cell)
    system = system_of(target)
    check_prefix(prefix)
    chosen = options_of(system, options)
    if system.name == "onnx" and isinstance(params, Sequence) and len(params) == 2:
        pair = [save(cell, target, side, prefix=prefix, **options) for side in params]
        return {name: np.concatenate([side[name] for side in pair]) for name in pair[0]}
    if not isinstance(params, Mapping):
        raise ArgumentTypeError(
            f"params must be a mapping from names to arrays, not {kind_text(params)}",
            facts=(f"{cell.name} has the parameters {', '.join(cell.params)}",),
        )
    kin = kinship(cell, traits_of(cell))
    traits = kin.traits
    layout = layout_of(system, kin.reference, traits, chosen, None)
    values, lengths = _checked(cell, params)
    if kin.forward is not None:
        values = converted(kin.forward, cell, kin.reference, values)
        cell = kin.reference
    entries = [e for e in layout.entries if _is_saved(e, traits, chosen)]
    for feature in ("peephole", "projection"):
        if getattr(traits, feature) and not any(e.feature == feature for e in entries):
            raise ArgumentError(
                f"{system.title} has no array for the {feature} of {cell.name}",
                facts=(f"its arrays are {', '.join(e.name for e in layout.entries)}",),
            )
    roles = {role for entry in entries for role in entry.roles}
    filler: Arrays = {}
    if layout.ignored and not mirrored(cell, traits):
        like = next(iter(values.values())).dtype
        filler = {
            role: np.zeros([lengths[d] for d in dims_of(role)], like)
            for role in roles
            if role.endswith(layout.ignored) and role not in values
        }
        roles -= set(filler)
    ours, theirs = _sides(system, layout, cell, traits, chosen)
    parts = transfer(values, roles, ours, theirs, lengths, lambda: mirrored(cell, traits))
    arrays = {entry.name: join(entry, {**parts, **filler}) for entry in entries}
    return global_arrays(system, arrays, prefix, chosen)


def load_layout(
    system: System,
    layout: Layout,
    cell: Cell,
    traits: Traits,
    arrays: Arrays,
    options: Mapping[str, Any],
) -> Arrays:
    """`load` once it is known whose arrays these are."""
    compare(system, layout, cell, traits, arrays)
    lengths = fit(layout, arrays)
    if lengths is None or not _as_declared(cell, lengths):
        raise misfit(system, layout, cell, traits, arrays)
    parts: Arrays = {}
    for entry in layout.entries:
        if entry.name in arrays:
            parts |= split(entry, arrays[entry.name], lengths)
    if layout.ignored:
        parts = {role: a for role, a in parts.items() if not role.endswith(layout.ignored)}
    if not traits.peephole:
        parts = {r: a for r, a in parts.items() if not (r.startswith("p_") and not np.any(a))}
    ours, theirs = _sides(system, layout, cell, traits, options)
    found = transfer(parts, cell.params, theirs, ours, lengths, lambda: mirrored(cell, traits))
    return {name: found[name] for name in cell.params}


def _is_saved(entry: Entry, traits: Traits, options: Mapping[str, Any]) -> bool:
    if entry.feature == "bias":
        return bool(options.get("bias", True))
    return not entry.feature or bool(getattr(traits, entry.feature))


def _sides(
    system: System, layout: Layout, cell: Cell, traits: Traits, options: Mapping[str, Any]
) -> tuple[Side, Side]:
    """The cell's side and the system's."""
    bias = options.get("forget_bias", 0.0)
    ours = Side(cell.name, traits.keeps, traits.reset, traits.forget_bias)
    theirs = Side(system.title, reset=layout.reset)
    if traits.kind == "lstm":
        theirs = replace(theirs, forget_bias=traits.forget_bias if bias is None else float(bias))
    return ours, theirs


def _checked(cell: Cell, params: Mapping[str, Any]) -> tuple[Arrays, Lengths]:
    """Parameters as arrays of one real dtype, and the lengths of H, I and P."""
    if set(params) != set(cell.params):
        missing_ = [name for name in cell.params if name not in params]
        strange = [name for name in params if name not in cell.params]
        what = f"parameter {missing_[0]} is missing" if missing_ else f"{strange[0]!r} is none"
        raise ArgumentError(
            f"{what} of {cell.name}" if missing_ else f"{what} of {cell.name}'s parameters",
            facts=(f"{cell.name} has the parameters {', '.join(cell.params)}",),
        )
    found = {name: read(params[name], f"parameter {name}") for name in cell.params}
    if any(array.dtype.kind not in "fiub" for array in found.values()):
        raise ArgumentTypeError("params must hold real numbers")
    entries = [
        Entry(name, ((name,),), feature="projection" if name == "W_p" else "") for name in found
    ]
    shapes = {name: array.shape for name, array in found.items()}
    lengths = lengths_of(entries, shapes, "W_p" in found)
    if lengths is None or not _as_declared(cell, lengths):
        raise ArgumentError(
            f"the parameters of {cell.name} have shapes that do not fit each other",
            facts=tuple(
                f"{e.name} is {e.axes_text()}, given {shape_text(shapes[e.name])}" for e in entries
            ),
        )
    return found, lengths


def _as_declared(cell: Cell, lengths: Lengths) -> bool:
    """Whether widths that are numbers in the cell are the lengths found."""
    return all(
        not isinstance(dim, int) or dim == lengths[axis]
        for name, shape in cell.params.items()
        for axis, dim in zip(dims_of(name), shape, strict=False)
    )
