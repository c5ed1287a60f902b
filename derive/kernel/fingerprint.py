"""Whether arrays are still what they were, without keeping large ones.

In: arrays.  Out: a few bytes that are others if a bit of an array is.
Not here: when arrays are compared (kernel.py), the same in compiled code for the C target
(kernel/fast/native_call.py).

A fingerprint of several arrays is that of each, one after the other. Small arrays are their own:
keeping and comparing their bytes takes less time than a hash. Of large ones a hash of 64 bits is
kept; other arrays have the same one once in 2^64 times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from derive.kernel.signature import Array

Look: TypeAlias = Callable[[tuple[Array, ...]], bytes]

#: Bytes from which on an array is hashed: a matrix of 1024 x 1024 numbers in single precision.
_LARGE = 1 << 22
#: The same where as little as possible is to be kept.
_NOT_TINY = 1 << 8
#: Elements that are hashed at a time, and so copied.
_AT_A_TIME = 1 << 16


def fingerprint(arrays: tuple[Array, ...], large: int = _LARGE) -> bytes:
    parts = [array if array.nbytes < large else _hash(array) for array in arrays]
    return b"".join(parts)  # type: ignore[arg-type]


def is_small(array: Array) -> bool:
    """Whether an array is its own fingerprint, so that joining them is all there is to do."""
    return array.nbytes < _LARGE


def small_fingerprint(arrays: tuple[Array, ...]) -> bytes:
    """It takes about ten times as long, and needs next to no memory."""
    return fingerprint(arrays, _NOT_TINY)


def _hash(array: Array) -> bytes:
    flat = array.reshape(-1)
    parts = [
        hash(flat[begin : begin + _AT_A_TIME].tobytes())
        for begin in range(0, flat.size, _AT_A_TIME)
    ]
    return hash(tuple(parts)).to_bytes(8, "little", signed=True)
