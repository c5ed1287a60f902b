"""What a user may hand to a layer, and the errors for anything else.

In: what was given.  Out: tensors that fit each other; ArgumentError and ArgumentTypeError.
Not here: names of parameters and their shapes (module.py, functional.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.masked import is_masked_tensor

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text, to_count
from derive.torch.traced import are_hidden

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def tensor_of(value: Any, label: str) -> Tensor:
    """A real tensor on the CPU."""
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(
            f"{label} must be a Tensor, not {kind_text(value)}",
            hint="a torch.fx.Tracer whose is_leaf_module takes modules of derive.torch"
            if type(value).__module__.startswith("torch.fx") else "torch.as_tensor(...)",
        )  # fmt: skip
    if value.is_nested:
        raise ArgumentError(
            f"{label} is a nested tensor",
            hint=f"torch.nn.utils.rnn.pack_sequence({label}.unbind(), enforce_sorted=False)",
        )
    if type(value) is not Tensor and is_masked_tensor(value):
        raise ArgumentError(f"{label} is a MaskedTensor", hint=f"{label}.to_tensor(0)")
    if value.device.type not in ("cpu", "meta"):
        raise ArgumentError(
            f"derive.torch runs on the CPU, and {label} is on {value.device}",
            hint=f"{label}.cpu(), rnn.cpu()",
        )
    has_strides(value, f"{label} is", label)
    if value.dtype not in DTYPES:
        raise ArgumentTypeError(
            f"{label} has dtype {value.dtype}",
            facts=(f"known: {', '.join(map(str, DTYPES))}",),
            hint=f"{label}.float()",
        )
    return value


def has_strides(value: Tensor, what: str, label: str) -> None:
    """ArgumentError where numbers do not lie in plain memory; label: as a hint calls it."""
    if value.layout is not torch.strided:
        raise ArgumentError(f"{what} {value.layout}", hint=f"{label}.to_dense()")


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


def states_of(
    state: Any, names: Sequence[str], shapes: Sequence[Sequence[int]], x: Tensor
) -> list[Tensor]:
    """A tensor of each shape, in x's dtype and on its device.

    state: a Tensor, or a tuple of one, where there is one name; else a tuple in their order. Under
    autocast float32 becomes its dtype where x has it, as in torch.nn.LSTM.
    """
    one = len(names) == 1
    given = (state,) if one and isinstance(state, Tensor) else state
    shown = "a Tensor" if one else f"a tuple ({', '.join(names)})"
    if not isinstance(given, (tuple, list)) or (one and len(given) != 1):
        hint = "" if one else f"state=({', '.join(names)})"
        raise ArgumentTypeError(f"state must be {shown}, not {kind_text(state)}", hint=hint)
    if len(given) != len(names):
        raise ArgumentError(f"state must be {shown}, and {len(given)} were given")
    found = []
    for name, shape, value in zip(names, shapes, given, strict=True):
        label = "state" if one else f"state {name}"
        value = tensor_of(value, label)
        shape_fits(value, label, shape)
        value = as_x_is(value, label, x)
        on_one_device([value], x, f"{label} is")
        found.append(value)
    return found


def as_x_is(value: Tensor, label: str, x: Tensor) -> Tensor:
    """In x's dtype: under autocast float32 becomes its dtype where x has that."""
    narrow = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    if (value.dtype, x.dtype) == (torch.float32, narrow):
        value = value.to(narrow)
    same_dtype(value, label, x, "x is")
    return value


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
    if value.device.type == "meta":
        raise ArgumentError("lengths is on meta, where it has no values", hint="lengths=[5, 3]")
    lengths: Tensor = value.to(device="cpu", dtype=torch.int64).contiguous()
    if not are_hidden(lengths):
        ends_fit(lengths, steps)  # in a trace values are not known: the engine looks
    return lengths


def ends_fit(lengths: Tensor, steps: int) -> None:
    """ArgumentError unless each length is at least 0 and at most `steps`."""
    if not lengths.numel():
        return
    low, high = map(int, lengths.aminmax())
    if low < 0 or high > steps:
        raise ArgumentError(
            f"lengths has an entry {low if low < 0 else high}",
            facts=(f"a length is at least 0 and at most T = {steps}",),
        )


def resets_of(value: Any, shape: Sequence[int]) -> Tensor:
    """Booleans of this shape: [T, B], or as the axes of x lie."""
    if not isinstance(value, Tensor):
        try:
            value = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentTypeError(
                f"resets must hold booleans, not {kind_text(value)}",
                hint="torch.zeros(T, B, dtype=torch.bool)",
            ) from error
    if value.dtype is not torch.bool:
        raise ArgumentTypeError(
            f"resets must hold booleans, not {value.dtype}", hint="resets.bool()"
        )
    shape_fits(value, "resets", shape)
    return value


def jit_refused(name: str) -> ArgumentError:
    return ArgumentError(
        f"torch.jit.{name} does not take derived cells",
        facts=("PyTorch's own successor of torch.jit does",),
        hint="torch.export.export(model, (x,)), or torch.compile(model)",
    )


def on_one_device(tensors: Sequence[Tensor], like: Tensor, what: str) -> None:
    """ArgumentError unless `tensors` are where `like`, called x, is."""
    for tensor in tensors:
        if tensor.device != like.device:
            raise ArgumentError(
                f"x is on {like.device}, and {what} on {tensor.device}",
                hint=f"rnn.to_empty(device={str(like.device)!r})" if tensor.is_meta
                else f"x.to({str(tensor.device)!r})",
            )  # fmt: skip


def threads_of(value: int | None) -> int:
    """Of torch where left out."""
    return torch.get_num_threads() if value is None else to_count(value, "threads", least=1)


def same_device(value: Tensor, label: str, like: Tensor, of: str) -> None:
    if value.device != like.device:
        raise ArgumentError(
            f"{label} is on {value.device}, and {of} on {like.device}",
            hint=f"torch.zeros_like({label.split()[-1]}, device={str(like.device)!r})"
            if value.is_meta else f"{label.split()[-1]}.to({str(like.device)!r})",
        )  # fmt: skip


def same_dtype(value: Tensor, label: str, like: Tensor, of: str) -> None:
    if value.dtype != like.dtype:
        name = str(like.dtype).removeprefix("torch.")
        raise ArgumentTypeError(
            f"{label} is {str(value.dtype).removeprefix('torch.')}, and {of} {name}",
            hint=f"{label}.to({like.dtype})",
        )
