"""The product that all of TensorFlow's cells begin with.

In: arrays [B, width] and one matrix for all of them side by side.  Out: [B, output_size].
Not here: gradients; in a cell this product is a part of its equations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.convert import axes_text, read, shape_text
from derive.kernel.signature import Array


def linear(args: Any, output_size: int, kernel: Any, bias: Any = None) -> Array:
    """[args side by side] kernel + bias: what `_linear` of TensorFlow's rnn_cell did.

    args: an array [B, width], or a list of them.  kernel: [sum of widths, output_size].
    bias: [output_size], or None.
    """
    parts = list(args) if isinstance(args, (list, tuple)) else [args]
    if not parts:
        raise ArgumentError("`args` must be specified")
    arrays = [read(part, "args") for part in parts]
    for array in arrays:
        if array.ndim != 2:
            raise ArgumentError(
                "linear is expecting 2D arguments", facts=(f"given {shape_text(array.shape)}",)
            )
    matrix = read(kernel, "kernel")
    wanted = (sum(array.shape[1] for array in arrays), int(output_size))
    if matrix.shape != wanted:
        raise ArgumentError(
            "kernel has the wrong shape",
            facts=(f"kernel is {axes_text(wanted)}, given {shape_text(matrix.shape)}",),
        )
    result: Array = np.concatenate(arrays, axis=1) @ matrix
    if bias is None:
        return result
    shift = read(bias, "bias")
    if shift.shape != (int(output_size),):
        raise ArgumentError(
            "bias has the wrong shape",
            facts=(f"bias is [{int(output_size)}], given {shape_text(shift.shape)}",),
        )
    result = result + shift
    return result
