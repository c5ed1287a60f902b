"""`derive export CELL --format onnx`: a cell with its parameters as a file for other systems.

In: a cell, widths or a file of parameters, options.  Out: a file, and its name on standard output.
Not here: the model (onnx/).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from derive.cli import console
from derive.cli.select import cell_of, size_of
from derive.errors import ArgumentError


def run(
    text: str,
    sizes: Sequence[str],
    *,
    out: str | None,
    weights: str | None,
    layers: int,
    zero_states: bool,
    **options: Any,
) -> int:
    from derive import onnx

    cell = cell_of(text)
    path = out or f"{cell.name}.onnx"
    options |= {"params": weights, "num_layers": layers, "initial_states": not zero_states}
    widths: dict[str, Any] = dict(map(size_of, sizes))
    for name in widths:
        if name not in (known := cell.step.program.dims()):
            raise ArgumentError(
                f"{cell.name} has no width {name!r}", facts=(f"it has {', '.join(known)}",)
            )
    model = onnx.export(cell, path, **options, **widths)
    for word, values in (("in ", model.graph.input), ("out", model.graph.output)):
        for value in values:
            shape = value.type.tensor_type.shape.dim
            axes = ", ".join(dim.dim_param or str(dim.dim_value) for dim in shape)
            console.say(f"{word} {value.name} [{axes}]")
    console.result(path)
    return 0
