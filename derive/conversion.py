"""One value of a caller's -> an array, a count, a flag; and values in words, for messages.

In: whatever the caller gave.  Out: what a kernel works with, or ArgumentError and
ArgumentTypeError.
Not here: which arrays a call needs, and whether their shapes agree (arguments.py).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.signature import LETTERS, Array, Dim, Sizes

#: NumPy's flags of an array that is C-contiguous and aligned.
AS_IT_IS = 0x0001 | 0x0100


def to_array(value: Any, label: str, dtype: np.dtype[Any]) -> Array:
    """`value` as a C-contiguous, aligned array of `dtype`; itself where it already is one.

    Real dtypes (float, integer, bool) of any byte order and layout are converted; NaN and
    infinities pass. ArgumentTypeError for any other dtype, ArgumentError for ragged nesting.
    """
    if type(value) is np.ndarray:
        if value.dtype is dtype and value.flags.num & AS_IT_IS == AS_IT_IS:
            return value  # what almost every call gives: nothing to do, and quickly
        array = value
    else:
        array = _read(value, label)
    if array.dtype != dtype:
        if array.dtype.kind not in "fiub":
            raise ArgumentTypeError(
                f"{label} must hold real numbers, not {dtype_text(array)}",
                facts=(f"it was given as {kind_text(value)}",),
                hint=CONVERSIONS.get(array.dtype.kind, f"np.asarray(..., dtype=np.{dtype})"),
            )
        return np.array(array, dtype=dtype, order="C")
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.array(array, order="C")


def _read(value: Any, label: str) -> Array:
    """`value` as a plain ndarray of whatever dtype it has."""
    if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"{label} is a masked array",
            facts=("a kernel knows no masked entries: it would compute with what lies under them",),
            hint="say what they are worth, for example .filled(0.0)",
        )
    try:
        return np.asarray(value)
    # Array-likes fail in ways of their own: torch tensors that need a gradient raise
    # RuntimeError, tensors on another device TypeError, ragged lists ValueError.
    except Exception as error:
        what = f"{label} cannot be read as an array"
        facts = (f"it was given as {kind_text(value)}", f"{type(error).__name__}: {error}")
        if isinstance(error, ValueError):
            raise ArgumentError(what, facts=facts, hint="all rows need the same length") from error
        hint = "convert it to a NumPy array first"
        raise ArgumentTypeError(what, facts=facts, hint=hint) from error


def to_lengths(value: Any, sizes: Sizes) -> Array:
    """Sequence lengths as a fresh [B] int64 array, each in 0..T.

    Fresh, because kernels index memory by it: a caller who changes the array that was checked
    must not be able to reach past the end of another.
    """
    array = value if type(value) is np.ndarray else _read(value, "lengths")
    if array.dtype.kind not in "iu":
        # An empty list has no dtype of its own; NumPy calls it float64.
        if array.size or isinstance(value, np.ndarray):
            raise ArgumentTypeError(
                f"lengths must hold integers, not {dtype_text(array)}",
                facts=(f"it was given as {kind_text(value)}",),
                hint="np.asarray(lengths, dtype=np.int64)",
            )
        array = array.astype(np.int64)
    if array.shape != (sizes.rows,):
        raise ArgumentError(
            "lengths has the wrong shape",
            facts=(f"lengths is [B] with B = {sizes.rows}, given {shape_text(array.shape)}",),
            hint=f"lengths=np.full({sizes.rows}, {sizes.steps})",
        )
    array = np.array(array)  # checked below, so it must not change any more
    outside = (array < 0) | (array > sizes.steps)
    if outside.any():
        row = int(outside.argmax())
        raise ArgumentError(
            f"lengths[{row}] = {array[row]} is outside 0..T",
            facts=(f"T = {sizes.steps}",),
            hint=f"np.clip(lengths, 0, {sizes.steps})",
        )
    return array.astype(np.int64, copy=False)


def to_flag(value: Any, label: str) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ArgumentTypeError(
        f"{label} must be True or False, not {kind_text(value)}", hint=f"{label}=True"
    )


def to_count(value: Any, label: str) -> int:
    """A length or a seed: an integer of any kind, at least 0."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(
            f"{label} must be an integer, not {kind_text(value)}", hint=f"{label}=4"
        ) from None
    if count < 0:
        raise ArgumentError(f"{label} = {count} is negative", hint=f"{label}={-count}")
    return count


# --- Words for messages ---------------------------------------------------------------------


def letter(axis: Dim) -> str:
    return str(axis) if isinstance(axis, int) else LETTERS.get(axis, axis)


def axes_text(axes: Iterable[Dim]) -> str:
    return "[" + ", ".join(letter(axis) for axis in axes) + "]"


def shape_text(shape: tuple[int, ...]) -> str:
    return axes_text(shape) if shape else "a single number"


def kind_text(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def dtype_text(array: Array) -> str:
    return DTYPES.get(array.dtype.kind, str(array.dtype))


# By the kind of a dtype, a letter of NumPy's.
DTYPES = {"O": "Python objects", "U": "text", "S": "bytes", "c": "complex numbers"}
CONVERSIONS = {"c": "take its real part, for example np.real(...)"}


def closest(name: Any, names: Iterable[str]) -> str | None:
    import difflib  # only when something is wrong

    matches = difflib.get_close_matches(str(name), list(names), n=1)
    return f"did you mean {matches[0]!r}?" if matches else None
