"""One value of a caller's -> an array, a count, a flag; and values in words, for messages.

In: what the caller gave.  Out: what a kernel works with, or ArgumentError and ArgumentTypeError.
Not here: which arrays a call needs, and whether their shapes agree (arguments.py).
"""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.signature import LETTERS, Array, Dim, Sizes

#: The largest length that an axis may have: a signed word holds it.
MOST = sys.maxsize

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
        array = read(value, label)
    if array.dtype != dtype:
        if array.dtype.kind not in "fiub":
            raise ArgumentTypeError(
                f"{label} must hold real numbers, not {dtype_text(array)}",
                facts=(f"it was given as {kind_text(value)}",),
                hint=CONVERSIONS.get(array.dtype.kind, f"np.asarray(..., dtype=np.{dtype})"),
            )
        return copied(array, label, dtype)
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return copied(array, label, dtype)


def copied(array: Array, label: str, dtype: np.dtype[Any]) -> Array:
    """C-contiguous, of `dtype`; ArgumentError where there is no room for it."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # too large a number is infinite
            return np.array(array, dtype=dtype, order="C")
    except (MemoryError, ValueError) as error:  # a small array may look like a large one
        raise no_room(label, array.shape, error) from error


def read(value: Any, label: str) -> Array:
    """`value` as a plain ndarray of its own dtype; errors as of `to_array`."""
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
    array = value if type(value) is np.ndarray else read(value, "lengths")
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


def to_count(value: Any, label: str, least: int = 0, most: int | None = None) -> int:
    """A number of things, or a seed: an integer of any kind, from `least` to `most`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(
            f"{label} must be an integer, not {kind_text(value)}", hint=f"{label}=4"
        ) from None
    if count < 0:
        raise ArgumentError(f"{label} = {count} is negative", hint=f"{label}={max(-count, least)}")
    if count < least:
        raise ArgumentError(f"{label} = {count} is too small", hint=f"{label}={least}")
    if most is not None and count > most:
        raise ArgumentError(f"{label} = {count} is too large", facts=(f"at most {most}",))
    return count


def to_width(value: Any, label: str) -> int:
    """The length of a dimension of a cell."""
    return to_count(value, label, most=MOST)


def to_generator(seed: Any) -> np.random.Generator:
    """A generator from None, an integer that is not negative, or a generator."""
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed < 0:
        raise ArgumentError(f"seed = {seed} is negative", hint=f"seed={-seed}")
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"seed is an integer or a numpy.random.Generator, not {kind_text(seed)}",
            facts=(str(error),),
        ) from error


def zeros(shape: tuple[int, ...], dtype: Any, label: str) -> Array:
    """Zeros; ArgumentError where the machine has no room for so many."""
    try:
        return np.zeros(shape, dtype)
    except (MemoryError, ValueError) as error:
        raise no_room(label, shape, error) from error


def no_room(label: str, shape: tuple[int, ...], error: Exception | None = None) -> ArgumentError:
    facts = () if error is None else (f"{type(error).__name__}: {error}",)
    return ArgumentError(
        f"{label} does not fit into memory",
        facts=(f"its shape is {shape_text(shape)}", *facts),
    )


def check_room(label: str, shape: tuple[int, ...], itemsize: int) -> None:
    """ArgumentError for an array that no machine has room for."""
    if math.prod(shape) * itemsize > MOST:
        raise no_room(label, shape)


# --- Words for messages ---------------------------------------------------------------------


def letter(axis: Dim) -> str:
    return str(axis) if isinstance(axis, int) else LETTERS.get(axis, axis)


def axes_text(axes: Iterable[Dim]) -> str:
    return "[" + ", ".join(letter(axis) for axis in axes) + "]"


def shape_text(shape: tuple[int, ...]) -> str:
    return axes_text(shape) if shape else "a single number"


def to_path(value: Any, label: str) -> str:
    """A path as text."""
    try:
        return os.fsdecode(value)
    except TypeError as error:
        raise ArgumentTypeError(
            f"{label} must be a path, not {kind_text(value)}", hint=f'{label}="here/model.onnx"'
        ) from error


def kind_text(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def dtype_text(array: Array) -> str:
    return DTYPES.get(array.dtype.kind, str(array.dtype))


# By the kind of a dtype, a letter of NumPy's.
DTYPES = {"O": "Python objects", "U": "text", "S": "bytes", "c": "complex numbers"}
CONVERSIONS = {"c": "take its real part, for example np.real(...)"}


def closest(name: Any, names: Iterable[str]) -> str | None:
    import difflib  # only when something is wrong

    matches = difflib.get_close_matches(str(name), list(map(str, names)), n=1)
    return f"did you mean {matches[0]!r}?" if matches else None
