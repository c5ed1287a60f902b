"""What a user may hand to derive.jax, and the errors for anything else.

In: what was given.  Out: JAX arrays and tracers that fit each other; ArgumentError and
ArgumentTypeError.
Not here: names and shapes (binding/arguments.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from derive.errors import ArgumentError, ArgumentTypeError
from derive.jax.versions import type_of
from derive.kernel.convert import kind_text, to_count

DTYPES = ("float32", "float64")


class Jax:
    """JAX's part in Arguments: `derive.binding.arguments.Library`."""

    arrays, inputs, states = "arrays", "x", "state"

    def __init__(self, *given: Any) -> None:
        """given: all of them; numbers of Python take the dtype of the first that is an array."""
        every = (v for one in given for v in (one.values() if isinstance(one, Mapping) else (one,)))
        self._dtype = next((value.dtype for value in every if _is_strict(value)), None)

    def array(self, value: Any, label: str) -> Any:
        return array_of(value, label)

    def fits(self, value: Any, label: str, like: Any) -> Any:
        own = type_of(value)
        real = jnp.issubdtype(own.dtype, np.integer) or jnp.issubdtype(own.dtype, np.floating)
        if own.weak_type and self._dtype is not None and real:
            value = value.astype(self._dtype)
        if str(value.dtype) not in DTYPES:
            raise ArgumentTypeError(
                f"{label} is {value.dtype}", facts=("run takes float32 or float64",),
                hint=f"{label.split()[-1]}.astype(jnp.float32)",
            )  # fmt: skip
        if like is not None and value.dtype != like.dtype:
            raise ArgumentTypeError(
                f"{label} is {value.dtype}, and others are {like.dtype}",
                hint=f"{label.split()[-1]}.astype(jnp.{like.dtype})",
            )
        return value

    def is_array(self, value: Any) -> bool:
        return isinstance(value, jax.Array | np.ndarray)

    def zeros(self, shape: Sequence[int], like: Any) -> Any:
        return jnp.zeros(shape, like.dtype)

    def zeros_text(self, axes: Sequence[Any]) -> str:
        return f"jnp.zeros(({', '.join(map(str, axes))}))"

    def repeated(self, value: Any, shape: Sequence[int]) -> Any:
        return jnp.broadcast_to(value, shape)

    def constant(self, value: Any) -> Any:
        return jax.lax.stop_gradient(value)

    def part(self, value: Any, at: Sequence[slice]) -> Any:
        return value[(..., *at)]

    def concatenated(self, arrays: list[Any], axis: int) -> Any:
        return jnp.concatenate(arrays, axis)

    def lengths(self, value: Any, steps: int, rows: int) -> Any:
        return lengths_of(value, steps, rows)


def _is_strict(leaf: Any) -> bool:
    """Whether this is an array with a dtype of its own."""
    if isinstance(leaf, np.ndarray | np.generic):
        return True
    return isinstance(leaf, jax.Array) and not type_of(leaf).weak_type


def array_of(value: Any, label: str) -> Any:
    """A JAX array or tracer that is not known to be on another device than the CPU."""
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentTypeError(
            f"{label} must be an array, not {kind_text(value)}", hint="jnp.asarray(...)"
        ) from error
    on_the_cpu(array, label)
    for length in array.shape:
        if not isinstance(length, int):
            raise ArgumentError(
                f"{label} has the length {length}, which is no number",
                facts=("a compiled call has fixed sizes",),
                hint="export the function for each shape",
            )
    return array


def on_the_cpu(array: Any, label: str) -> None:
    """ArgumentError where an array lies elsewhere. Where a tracer will lie is not known yet: then
    it is found when the computation is compiled."""
    if isinstance(array, jax.core.Tracer | np.ndarray):
        return
    for device in array.devices():
        if device.platform != "cpu":
            raise ArgumentError(
                f"derive.jax runs on the CPU, and {label} is on {device}",
                hint=f"jax.device_put({label.split()[-1]}, jax.devices('cpu')[0])",
            )


def lengths_of(value: Any, steps: int, rows: int) -> Any:
    """[B] int32 or int64, 0 <= length <= T; of traced ones the compiled call finds that."""
    lengths = value if isinstance(value, jax.Array) else _host(value)
    if not jnp.issubdtype(lengths.dtype, np.integer):
        raise ArgumentTypeError(
            f"lengths must be integers, not {lengths.dtype}", hint="lengths.astype(int)"
        )
    if lengths.shape != (rows,):
        raise ArgumentError(
            "lengths has the wrong shape",
            facts=(f"it is [{rows}], a number for each row, given {list(lengths.shape)}",),
        )
    if not isinstance(lengths, jax.core.Tracer) and rows:
        on_the_cpu(lengths, "lengths")
        known = np.asarray(lengths)
        if known.min() < 0 or known.max() > steps:
            raise ArgumentError(
                f"lengths has an entry {known.min() if known.min() < 0 else known.max()}",
                facts=(f"a length is at least 0 and at most T = {steps}",),
            )
    if lengths.dtype == np.uint32 or lengths.dtype == np.uint64:
        lengths = jnp.minimum(lengths, np.iinfo(np.int32).max)  # what is larger is no length
    wide = jnp.asarray(lengths)
    return wide if wide.dtype == np.int64 else wide.astype(np.int32)


def _host(value: Any) -> Any:
    """An array of NumPy, whose values are known in a trace too."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"lengths must be integers, not {kind_text(value)}", hint="lengths=[5, 3]"
        ) from error


def threads_of(value: Any) -> int:
    return to_count(value, "threads", least=1)
