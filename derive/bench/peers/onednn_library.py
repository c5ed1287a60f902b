"""oneDNN's C interface through ctypes: engine, memory, primitives.

In: the path of a libdnnl of version 3.  Out: `Library`, `Primitive`, memory as NumPy arrays.
Not here: cells (onednn.py).

Constants are those of oneapi/dnnl/dnnl_types.h of version 3. Handles of primitives and memory live
as long as the process.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from derive.errors import BuildError
from derive.kernel.signature import Array

#: A path to libdnnl, where it is not found by itself.
VARIABLE = "DERIVE_ONEDNN"

FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128
LEFT_TO_RIGHT, TANH = 1, 0x21
BF16, F32, S8, U8 = 2, 3, 5, 6
_CPU, _IN_ORDER, _ANY_LAYOUT, _EXECUTION_ARGUMENT = 1, 1, 1, 255

#: Numbers of arguments; the gradient of each is GRADIENT more.
SRC, SRC_ITER, SRC_ITER_C = 1, 2, 3
DST, DST_ITER, DST_ITER_C = 17, 18, 19
WEIGHTS, WEIGHTS_ITER, PEEPHOLE, BIAS = 33, 34, 35, 41
WORKSPACE, GRADIENT = 64, 128


def find() -> str | None:
    """The library: $DERIVE_ONEDNN, the wheel onednn-cpu-gomp, or the system's."""
    if given := os.environ.get(VARIABLE):
        return given
    for path in sorted((Path(sys.prefix) / "lib").glob("libdnnl.so.3*")):
        return str(path)
    return ctypes.util.find_library("dnnl")


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int),
        ("hash", ctypes.c_char_p), ("cpu_runtime", ctypes.c_uint), ("gpu_runtime", ctypes.c_uint),
    )  # fmt: skip


