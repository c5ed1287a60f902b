"""The handler of XLA's foreign function interface, and the compiled functions that it knows.

In: compiled functions with a digest of what they were compiled from.  Out: their keys, which
stand in compiled computations instead of addresses.
Not here: the words of a call (engine.py), what the handler does (templates/jax/handler.c.j2).

The handler is compiled once for a machine and a version of jaxlib, whose header it includes; all
cells share it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import threading
from pathlib import Path
from typing import Any

import jax

from derive.build.library import compile_library
from derive.build.templates import environment
from derive.errors import BuildError, InternalError

#: What XLA knows the handler by.
TARGET = "derive_call"
_HEADER = "xla/ffi/api/c_api.h"

_known: dict[int, str] = {}
_lock = threading.Lock()


@functools.cache
def _library() -> ctypes.CDLL:
    path = Path(jax.ffi.include_dir()) / _HEADER
    try:
        header = path.read_text()
    except OSError as error:
        raise BuildError(
            "jaxlib has no header of XLA's foreign function interface",
            facts=(f"looked for {path}",),
            hint="pip install --force-reinstall jaxlib",
        ) from error
    text = environment().get_template("jax/handler.c.j2").render()
    library = compile_library({_HEADER: header, "handler.c": text})
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(library.derive_xla_call), platform="cpu")
    return library


def key_of(content: str, function: Any, pool: Any) -> int:
    """The key of a compiled function, which the handler knows from now on.

    content: all that decides what the function computes and how its memory lies. The key is the
    same in every process.
    """
    digest = hashlib.sha256(content.encode()).hexdigest()
    key = int(digest[:16], 16) >> 1
    with _lock:
        if _known.get(key, digest) != digest:
            raise InternalError(f"two kernels have the key {key}")
        if key not in _known:
            at = [None if f is None else ctypes.cast(f, ctypes.c_void_p) for f in (function, pool)]
            if _library().derive_xla_add(ctypes.c_int64(key), *at):
                raise MemoryError("no memory for an entry of the table of kernels")
            _known[key] = digest
    return key
