"""Kernels whose memory is fenced in and poisoned: a write or a read past an array is seen.

In: generated texts.  Out: backends, and for each a `Fence` that tells which arrays were overrun.
Not here: which calls are made (paths.py).

Every array that a compiled function gets lies between guard words, is exactly as long as the query
function says, and is full of NaN before it is written. So a write just outside changes a guard, and
what is read outside, or before it was written, makes a NaN of the result. Every other array begins
on no boundary but that of an element, which is all that the header assumes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from math import prod
from typing import Any

import numpy as np

from derive.build.compiler import FLAGS
from derive.errors import BuildError
from derive.kernel.buffers import address
from derive.kernel.c_backend import CBackend
from derive.kernel.call import Call
from derive.kernel.numpy_backend import NumpyBackend
from derive.kernel.pool import beside_header
from derive.kernel.signature import Array, Arrays, Signature, Sizes
from derive.verification.refusals import Form, asking, bad_lengths, complaints, packing

#: Both are NaN in float32 and in float64, and no NaN that arithmetic makes.
_GUARD, _POISON = 0xFFFDA5A5, 0xFFFE5A5A
_WORD = np.uint32
#: Bytes of each fence, and what the arrays are aligned to.
_WIDE, _LINE = 192, 64


class Fence:
    """Hands out arrays between guard words, and looks after the words."""

    def __init__(self) -> None:
        self._arrays: list[tuple[Array, int, int, str]] = []
        self._odd = False

    def empty(self, shape: tuple[int, ...], dtype: Any, what: str = "array") -> Array:
        size = prod(shape) * np.dtype(dtype).itemsize
        memory = np.empty((size + 2 * _WIDE + 2 * _LINE) // 4, _WORD)
        start = _WIDE + -(memory.ctypes.data + _WIDE) % _LINE
        self._odd = not self._odd
        start += np.dtype(dtype).itemsize if self._odd else 0
        memory[:] = _GUARD
        memory[start // 4 : (start + size) // 4] = _POISON
        self._arrays.append((memory, start // 4, (start + size) // 4, what))
        return np.ndarray(shape, dtype, memory, start)

    def copy(self, array: Array, what: str = "array") -> Array:
        inside = self.empty(array.shape, array.dtype, what)
        inside[...] = array
        return inside

    def overrun(self) -> list[str]:
        """What was written around the arrays handed out since the last time, in words."""
        found = []
        for memory, begin, end, what in self._arrays:
            for where, words in (("before", memory[:begin]), ("past", memory[end:])):
                if (words != _GUARD).any():
                    found.append(f"wrote {where} the {what} of {(end - begin) * 4} bytes")
        self._arrays.clear()
        return found


#: Steps of a part, in turn, of a call by one thread; 0: the plain pass.
_PARTS = (0, 2, 3)


class FencedC(CBackend):
    """The C target, every call of it through fenced arrays and with all members of its team, which
    take turns (team.c)."""

    def __init__(
        self, files: Mapping[str, str], signature: Signature, dtype: str, team: int,
        defines: Sequence[str] = (), weights: str | None = None,
    ) -> None:  # fmt: skip
        # With other thresholds the text is compiled a second time, and not for speed.
        plain = [flag for flag in FLAGS if not flag.startswith("-O")]
        flags = (*plain, "-O1", *(f"-D{define}" for define in defines)) if defines else FLAGS
        super().__init__(files, signature, dtype, team, flags, team=team, weights=weights)
        self.fence = Fence()
        self._down = False
        self._refusing = False
        self._turn = 0
        self._complaints: list[str] = []

    def _runner(self, files: Mapping[str, str]) -> Any:
        text = resources.files("derive.verification").joinpath("team.c").read_text(encoding="utf-8")
        return beside_header(files, "team.c", text).derive_turns_run

    def _patient(self, *_: Any) -> bool:
        """Which member goes first, the first and the last in turn."""
        self._down = not self._down
        return self._down

    def _empty(self, shape: tuple[int, ...]) -> Array:
        return self.fence.empty(shape, self._dtype)

    def _fresh(self, sizes: Sizes, widths: Mapping[str, Any], steps: int | None = None) -> Arrays:
        shapes = self._shapes(sizes, widths, steps)
        return {n: self.fence.empty(shape, self._dtype, n) for n, shape in shapes.items()}

    def _workspace(self, count: int) -> Array:
        return self.fence.empty((max(count, 1),), self._dtype, "workspace")

    def ready(self, *_: Any) -> None:
        """No call is prepared: each gets its memory here."""

    # --- what must be refused ---------------------------------------------------------------

    def refused(self, make: Callable[[], object]) -> list[str]:
        """Complaints about the calls that `make` makes, each tried with one word wrong before."""
        self._complaints.clear()
        self._refusing = True
        try:
            make()
        finally:
            self._refusing = False
        return list(dict.fromkeys(self._complaints))

    def _run(
        self, function: Any, call: Call, groups: Sequence[Mapping[str, Array | None]],
        buffers: Any, rest: Sequence[int] = (),
    ) -> None:  # fmt: skip
        if self._refusing:
            self._try(function, call, groups, buffers, rest)
        passes = self._forward, self._backward
        if function in passes and self._team == 1 and self.can_pipeline:
            self._turn = (self._turn + 1) % len(_PARTS)
            if steps := _PARTS[self._turn]:
                function = partial(
                    self._in_parts, self._pipelined[passes.index(function)], steps=steps,
                    all_steps=call.sizes.steps,
                )  # fmt: skip
        super()._run(function, call, groups, buffers, rest)

    def _in_parts(self, function: Any, args: Any, _: object, *, steps: int, all_steps: int) -> int:
        """A pass that follows that of another layer, which is as late as can be: each look finds
        one step more. What was waited for, and announced, must be all steps."""
        ready, done = ctypes.c_size_t(0), ctypes.c_size_t(0)
        ahead: list[int] = []

        def look() -> int:
            if done.value > ready.value:
                ahead.append(done.value)
            ready.value += 1
            return 0

        give_way = ctypes.CFUNCTYPE(ctypes.c_int)(look)
        at = [ctypes.addressof(ready), ctypes.addressof(done), steps, 0]
        pipeline = _words([*at, ctypes.cast(give_way, ctypes.c_void_p).value or 0])
        status = int(function(args, pipeline))
        if not status and (ahead or (ready.value, done.value) != (all_steps, all_steps)):
            raise BuildError(
                f"{self._signature.name}: the pipeline waited for {ready.value} and announced "
                f"{done.value} of {all_steps} steps",
                facts=(f"parts of {steps} steps",),
            )
        return status

    def _try(
        self, function: Any, call: Call, groups: Sequence[Mapping[str, Array | None]],
        buffers: Any, rest: Sequence[int],
    ) -> None:  # fmt: skip
        args = self._arguments(call, groups, buffers, rest)
        words = [*memoryview(args).cast("P")]
        backward = function is self._backward
        optional = (2, 3) if backward else (2,)
        single = function is self._step
        (_, packed), (_, saved), (_, workspace) = buffers.words()
        form = Form(
            len(self._dims), tuple(map(len, groups)), optional, (packed, saved, workspace), single
        )
        name = str(function.__name__)

        def run(changed: Sequence[int] | None) -> int:
            return int(function(_words(changed), None))

        training = buffers.saved is not None
        found = complaints(name, run, words, form, training=training, backward=backward)
        if call.lengths is not None:
            found += bad_lengths(name, run, words, call.lengths)
        self._complaints += found + self._others(call.sizes, words, form, backward)

    def _others(self, sizes: Sizes, words: Sequence[int], form: Form, backward: bool) -> list[str]:
        """Complaints about the functions that pack and that tell how much memory is needed."""
        memory = self._memory(sizes)
        count = memory.backward_packed if backward else memory.forward_packed
        panels = self._empty((max(count, 1),))
        packer = self._packers[backward]

        def pack(changed: Sequence[int] | None, at: int, room: int) -> int:
            return int(packer(_words(changed), ctypes.c_void_p(at), ctypes.c_size_t(room)))

        def ask(changed: Sequence[int] | None, place: bool) -> int:
            into = ctypes.byref(type(memory)()) if place else None
            return int(self._memory_needed(_words(changed), ctypes.c_size_t(1), into))

        found = packing(str(packer.__name__), pack, words, form, (address(panels), count))
        return found + asking(ask, words[: 2 + form.dims])


def _words(values: Sequence[int] | None) -> Any:
    """Machine words in a row, or NULL."""
    return None if values is None else (ctypes.c_size_t * len(values))(*values)


class PoisonedNumpy(NumpyBackend):
    """The NumPy target; what `numpy.empty` gives it is full of NaN."""

    __slots__ = ("fence",)

    def __init__(self, files: Mapping[str, str], signature: Signature) -> None:
        super().__init__(files, signature)
        self.fence = Fence()
        names = self._forward.__globals__
        for name in [name for name, value in names.items() if value is np]:
            names[name] = _Poisoned()

    def ready(self, *_: Any) -> None:
        """No call is prepared: none of them skips what is looked at here."""


class _Poisoned:
    """numpy, but for `empty`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> Array:
        return np.full(shape, np.nan, dtype)