class _Argument(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("memory", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of oneDNN's; `array` shares it where its layout is a plain one."""

    handle: ctypes.c_void_p
    description: ctypes.c_void_p
    array: Array | None = None


class Library:
    """An engine and a stream on the processor."""

    def __init__(self, path: str) -> None:
        try:
            self.c = ctypes.CDLL(path)
            self.c.dnnl_version.restype = ctypes.POINTER(_Version)
            version = self.c.dnnl_version().contents
        except (OSError, AttributeError) as error:
            raise BuildError(f"{path} is no oneDNN: {error}") from error
        self.version = f"{version.major}.{version.minor}.{version.patch}"
        if version.major != 3:
            raise BuildError(f"{path} is oneDNN {self.version}; version 3 is needed")
        self.c.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        self.c.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.engine, self.stream = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("engine_create", ctypes.byref(self.engine), _CPU, ctypes.c_size_t(0))
        self.call("stream_create", ctypes.byref(self.stream), self.engine, _IN_ORDER)

    def call(self, name: str, *arguments: Any) -> None:
        status = self.c[f"dnnl_{name}"](*arguments)
        if status:
            raise BuildError(f"oneDNN {self.version}: dnnl_{name} refused with status {status}")

    # --- memory -----------------------------------------------------------------------------

    def describe(
        self, shape: Sequence[int], strides: Sequence[int] | None, numbers: int = F32
    ) -> ctypes.c_void_p:
        """A description of such numbers; without strides the library chooses the layout."""
        made = ctypes.c_void_p()
        dims = (ctypes.c_int64 * 12)(*shape)
        start = (ctypes.byref(made), len(shape), dims, numbers)
        if strides is None:
            self.call("memory_desc_create_with_tag", *start, _ANY_LAYOUT)
        else:
            self.call("memory_desc_create_with_strides", *start, (ctypes.c_int64 * 12)(*strides))
        return made

    def describe_plain(self, shape: Sequence[int], numbers: int = F32) -> ctypes.c_void_p:
        """One row behind the other: NumPy's own strides are arbitrary along axes of length 1."""
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        return self.describe(shape, strides, numbers)

    def plain(self, array: Array) -> Memory:
        """Memory that a C-contiguous float32 array owns."""
        assert array.flags.c_contiguous and array.dtype == np.float32
        description = self.describe_plain(array.shape)
        return self._memory(description, ctypes.c_void_p(array.ctypes.data), array)

    def own(self, description: ctypes.c_void_p) -> Memory:
        """Fresh memory of the library's own layout."""
        size = int(self.c.dnnl_memory_desc_get_size(description))
        storage = np.empty(size + 64, np.uint8)
        storage.fill(0)  # every page is there
        aligned = storage[-storage.ctypes.data % 64 :]
        return self._memory(description, ctypes.c_void_p(aligned.ctypes.data), storage)

    def size(self, description: ctypes.c_void_p) -> int:
        return int(self.c.dnnl_memory_desc_get_size(description))

    def _memory(
        self, description: ctypes.c_void_p, address: ctypes.c_void_p, array: Array
    ) -> Memory:
        handle = ctypes.c_void_p()
        self.call("memory_create", ctypes.byref(handle), description, self.engine, address)
        return Memory(handle, description, array)

    # --- primitives -------------------------------------------------------------------------

    def quantized(
        self, scale: float, shift: float, weights: Array | None = None
    ) -> ctypes.c_void_p:
        """Attributes: a number is number * scale + shift from 0 to 255; weights have scales [G * H]
        of their last two axes."""
        made = ctypes.c_void_p()
        self.call("primitive_attr_create", ctypes.byref(made))
        self.call(
            "primitive_attr_set_rnn_data_qparams",
            made,
            ctypes.c_float(scale),
            ctypes.c_float(shift),
        )
        if weights is None:
            return made
        scales = weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        self.call(
            "primitive_attr_set_rnn_weights_qparams", made, ctypes.c_int64(weights.size),
            (1 << 3) + (1 << 4), scales,
        )  # fmt: skip
        return made

    def primitive(
        self, kind: str, *arguments: Any, attributes: ctypes.c_void_p | None = None
    ) -> Primitive:
        """`dnnl_KIND_primitive_desc_create(&made, engine, *arguments, attributes)`."""
        description, made = ctypes.c_void_p(), ctypes.c_void_p()
        self.call(
            f"{kind}_primitive_desc_create", ctypes.byref(description), self.engine, *arguments,
            attributes,
        )  # fmt: skip
        self.call("primitive_create", ctypes.byref(made), description)
        return Primitive(self, made, description)

    def reorder(
        self, source: Memory, target: Memory, attributes: ctypes.c_void_p | None = None
    ) -> Primitive:
        """Copies from one layout to another, each time it runs."""
        description, made = ctypes.c_void_p(), ctypes.c_void_p()
        self.call(
            "reorder_primitive_desc_create", ctypes.byref(description), source.description,
            self.engine, target.description, self.engine, attributes,
        )  # fmt: skip
        self.call("primitive_create", ctypes.byref(made), description)
        # DNNL_ARG_FROM is DNNL_ARG_SRC, DNNL_ARG_TO is DNNL_ARG_DST.
        return Primitive(self, made, description).bind({SRC: source, DST: target})


@dataclass(slots=True)
class Primitive:
    library: Library
    handle: ctypes.c_void_p
    description: ctypes.c_void_p
    _arguments: Any = None
    _memory: tuple[Memory, ...] = ()  # kept alive

    def wants(self, number: int) -> ctypes.c_void_p:
        """The description of an argument as the primitive wants it."""
        found = self.library.c.dnnl_primitive_desc_query_md(
            self.description, _EXECUTION_ARGUMENT, number
        )
        return ctypes.c_void_p(found)

    def bind(self, arguments: Mapping[int, Memory]) -> Primitive:
        self._arguments = (_Argument * len(arguments))(
            *(_Argument(number, memory.handle) for number, memory in arguments.items())
        )
        self._memory = tuple(arguments.values())
        return self

    def run(self) -> None:
        library = self.library
        library.call(
            "primitive_execute", self.handle, library.stream, len(self._memory), self._arguments
        )
        library.call("stream_wait", library.stream)
