"""A cell with its parameters -> a folder that a microcontroller's project takes in.

In: a Cell; parameters, or a file of them; widths; numbers to compute with.  Out: NAME.h, NAME.c,
derive_mcu.h, NAME_params.h and main.c, all of them or none.
Not here: the code of the cell (emit/mcu), reading weights (weights/).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from derive import pipeline, targets
from derive.build.written_files import write_all
from derive.cell import Cell
from derive.emit.mcu.files import mcu_files
from derive.emit.mcu.fixed.files import fixed_files
from derive.emit.mcu.fixed.quantized import Quantized
from derive.emit.mcu.int8 import InInt8
from derive.emit.mcu.int8_files import int8_files
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text, to_count
from derive.kernel.signature import Arrays, Sizes
from derive.mcu.main_file import Example, main_file, once_parts
from derive.mcu.params_header import Given, given, render
from derive.mcu.quantize import by_parts, of_given, weights_of_given

#: Numbers that a device has weights in, and activations.
DTYPES = ("float32", "q15", "int8")
ACTIVATIONS = ("float32", "q15")

#: Steps of the example that main.c runs.
STEPS = 8


def export(
    cell: Cell,
    folder: str | os.PathLike[str],
    params: Mapping[str, Any] | str | os.PathLike[str],
    *,
    dtype: str = "float32",
    activations: str | None = None,
    data: Any = None,
    ranges: Mapping[str, Any] | None = None,
    steps: int = STEPS,
    sizes: Mapping[str, int] | None = None,
    source: str | None = None,
    **options: Any,
) -> tuple[str, ...]:
    """Write NAME.h, NAME.c, derive_mcu.h, NAME_params.h and main.c; their names.

    params: {name: array}, or a file of them (.npz, .safetensors, .pt, .h5, .keras, .onnx), by the
    cell's names or those of a system that `derive.weights` knows.  source, options: which one, and
    where in the file, as for `weights.load`, where several would do.  sizes: {dimension: length};
    those that parameters tell must agree.  steps: of the example that main.c runs, whose inputs
    are drawn, and compares with what derive computes.

    dtype: "float32"; "q15" for int16 with int32 sums; or "int8" for matrices in int8 with a scale
    for each row.  activations: of int8, "float32" or "q15".  In fixed point `data` and `ranges` are
    as for `quantize`, and main.c runs the first sequence of the data.

    ArgumentError where parameters do not fit, before anything is written; nothing is written
    either where one file cannot be.
    """
    if not isinstance(folder, str | os.PathLike):
        raise ArgumentTypeError(
            f"folder is a str or a path, not {kind_text(folder)}", hint='folder="device"'
        )
    files = exported(
        cell, params, dtype=dtype, activations=activations, data=data, ranges=ranges, steps=steps,
        sizes=sizes, source=source, **options,
    )  # fmt: skip
    write_all(Path(folder), files, 'another folder: folder="device2"')
    return tuple(files)


def exported(
    cell: Cell,
    params: Mapping[str, Any] | str | os.PathLike[str],
    *,
    dtype: str = "float32",
    activations: str | None = None,
    data: Any = None,
    ranges: Mapping[str, Any] | None = None,
    steps: int = STEPS,
    sizes: Mapping[str, int] | None = None,
    source: str | None = None,
    **options: Any,
) -> dict[str, str]:
    """What `export` writes: {name of a file: text}."""
    if not isinstance(cell, Cell):
        raise ArgumentTypeError(
            f"cell must be a derive.Cell, not {kind_text(cell)}", hint="derive.cells.lstm()"
        )
    steps = to_count(steps, "steps", 1, 1000)
    numbers = _numbers(dtype, activations)
    if numbers != "q15" and (data is not None or ranges):
        hint = 'dtype="q15"' if dtype == "float32" else 'activations="q15"'
        raise ArgumentError("data and ranges are for fixed point", hint=hint)
    if isinstance(params, (str, os.PathLike)):
        from derive.weights.any_system import load_any

        params = load_any(cell, params, source, **options)
    elif source is not None or options:
        raise ArgumentError(
            "a source is named for parameters that are given by their own names",
            hint="derive.weights.load(cell, source, arrays)",
        )
    fitting = given(cell, params, sizes)
    missing = [dim for dim in pipeline.signature(cell).dims() if dim not in fitting.sizes]
    if missing:
        lengths = ", ".join(f'"{dim}": 16' for dim in missing)
        raise ArgumentError(
            f"no parameter of {cell.name} tells {', '.join(missing)}",
            hint=f"sizes={{{lengths}}}",
        )
    name, schedule = cell.name, pipeline.schedule(cell)
    stored: Quantized | InInt8 | None = None
    if numbers == "q15":
        stored = of_given(cell, fitting, data=data, ranges=ranges, int8=dtype == "int8")
        texts = fixed_files(cell, schedule, stored.scaled)
        example = _example_of_fixed(cell, fitting, stored, steps, data)
    elif dtype == "int8":
        stored = weights_of_given(cell, fitting)
        texts = int8_files(cell, schedule, stored)
        example = _example_in_int8(cell, fitting, stored, steps)
    else:
        texts = mcu_files(cell, schedule, fitting.sizes)
        example = _example(cell, fitting, steps)
    files = {path.removeprefix("mcu/"): text for path, text in texts.items()}
    files[f"{name}_params.h"] = render(cell, fitting, stored)
    files["main.c"] = main_file(cell, fitting, example, stored)
    if len(files) < 5:
        raise ArgumentError(
            f"a cell called {name} would share a file with what runs it", hint=f"cell {name}_cell"
        )
    return files


def _numbers(dtype: str, activations: str | None) -> str:
    """What activations are in."""
    if dtype not in DTYPES:
        raise ArgumentError(
            f"no cell for a microcontroller is in {dtype!r}", facts=(f"known: {', '.join(DTYPES)}",)
        )
    if activations is None:
        return "q15" if dtype == "q15" else "float32"
    if activations not in ACTIVATIONS:
        raise ArgumentError(
            f"no activations are in {activations!r}", facts=(f"known: {', '.join(ACTIVATIONS)}",)
        )
    if dtype not in ("int8", activations):
        raise ArgumentError(
            f"activations in {activations} go with weights in {activations} or int8, not {dtype}",
            hint=f'dtype="int8", or dtype="{activations}"',
        )
    return activations


def _drawn(cell: Cell, params: Given, steps: int) -> Arrays:
    """Inputs of one row."""
    signature = pipeline.signature(cell)
    sizes = Sizes(steps, 1, params.sizes)
    random = np.random.default_rng(0)
    x: Arrays = {}
    for name, shape in cell.inputs.items():
        times = () if name in signature.once else (steps,)
        drawn = random.uniform(-1, 1, (*times, 1, *sizes.shape(shape)))
        x[name] = np.round(drawn, 3).astype(np.float32)
    return x


def _example_of_fixed(
    cell: Cell, params: Given, fixed: Quantized, steps: int, data: Any
) -> Example:
    """The first row of the data, or inputs that are drawn, and the integers that follow."""
    if data is None:
        data = _drawn(cell, params, steps) or np.zeros((steps, 1, 0))
    inputs, states = by_parts(cell, params, data)
    steps = min([steps, *(len(array) for array in inputs.values())])
    inputs = fixed.to_integers({name: array[:steps, :1] for name, array in inputs.items()})
    first = fixed.to_integers({name: array[:1] for name, array in states.items()})
    outputs, _ = fixed.run(inputs, first, steps)
    once = once_parts(cell)
    given_ = {n: a[0, 0] if n in once else a[:, 0] for n, a in inputs.items()}
    return Example(steps, given_, {key: array[:, 0] for key, array in outputs.items()})


def _example_in_int8(cell: Cell, params: Given, stored: InInt8, steps: int) -> Example:
    """Inputs that are drawn, and the outputs in float64 with the weights of the device."""
    x = _drawn(cell, params, steps)
    inputs, states = by_parts(cell, params, x or np.zeros((steps, 1, 0)))
    outputs, _ = stored.run(inputs, states, steps)
    once = once_parts(cell)
    given_ = {n: (a[0, 0] if n in once else a[:, 0]).astype(np.float32) for n, a in inputs.items()}
    return Example(steps, given_, {n: a[:, 0].astype(np.float32) for n, a in outputs.items()})


def _example(cell: Cell, params: Given, steps: int) -> Example:
    """Inputs that are drawn, and the outputs of the NumPy target in float32, by parts."""
    signature = pipeline.signature(cell)
    sizes = Sizes(steps, 1, params.sizes)
    x = _drawn(cell, params, steps)
    states = {
        name: np.zeros((1, *sizes.shape(shape)), np.float32)
        for name, shape in cell.states.items()
        if name not in signature.learned
    }
    kernel = pipeline.compile(cell, targets.plain().name, "float32")
    given: Any = x or np.zeros((steps, 1, 0), np.float32)
    with np.errstate(all="ignore"):
        outputs = kernel.forward(params.whole, given, states, training=False).outputs
    whole: Any = pipeline.whole(cell, cast(Any, None), "float32")
    if whole is not None:
        x, outputs = whole.cut(x, sizes), whole.cut(outputs, sizes)
    once = once_parts(cell)
    inputs = {n: a[0] if n in once else a[:, 0] for n, a in x.items()}
    return Example(steps, inputs, {key: array[:, 0] for key, array in outputs.items()})
