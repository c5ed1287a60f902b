"""Arrays that a compiled function writes: new ones for each call, and where they lie.

In: shapes by name, a dtype.  Out: arrays; their places in a direct call.
Not here: which arrays a function needs (c_backend.py), memory of large ones (recycled.py).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from derive.kernel.fast.native_call import Place
from derive.kernel.recycled import WORTH_KEEPING, recycled
from derive.kernel.signature import Array, Arrays

#: Bytes: of a cache line, and of an array from which beginning on one is worth the trouble.
_CACHE_LINE = 64
_WORTH_ALIGNING = 4096

_BYTE = ctypes.c_char


class Fresh:
    """Arrays of these shapes by name, new ones for each call."""

    __slots__ = ("_dtype", "_shapes")

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._shapes = [(name, shape, _bytes(shape, dtype)) for name, shape in shapes.items()]

    def arrays(self) -> Arrays:
        dtype = self._dtype
        return {
            name: np.empty(shape, dtype) if size < _WORTH_ALIGNING else _aligned(shape, dtype, size)
            for name, shape, size in self._shapes
        }

    def places(self, optional: Collection[str] = ()) -> dict[str, Place]:
        """optional: the names of those that may be left out."""
        return {name: Place(shape, name in optional) for name, shape, _ in self._shapes}


def places(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Place]:
    """Of arrays that a caller gives."""
    return {name: Place(shape) for name, shape in shapes.items()}


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array with nothing in it yet; a large one begins on a cache line."""
    size = _bytes(shape, dtype)
    return np.empty(shape, dtype) if size < _WORTH_ALIGNING else _aligned(shape, dtype, size)


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> Array:
    """An array that begins on a cache line: vectors across two lines take twice as long."""
    if size >= WORTH_KEEPING:
        return recycled(shape, dtype)
    memory = np.empty(size + _CACHE_LINE, np.uint8)
    start = -address(memory) % _CACHE_LINE
    return np.ndarray(shape, dtype, memory, start)


def address(array: Array | None) -> int:
    """Where an array begins; 0 where there is none."""
    if array is None:
        return 0
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or empty: four times slower
        return int(array.__array_interface__["data"][0])
