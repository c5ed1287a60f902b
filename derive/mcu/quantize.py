"""A trained cell in fixed point, or in int8, from what users hold: whole arrays, data, ranges.

In: a Cell, parameters, what is known of inputs and states.  Out: `Quantized`, `InInt8`, by parts.
Not here: the numbers (emit/mcu/fixed, emit/mcu/int8.py), files (export.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.emit.mcu.fixed.quantized import Quantized, quantized
from derive.emit.mcu.int8 import InInt8, int8_of
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.arguments import Arguments
from derive.kernel.convert import closest, kind_text, shape_text
from derive.kernel.signature import Arrays, Sizes
from derive.mcu.params_header import Given, given
from derive.symbolic.interval import Interval

#: Weights of a cell whose activations are in fixed point.
FIXED = ("q15", "int8")


def quantize(
    cell: Cell,
    params: Mapping[str, Any],
    *,
    dtype: str = "q15",
    data: Any = None,
    ranges: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Quantized:
    """The cell with int16 weights and activations, int32 sums, and a power of two for each array.
    dtype: "int8" for matrices in int8 with a scale for each row, "q15" for all in int16.

    params: {name: array}.  data: inputs [T, B, width] as the device will see them, or {input name:
    array}: sequences that start from zeros, or the learned start.  ranges: {input or state: the
    largest size, or a pair (lowest, highest)}.  sizes: {dimension: length} that parameters do not
    tell.

    An array's bits follow from `ranges`, from what intervals prove, the parameters being known, and
    from `data`, in this order. ArgumentError: an input or a state has no bound by any of these.
    """
    if dtype not in FIXED:
        raise ArgumentError(
            f"no weights in fixed point are in {dtype!r}", facts=(f"known: {', '.join(FIXED)}",)
        )
    fitting = given(cell, params, sizes)
    return of_given(cell, fitting, data=data, ranges=ranges, int8=dtype == "int8")


def quantize_weights(
    cell: Cell, params: Mapping[str, Any], *, sizes: Mapping[str, int] | None = None
) -> InInt8:
    """The cell with matrices in int8 and a scale for each row; all else in float32.

    params: {name: array}.  sizes: {dimension: length} that parameters do not tell. A matrix that
    anything but products reads stays in float32, and so do rows of fewer than 3.
    """
    return weights_of_given(cell, given(cell, params, sizes))


def weights_of_given(cell: Cell, params: Given) -> InInt8:
    return int8_of(cell, params.parts, params.sizes)


def of_given(
    cell: Cell, params: Given, *, data: Any, ranges: Mapping[str, Any] | None, int8: bool = False
) -> Quantized:
    known = _ranges(cell, ranges or {})
    inputs: Arrays | None = None
    states: Arrays = {}
    steps = 0
    if data is not None:
        inputs, states = by_parts(cell, params, data)
        if not inputs:
            steps = (*np.shape(data), 0)[0]
        for name, array in inputs.items():
            if 0 in array.shape[:2]:
                raise ArgumentError(
                    f"the data of {name} has no step or no row",
                    facts=(f"given {shape_text(array.shape)}",),
                    hint="data [T, B, width] of one sequence or more",
                )
            if not np.isfinite(array).all():
                raise ArgumentError(
                    f"the data of {name} has an element that is no finite number",
                    hint="data without it: numpy.nan_to_num(x)",
                )
    return quantized(
        cell, params.parts, params.sizes, ranges=known, data=inputs, states=states, steps=steps,
        int8=int8,
    )  # fmt: skip


def by_parts(cell: Cell, params: Given, x: Any) -> tuple[Arrays, Arrays]:
    """Inputs of parts [T, B, width], of those given once too, and the states that rows start from.
    Errors as for `kernel.forward`."""
    signature = pipeline.signature(cell)
    lengths = Sizes(1, 1, params.sizes)
    rows = _rows(x)
    zeros = {
        name: np.zeros((rows, *lengths.shape(shape)))
        for name, shape in cell.states.items()
        if name not in signature.learned
    }
    call = Arguments(signature, np.float64).of_forward(params.whole, x, zeros, None)
    whole: Any = pipeline.whole(cell, cast(Any, None), "float64")
    inputs, states = call.inputs, call.states
    if whole is not None:
        inputs, states = whole.cut(inputs, call.sizes), whole.cut(states, call.sizes)
    return dict(inputs), dict(states)


def _rows(x: Any) -> int:
    """B of inputs [T, B, width]."""
    array = next(iter(x.values()), ()) if isinstance(x, Mapping) else x
    shape = np.shape(array)
    return int(shape[1]) if len(shape) > 1 else 1


def _ends(value: Any) -> list[float]:
    """Of a largest size, or of a pair; none of what is neither."""
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return []
    if isinstance(value, str | bytes | bool) or found.ndim > 1:
        return []
    return [-abs(float(found)), abs(float(found))] if found.ndim == 0 else found.tolist()


def _ranges(cell: Cell, ranges: Mapping[str, Any]) -> dict[str, Interval]:
    if not isinstance(ranges, Mapping):
        raise ArgumentTypeError(
            f"ranges are a mapping from names to numbers, not {kind_text(ranges)}",
            hint=f'ranges={{"{next(iter(cell.inputs or cell.states))}": 4.0}}',
        )
    known = (*cell.inputs, *cell.states)
    found: dict[str, Interval] = {}
    for name, value in ranges.items():
        if name not in known:
            raise ArgumentError(
                f"{cell.name} has no input or state {name!r}",
                facts=(f"it has {', '.join(known)}",),
                hint=closest(name, known),
            )
        numbers = _ends(value)
        if len(numbers) != 2 or not np.isfinite(numbers).all() or numbers[0] >= numbers[1]:
            raise ArgumentError(
                f"{value!r} is no range of {name}",
                hint=f'ranges={{"{name}": 4.0}}, or ranges={{"{name}": (-1, 3)}}',
            )
        interval = Interval(Fraction(numbers[0]), Fraction(numbers[1]))
        for part, *_ in cell.checked.wholes.get(name, ((name,),)):
            found[part] = interval
    return found
