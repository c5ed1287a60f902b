"""Weights of packed parameters: as they are, or with fewer bits, for inference.

In: what a caller asks for.  Out: a name of `WEIGHTS`, or an error.
Not here: how they are rounded and multiplied with (templates/c/kernels/product.h.j2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text

#: Thin weights, and the bytes of each.
WEIGHTS = {"bfloat16": 2, "int8": 1}


def to_weights(value: Any, target: str, dtype: np.dtype[Any]) -> str | None:
    """A name of WEIGHTS, or None for weights as they are; ArgumentError for all else."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ArgumentTypeError(
            f"weights must be None or a name, not {kind_text(value)}", hint='weights="bfloat16"'
        )
    if value not in WEIGHTS:
        raise ArgumentError(
            f"weights is None or one of {', '.join(map(repr, WEIGHTS))}, not {value!r}",
            hint=closest(value, tuple(WEIGHTS)) or 'weights="bfloat16"',
        )
    if target != "c":
        raise ArgumentError(
            f"kernels of the target {target} have no thin weights",
            hint='kernel = derive.compile(cell, target="c")',
        )
    if dtype != np.float32:
        raise ArgumentError(
            "thin weights are multiplied with float32",
            facts=(f"the kernel is of {dtype}",),
            hint='kernel = derive.compile(cell, dtype="float32")',
        )
    return value
