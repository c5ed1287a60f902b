"""The words that a compiled function is given: sizes, addresses, and how long its buffers are.

In: arrays, packed parameters, buffers.  Out: machine words in the order of NAME.h.
Not here: which arrays a function takes and when it is called (c_backend.py).
SymPy is not imported.

Every field of the argument structures in NAME.h is one machine word, a size or a pointer.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from derive.kernel.buffers import address
from derive.kernel.packed import Packed
from derive.kernel.signature import Array

TAGS = {"float32": "f32", "float64": "f64"}
_Word = ctypes.c_size_t


def only(dtype: str) -> str:
    """The definition that leaves the functions of other dtypes out."""
    return f"DK_ONLY_{TAGS[dtype].upper()}"


class Memory(ctypes.Structure):
    """NAME_memory: elements of each buffer, and steps of a chunk."""

    _fields_ = (
        ("saved", _Word),
        ("forward", _Word),
        ("inference", _Word),
        ("backward", _Word),
        ("forward_with_packed", _Word),
        ("inference_with_packed", _Word),
        ("backward_with_packed", _Word),
        ("forward_packed", _Word),
        ("backward_packed", _Word),
        ("chunk_steps", _Word),
    )

    def running(self, params: Mapping[str, Array], training: bool) -> int:
        """The workspace of a forward call: without room for panels where they are given."""
        if type(params) is Packed:
            return int(self.forward_with_packed if training else self.inference_with_packed)
        return int(self.forward if training else self.inference)

    def returning(self, params: Mapping[str, Array]) -> int:
        """That of a backward call."""
        return int(self.backward_with_packed if type(params) is Packed else self.backward)


class Panels(NamedTuple):
    """What `pack` makes: matrices for each pass, and the addresses of all parameters, which take
    long to ask for where nothing may be written."""

    forward: Array
    backward: Array
    addresses: Mapping[str, int]


class Buffers(NamedTuple):
    """What a function reads and writes besides arrays with names."""

    panels: Array | None
    saved: Array | None
    saved_count: int
    workspace: Array

    def words(self) -> tuple[tuple[int, int], ...]:
        """Where each begins, and how many elements it has."""
        return (
            (address(self.panels), 0 if self.panels is None else self.panels.size),
            (address(self.saved), self.saved_count),
            (address(self.workspace), self.workspace.size),
        )


def panels_of(params: Mapping[str, Array], which: int) -> Array | None:
    """Packed matrices for the forward (0) or backward (1) pass, where the caller packed them."""
    return params._panels[which] if type(params) is Packed else None


def addresses(group: Mapping[str, Array | None]) -> Mapping[str, int]:
    if type(group) is Packed:
        packed: Mapping[str, int] = group._panels.addresses
        return packed
    return {name: address(array) for name, array in group.items()}


@functools.cache
def _format(count: int) -> struct.Struct:
    return struct.Struct(f"{count}N")


def in_memory(words: Sequence[int]) -> bytes:
    """Machine words in a row, which ctypes hands over as a pointer."""
    return _format(len(words)).pack(*words)
