"""`derive export CELL`: a cell with its parameters as files for other systems.

In: a cell, widths or a file of parameters, options.  Out: files, and their names on standard
output.
Not here: the ONNX model (onnx/), the files for a microcontroller (mcu/).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derive.cli import console
from derive.cli.select import cell_of, size_of
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.cell import Cell

#: Options that one format alone has.
_OF_ONNX = ("layers", "bidirectional", "lengths", "zero_states", "form", "opset")
_OF_MCU = ("source", "prefix", "layer", "steps", "data", "ranges", "activations")


def run(
    text: str, format_: str, sizes: Sequence[str], given: Collection[str], **options: Any
) -> int:
    """given: the names of the options that the command line has."""
    cell = cell_of(text)
    widths = dict(map(size_of, sizes))
    for name in (*_OF_ONNX, *_OF_MCU):
        other = _OF_MCU if format_ == "onnx" else _OF_ONNX
        if name in given and name in other:
            word = {"form": "as", "source": "from", "ranges": "range"}.get(name, name).replace(
                "_", "-"
            )
            raise ArgumentError(f"--{word} says nothing of --format {format_}")
    if format_ == "onnx":
        return _onnx(cell, widths, **{n: v for n, v in options.items() if n not in _OF_MCU})
    return _mcu(cell, widths, **{n: v for n, v in options.items() if n not in _OF_ONNX})


def _onnx(
    cell: Cell,
    widths: Mapping[str, Any],
    *,
    out: str | None,
    weights: str | None,
    layers: int,
    zero_states: bool,
    dtype: str | None,
    **options: Any,
) -> int:
    from derive import onnx

    path = out or f"{cell.name}.onnx"
    options |= {"params": weights, "num_layers": layers, "initial_states": not zero_states}
    for name in widths:
        if name not in (known := cell.step.program.dims()):
            raise ArgumentError(
                f"{cell.name} has no width {name!r}", facts=(f"it has {', '.join(known)}",)
            )
    model = onnx.export(cell, path, dtype=dtype or "float32", **options, **widths)
    for word, values in (("in ", model.graph.input), ("out", model.graph.output)):
        for value in values:
            shape = value.type.tensor_type.shape.dim
            axes = ", ".join(dim.dim_param or str(dim.dim_value) for dim in shape)
            console.say(f"{word} {value.name} [{axes}]")
    console.result(path)
    return 0


def _mcu(
    cell: Cell,
    widths: Mapping[str, Any],
    *,
    out: str | None,
    weights: str | None,
    dtype: str | None,
    source: str | None,
    steps: int | None,
    data: str | None,
    ranges: Sequence[str],
    activations: str | None,
    **options: Any,
) -> int:
    from derive import mcu
    from derive.weights.array_files import read_arrays

    if weights is None:
        raise ArgumentError(
            "a microcontroller is given trained parameters", hint="--weights model.npz"
        )
    where = {n: v for n, v in options.items() if v is not None and v is not False}
    more: dict[str, Any] = {} if steps is None else {"steps": steps}
    if data is not None:
        name = next(iter(cell.inputs), "x")
        made = f"numpy.savez({str(Path(data).with_suffix('.npz'))!r}, {name}={name})"
        more["data"] = read_arrays(data, "data", made)
    if ranges:
        more["ranges"] = dict(map(_range_of, ranges))
    folder = Path(out or f"{cell.name}_mcu")
    try:
        names = mcu.export(
            cell,
            folder,
            weights,
            sizes=widths,
            source=source,
            dtype=dtype or "float32",
            activations=activations,
            **more,
            **where,
        )
    except ArgumentError as error:
        raise _as_typed(error) from error
    for name in names:
        console.result(str(folder / name))
    return 0


#: What a hint says in Python, and on the command line.
_WORDS = (
    (r"\bdata=x\b", "--data FILE.npz"),
    (r'\bfolder="(\w+)"', r"-o \1"),
    (r'\b(dtype|activations)="(\w+)"', r"--\1 \2"),
    (r'\branges=\{"(\w+)": \((-?\d+), (-?\d+)\)\}', r"--range \1=\2..\3"),
)


def _as_typed(error: ArgumentError) -> ArgumentError:
    """The error with a hint for the command line."""
    hint = error.hint or ""
    for pattern, typed in _WORDS:
        hint = re.sub(pattern, typed, hint)
    for name, option in (("sizes", "--{} {}"), ("ranges", "--range {}={}")):
        for found in re.finditer(rf"\b{name}=\{{(.*?)\}}", hint):
            pairs = re.findall(r'"(\w+)": ([-\d.]+)', found[1])
            hint = hint.replace(found[0], " ".join(option.format(*pair) for pair in pairs))
    return type(error)(error.what, place=error.place, facts=error.facts, hint=hint or None)


def _range_of(text: str) -> tuple[str, Any]:
    """x=4 or x=-1..3"""
    name, sign, words = text.partition("=")
    try:
        ends = [float(word) for word in words.split("..")]
    except ValueError:
        ends = []
    if not sign or len(ends) not in (1, 2):
        raise ArgumentError(f"'{text}' is no range", hint="--range x=4, or --range x=-1..3")
    return name.strip(), ends[0] if len(ends) == 1 else tuple(ends)
