"""Calls with arrays of known shapes: one step from Python to the compiled kernel.

In: a compiled function, the words of its arguments, and in them the places of arrays.  Out: a
`Direct`, called with a tuple of arrays.
Not here: which words a function takes (kernel/c_backend.py), when such a call will do
(prepared_calls.py).

Looking at type, dtype, layout, shape and address of an array takes Python about a microsecond, and
an LSTM has twenty of them. The function of templates/c/direct.c.j2 does the same for all of them
in a small part of one. It reads NumPy's objects where they lie, as every extension module does;
where the interpreter is another one, or a trial reads something else than NumPy says, there are no
direct calls, and every call is checked in Python (kernel/arguments.py).
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.build.compiler import FLAGS
from derive.build.library import compile_library
from derive.errors import BuildError
from derive.kernel.signature import Array

#: The rank of a place whose array may have any shape, and the most axes of any other (direct.c.j2).
_ANY, _MOST_AXES = 6, 5
_REFUSED = -1


@dataclass(frozen=True, slots=True)
class Place:
    """An argument that is the address of an array of this shape; None: of any shape.

    optional: None stands for a null pointer.
    """

    shape: tuple[int, ...] | None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Watched:
    """Arrays, counted as the places are, whose fingerprints a call keeps or compares.

    at: the argument that is the address of where they lie, and `offset` bytes from there on.
    """

    arrays: range
    at: int
    offset: int
    compares: bool


#: Bytes of the fingerprint of an array.
FINGERPRINT = 8


class Direct:
    """One function with one set of sizes: `status = direct(arrays)`, None where they do not fit.

    arrays: a tuple, in the order of the places. All must be plain C-contiguous, aligned arrays of
    `dtype` and of the shapes of their places; otherwise nothing runs.
    """

    __slots__ = ("_kept", "_plan", "_run")

    def __init__(
        self, function: Any, words: Sequence[int | Place], dtype: np.dtype[Any],
        pool: Any = None, team: int = 1, patient: bool = True, watched: Watched | None = None,
    ) -> None:  # fmt: skip
        """pool: the function that calls another on `team` threads; patient: even if it has to
        wake them first.  watched: nothing runs where a fingerprint is another one.  Only where
        `usable`."""
        self._run = _library().derive_direct
        self._plan = _plan(
            words, dtype, _entry(function), _entry(pool) if team > 1 else 0, team, patient, watched
        )
        self._kept = function, pool, dtype  # the plan has their addresses

    def __call__(self, arrays: tuple[Array | None, ...]) -> int | None:
        status: int = self._run(self._plan, arrays)
        return None if status == _REFUSED else status


def _entry(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _plan(
    words: Sequence[int | Place], dtype: np.dtype[Any],
    function: int = 0, pool: int = 0, team: int = 1, patient: bool = True,
    watched: Watched | None = None,
) -> bytes:  # fmt: skip
    """What direct.c.j2 calls a plan, its places, and the words."""
    places = [(at, word) for at, word in enumerate(words) if isinstance(word, Place)]
    watched = watched or Watched(range(0), 0, 0, False)
    plan = [
        function, pool, team, patient, object.__basicsize__, tuple.__basicsize__,
        id(np.ndarray), id(dtype), id(None), dtype.itemsize,
        watched.arrays.start, watched.arrays.stop, watched.at, watched.offset, watched.compares,
        len(places), len(words),
    ]  # fmt: skip
    for at, place in places:
        shape = place.shape or ()
        rank = _ANY if place.shape is None else len(shape)
        assert len(shape) <= _MOST_AXES
        plan += [at, place.optional, rank, *shape, *[0] * (_MOST_AXES - len(shape))]
    plan += [0 if isinstance(word, Place) else word for word in words]
    return struct.pack(f"{len(plan)}N", *plan)


def fingerprint(arrays: tuple[Array, ...], dtype: np.dtype[Any]) -> bytes:
    """What a call keeps of C-contiguous arrays that it watches.  Only where `usable`."""
    kept = ctypes.create_string_buffer(FINGERPRINT * len(arrays))
    _library().derive_fingerprints(_watching(len(arrays), dtype), arrays, kept, 0)
    return kept.raw


@functools.cache
def _watching(count: int, dtype: np.dtype[Any]) -> bytes:
    return _plan((), dtype, watched=Watched(range(count), 0, 0, False))


@functools.cache
def usable() -> bool:
    """Whether this machine has direct calls."""
    try:
        return sys.implementation.name == "cpython" and _reads_arrays(
            _library().derive_direct_words
        )
    except BuildError:
        return False


@functools.cache
def _library() -> ctypes.CDLL:
    from derive.build.templates import environment

    text = environment().get_template("c/direct.c.j2").render()
    library = compile_library({"direct.c": text}, flags=(*FLAGS, "-O3"))  # vectors of lanes
    library.derive_direct.argtypes = (ctypes.c_char_p, ctypes.py_object)
    library.derive_fingerprints.argtypes = (
        ctypes.c_char_p, ctypes.py_object, ctypes.c_char_p, ctypes.c_int,
    )  # fmt: skip
    library.derive_direct_words.argtypes = (ctypes.c_char_p, ctypes.py_object, ctypes.c_void_p)
    return library


def _reads_arrays(read: Any) -> bool:
    """Whether addresses, dtypes, shapes, layouts and types are read as NumPy tells them."""
    dtype = np.dtype(np.float32)
    whole = np.zeros((2, 3, 4), dtype)
    words = (ctypes.c_size_t * 4)()

    def addresses(*arrays: Any) -> list[int] | None:
        shapes = (whole.shape, (3, 4), None)
        plan = _plan([Place(s, optional=s is None) for s in shapes] + [7], dtype)
        return list(words) if read(plan, arrays, ctypes.addressof(words)) else None

    def at(array: Array) -> int:
        return int(array.__array_interface__["data"][0])

    part, line = whole[1], np.zeros(5, dtype)
    strange = (part.T.copy().T, part.astype(np.float64), part[:, :3], part.tolist(), None)
    return (
        addresses(whole, part, line) == [at(whole), at(part), at(line), 7]
        and addresses(whole, part, None) == [at(whole), at(part), 0, 7]
        and all(addresses(whole, other, line) is None for other in strange)
    )
