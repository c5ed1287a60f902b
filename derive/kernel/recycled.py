"""Memory of large arrays that is used again, instead of pages that the system must clear.

In: a shape and a dtype.  Out: an array with nothing in it yet; its memory serves a later one when
nothing refers to it any more.
Not here: smaller arrays (buffers.py), workspaces (c_backend.py).

The C library gives memory of 32 MiB and more back to the system at once, and the next call waits
for new pages: mLSTM in PyTorch, which keeps 60 MiB for backward, took 43 ms instead of 17. So
blocks of that kind stay here, at most KEPT bytes of them idle. Without a lock, since a block may
come back in any thread, and while another is looked for, since Python may collect an array at any
allocation: each change of the table is one operation, and what walks over it takes a copy of the
keys first.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from derive.kernel.signature import Array

#: Bytes from which on memory is kept, and of all idle blocks together.
WORTH_KEEPING = 1 << 24
KEPT = 1 << 28
_CACHE_LINE = 64

_idle: dict[int, Any] = {}


class _Lent:
    """A block as long as an array refers to it: NumPy keeps this object as the array's base."""

    __slots__ = ("__array_interface__", "_block")

    def __init__(self, block: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._block = block
        at = block.ctypes.data
        self.__array_interface__ = {
            "data": (at + -at % _CACHE_LINE, False), "shape": shape, "typestr": dtype.str,
            "version": 3,
        }  # fmt: skip

    def __del__(self, ends: Any = sys.is_finalizing) -> None:
        if not ends():
            _take_back(self._block)


def recycled(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array that begins on a cache line; its elements may be anything."""
    size = math.prod(shape) * dtype.itemsize + _CACHE_LINE
    block = _fitting(size)
    if block is None:
        try:
            block = np.empty(size, np.uint8)
        except MemoryError:  # which the idle blocks may hold
            _idle.clear()
            block = np.empty(size, np.uint8)
    return np.asarray(_Lent(block, shape, dtype))


def _fitting(size: int) -> Any:
    """The smallest idle block of this size or up to a half more, which is idle no longer."""
    fitting = []
    for key in list(_idle):  # of integers, so that nothing is collected meanwhile
        block = _idle.get(key)
        if block is not None and size <= block.size <= size + size // 2:
            fitting.append((block.size, key))
    for _, key in sorted(fitting):
        if (block := _idle.pop(key, None)) is not None:
            return block
    return None


def _take_back(block: Any) -> None:
    if block.size > KEPT:
        return
    _idle[id(block)] = block
    kept = 0
    for key in reversed(list(_idle)):  # the latest stay
        one = _idle.get(key)
        kept += 0 if one is None else one.size
        if kept > KEPT:
            _idle.pop(key, None)
