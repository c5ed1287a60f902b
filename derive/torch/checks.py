"""What a user may hand to a layer, and what an error says where it is something else.

In: what was given.  Out: tensors that fit each other; ArgumentError and ArgumentTypeError.
Not here: names of parameters and their shapes (module.py, functional.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def tensor_of(value: Any, label: str) -> Tensor:
    """A real tensor on the CPU."""
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(
            f"{label} must be a Tensor, not {kind_text(value)}", hint="torch.as_tensor(...)"
        )
    if value.device.type not in ("cpu", "meta"):
        raise ArgumentError(
            f"derive.torch runs on the CPU, and {label} is on {value.device}",
            hint=f"{label}.cpu(), rnn.cpu()",
        )
    if value.layout is not torch.strided:
        raise ArgumentError(f"{label} is {value.layout}", hint=f"{label}.to_dense()")
    if value.dtype not in DTYPES:
        raise ArgumentTypeError(
            f"{label} has dtype {value.dtype}",
            facts=(f"known: {', '.join(map(str, DTYPES))}",),
            hint=f"{label}.float()",
        )
    return value


def shape_fits(value: Tensor, label: str, wanted: Sequence[int | str]) -> None:
    """wanted: a number for each axis, or a letter that stands for any."""
    fits = value.dim() == len(wanted)
    for length, axis in zip(value.shape, wanted, strict=False):
        fits = fits and (isinstance(axis, str) or length == axis)
    if not fits:
        shown = ", ".join(map(str, wanted))
        raise ArgumentError(
            f"{label} has the wrong shape",
            facts=(f"it is [{shown}], given {list(value.shape)}",),
        )


def lengths_of(value: Any, steps: int, rows: int) -> Tensor:
    """[B] int64 on the CPU, 0 <= length <= T."""
    if not isinstance(value, Tensor):
        try:
            value = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentTypeError(
                f"lengths must be integers, not {kind_text(value)}", hint="lengths=[5, 3]"
            ) from error
    if value.is_floating_point() or value.is_complex() or value.dtype is torch.bool:
        raise ArgumentTypeError(
            f"lengths must be integers, not {value.dtype}", hint="lengths.long()"
        )
    if value.dim() != 1 or value.shape[0] != rows:
        raise ArgumentError(
            "lengths has the wrong shape",
            facts=(f"it is [{rows}], a number for each row, given {list(value.shape)}",),
        )
    lengths: Tensor = value.to(device="cpu", dtype=torch.int64).contiguous()
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return lengths  # their values are not known; a kernel refuses others
    if rows and lengths.device.type != "meta":
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > steps:
            raise ArgumentError(
                f"lengths has an entry {low if low < 0 else high}",
                facts=(f"a length is at least 0 and at most T = {steps}",),
            )
    return lengths


def resets_of(value: Any, steps: int, rows: int) -> Tensor:
    """[T, B] booleans."""
    flags = value if isinstance(value, Tensor) else torch.as_tensor(value)
    if flags.dtype is not torch.bool:
        raise ArgumentTypeError(
            f"resets must hold booleans, not {flags.dtype}", hint="resets.bool()"
        )
    shape_fits(flags, "resets", (steps, rows))
    return flags


def same_dtype(value: Tensor, label: str, like: Tensor, of: str) -> None:
    if value.dtype != like.dtype:
        name = str(like.dtype).removeprefix("torch.")
        raise ArgumentTypeError(
            f"{label} is {str(value.dtype).removeprefix('torch.')}, and {of} {name}",
            hint=f"{label}.to({like.dtype})",
        )
