"""The C target: generated C text -> a compiled Backend.

In: the files of `emit(cell, "c")`, a Signature, a dtype, a number of threads.
Out: a `CBackend`, which hands pointers to the compiled functions.
Not here: finding and running the compiler (build/), the words of a call (argument_words.py),
checking arguments (arguments.py).
SymPy is not imported.

Every field of the argument structures in NAME.h is one machine word, a size or a pointer, so a
call is an array of words in the order of the header.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from derive.build.compiler import FLAGS, find_compiler
from derive.build.library import compile_library
from derive.build.loading import check_arithmetic
from derive.errors import ArgumentError, BuildError
from derive.kernel.argument_words import (
    TAGS,
    Buffers,
    Memory,
    Panels,
    addresses,
    in_memory,
    only,
    panels_of,
)
from derive.kernel.backend import Ready, Values
from derive.kernel.buffers import Fresh, address, empty, places
from derive.kernel.call import Call
from derive.kernel.chunks import Sums
from derive.kernel.fast import native_call
from derive.kernel.fast.native_call import FINGERPRINT, Direct, Place, Watched
from derive.kernel.fingerprint import Look, fingerprint, small_fingerprint
from derive.kernel.packed import Packed
from derive.kernel.pool import pool
from derive.kernel.signature import Array, Arrays, Signature, Sizes
from derive.kernel.stream import Turn
from derive.kernel.team import Meetings, pays, worth_waking
from derive.kernel.weights import WEIGHTS

_STATUS = ("ok", "null pointer", "bad size", "bad length", "buffer too small", "overflow")
#: A workspace of up to this many bytes stays with its thread for the next call.
_KEPT_WORKSPACE = 1 << 26

#: Sizes whose buffers are looked up instead of computed.
_REMEMBERED = 256

_Word = ctypes.c_size_t
Places: TypeAlias = dict[str, Place]
#: A number, or the place of an array whose address comes with each call.
Word: TypeAlias = int | Place


class CBackend:
    """The compiled functions of one cell in one dtype; `derive.kernel.backend.Backend`."""

    def __init__(
        self, files: Mapping[str, str], signature: Signature, dtype: str, threads: int = 1,
        flags: Sequence[str] = FLAGS, *, elementwise: bool = False, team: int | None = None,
        library: ctypes.CDLL | None = None, weights: str | None = None,
    ) -> None:  # fmt: skip
        """elementwise: threads meet once a chunk of steps, not in every step.  team: how many of
        the threads take part; None: all where that pays.  library: what `files` were compiled to,
        where the caller has done so already.  weights: thin ones in panels, for inference."""
        if library is None:
            thin = (f"DK_WEIGHTS={WEIGHTS[weights]}",) if weights else ()
            library = compile_library(files, flags=flags, defines=(only(dtype), *thin))
        prefix = f"{signature.name}_{TAGS[dtype]}"
        check_arithmetic(library, f"{prefix}_self_test", " ".join(find_compiler().command))
        self._signature = signature
        self._dtype = np.dtype(dtype)
        self._threads = threads
        self._elementwise = elementwise
        self._team = team
        self._meetings = Meetings.of(files if threads > 1 else {}, signature.name)
        self._forward = library[f"{prefix}_forward"]
        self._backward = library[f"{prefix}_backward"]
        self._step = library[f"{prefix}_step"]
        names = f"{prefix}_forward_pipelined", f"{prefix}_backward_pipelined"
        self._pipelined = tuple(getattr(library, name, None) for name in names)
        self._packers = library[f"{prefix}_forward_pack"], library[f"{prefix}_backward_pack"]
        self._memory_needed = library[f"{prefix}_memory_needed"]
        self._not_packed = getattr(library, f"{prefix}_not_packed", None)
        self._dims = signature.dims()
        self._local = threading.local()
        self._needed: dict[tuple[int, ...], Memory] = {}
        self._pool = self._runner(files) if threads > 1 else None

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def can_pipeline(self) -> bool:
        """Whether the files have passes that run beside others; earlier ones have none."""
        return None not in self._pipelined

    # --- Backend ----------------------------------------------------------------------------

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        sizes, training = call.sizes, call.training
        memory = self._memory(sizes)
        outputs = self._fresh(sizes, self._signature.outputs, sizes.steps)
        last = self._fresh(sizes, self._signature.states)
        saved = self._empty((memory.saved,)) if training else None
        workspace = self._workspace(memory.running(call.params, training))
        self._run(
            self._forward, call, (call.params, call.inputs, call.states, outputs, last),
            Buffers(panels_of(call.params, 0), saved, max(memory.saved, 1), workspace),
        )  # fmt: skip
        return outputs, last, saved

    def backward(
        self, call: Call, saved: Any,
        d_outputs: Mapping[str, Array | None], d_states: Mapping[str, Array | None],
        sums: Sums | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        sizes, params = call.sizes, call.params
        memory = self._memory(sizes)
        words = (0, 0)
        wants = self._signature.wants
        fresh = {n: self._empty(array.shape) for n, array in params.items() if wants(n)}
        if sums is None:
            d_params, workspace = fresh, self._workspace(memory.returning(params))
        else:
            words = int(sums.kept is not None), int(not sums.last)
            if sums.kept is None:  # a workspace that no other call writes into
                longest = self._memory(replace(sizes, steps=sums.steps))
                count = max(longest.returning(params), memory.returning(params), 1)
                sums.kept = fresh, self._empty((count,))
            d_params, workspace = sums.kept
        d_inputs = {n: self._empty(a.shape) for n, a in call.inputs.items() if wants(n)}
        d_first = self._fresh(sizes, self._signature.states)
        self._run(
            self._backward, call,
            (params, call.inputs, d_outputs, d_states, d_params, d_inputs, d_first),
            Buffers(panels_of(params, 1), saved, memory.saved, workspace), words,
        )  # fmt: skip
        return d_params, d_inputs, d_first

    def chunk_steps(self, sizes: Sizes) -> int:
        return int(self._memory(sizes).chunk_steps)

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        sizes = call.sizes
        outputs = self._fresh(sizes, self._signature.outputs)
        last = self._fresh(sizes, self._signature.states)
        workspace = self._workspace(self._memory(sizes).running(call.params, False))
        self._run(
            self._step, call, (call.params, call.inputs, call.states, outputs, last),
            Buffers(panels_of(call.params, 0), None, 0, workspace),
        )  # fmt: skip
        return outputs, last

    def ready(self, call: Call) -> Ready | None:
        if not native_call.usable():
            return None
        sizes, params, inputs, step = call.sizes, call.params, call.inputs, call.step
        memory, own, dtype = self._memory(sizes), self._signature, self._dtype
        training, packed, kind = call.training, type(params) is Packed, call.without_arrays()
        team, patient = 1 if self._pool is None else self.team(call), self._patient(call)
        outputs = Fresh(self._shapes(sizes, own.outputs, None if step else sizes.steps), dtype)
        states = Fresh(self._shapes(sizes, own.states), dtype)
        likes = {name: array.shape for name, array in params.items()}
        x = {name: array.shape for name, array in inputs.items()}
        d_likes = Fresh({name: shape for name, shape in likes.items() if own.wants(name)}, dtype)
        d_x = Fresh({name: shape for name, shape in x.items() if own.wants(name)}, dtype)
        watched = range(len(params) if packed else 0, len(params) + len(inputs))
        # Behind what is saved lie the fingerprints of what backward reads besides.
        whole = memory.saved + len(watched) * (FINGERPRINT // dtype.itemsize)
        kept = Fresh({"saved": (whole,)} if training else {}, dtype)
        running, returning = memory.running(params, training), memory.returning(params)

        def direct(
            function: Any, groups: Sequence[Places], panels: int, saved: Place | None, count: int,
            workspace: int, *rest: int,
        ) -> Direct:  # fmt: skip
            place = Place((panels,)) if packed else None
            buffers = ((place, panels if packed else 0), (saved, count), (Place(None), workspace))
            words = self._words(kind, groups, buffers, rest)
            look = None
            if saved is not None:
                offset = memory.saved * dtype.itemsize
                at = next(at for at, word in enumerate(words) if word is saved)
                look = Watched(watched, at, offset, function is self._backward)
            return Direct(function, words, dtype, self._pool, team, patient, look)

        run_forward = direct(
            self._step if step else self._forward,
            (places(likes), places(x), states.places(own.optional_states()), outputs.places(),
             states.places()),
            memory.forward_packed, kept.places().get("saved"), max(memory.saved, 1), running,
        )  # fmt: skip
        run_backward = direct(
            self._backward,
            (places(likes), places(x), outputs.places(own.outputs), states.places(own.states),
             d_likes.places(), d_x.places(), states.places()),
            memory.backward_packed, Place((whole,)), memory.saved, returning, 0, 0,
        )  # fmt: skip

        def forward(
            params: Values, panels: Any, inputs: Values, first: Values
        ) -> tuple[Arrays, Arrays, Any] | None:
            out, last, saved = outputs.arrays(), states.arrays(), kept.arrays()
            status = run_forward((
                *params, *inputs, *first, *out.values(), *last.values(),
                *(panels[:1] if packed else ()), *saved.values(), self._workspace(running),
            ))  # fmt: skip
            if status is None:
                return None
            self._check(status)
            return out, last, saved.get("saved")

        def backward(
            params: Values, panels: Any, inputs: Values, saved: Any, d_out: Values, d_last: Values
        ) -> tuple[Arrays, Arrays, Arrays] | None:
            d_params, d_inputs, d_first = d_likes.arrays(), d_x.arrays(), states.arrays()
            status = run_backward((
                *params, *inputs, *d_out, *d_last,
                *d_params.values(), *d_inputs.values(), *d_first.values(),
                *(panels[1:2] if packed else ()), saved, self._workspace(returning),
            ))  # fmt: skip
            if status is None:
                return None
            self._check(status)
            return d_params, d_inputs, d_first

        def parts(saved: Array) -> tuple[Array, bytes]:
            return saved, saved[memory.saved :].tobytes()

        look = partial(native_call.fingerprint, dtype=dtype)
        return Ready(kind, forward, backward, parts, look)

    def check_weights(self, weights: str) -> None:
        if self._not_packed is None:
            raise ArgumentError(
                f"the files of {self._signature.name} have no weights={weights!r}",
                facts=("they were generated before there were thin weights",),
                hint=f"derive generate {self._signature.name} --target c",
            )
        self._not_packed.restype = ctypes.c_char_p
        if names := self._not_packed().decode():
            raise ArgumentError(
                f"{self._signature.name} has no weights={weights!r}",
                facts=(f"matrices are computed from {names}, or multiplied along axes",),
                hint="kernel.pack(params)",
            )

    def pack(self, sizes: Sizes, params: Mapping[str, Array], weights: str | None = None) -> Panels:
        """The matrices of both passes in panels, for many calls with the same parameters; of the
        forward pass alone where they are thin."""
        memory = self._memory(sizes)
        panels = []
        at = addresses(params)
        backward = 0 if weights else memory.backward_packed
        for function, count in zip(self._packers, (memory.forward_packed, backward), strict=True):
            if weights and function is self._packers[1]:
                panels.append(self._empty((1,)))
                continue
            packed = self._empty((max(count, 1),))
            words = [*self._size_words(sizes), 0, 0, *at.values()]
            args = in_memory(words)  # pack reads no further
            self._check(function(args, ctypes.c_void_p(address(packed)), _Word(packed.size)))
            panels.append(packed)
        return Panels(panels[0], panels[1], at)

    def turns(
        self, call: Call, outputs: Arrays, states: tuple[Arrays, Arrays]
    ) -> tuple[Turn, Turn]:
        count = self._memory(call.sizes).running(call.params, False)
        workspace = self._empty((max(count, 1),))
        buffers = Buffers(panels_of(call.params, 0), None, 0, workspace)

        def turn(first: Arrays, last: Arrays) -> Turn:
            args = self._arguments(call, (call.params, call.inputs, first, outputs, last), buffers)
            run_step, check = partial(self._step, args, None), self._check
            kept = (call, outputs, states, workspace)  # the addresses are theirs

            def run(_: object = kept) -> None:
                status = run_step()
                if status:
                    check(status)

            return run

        return turn(*states), turn(*reversed(states))

    # --- calls ------------------------------------------------------------------------------

    def _size_words(self, sizes: Sizes) -> list[int]:
        return [sizes.steps, sizes.rows, *(sizes.dims[dim] for dim in self._dims)]

    def _memory(self, sizes: Sizes) -> Memory:
        words = self._size_words(sizes)
        known = self._needed.get(tuple(words))
        if known is not None:
            return known
        given = (_Word * len(words))(*words)
        memory = Memory()
        status = self._memory_needed(given, _Word(self._threads), ctypes.byref(memory))
        self._check(status)
        if len(self._needed) < _REMEMBERED:
            self._needed[tuple(words)] = memory
        return memory

    def _shapes(
        self, sizes: Sizes, widths: Mapping[str, Any], steps: int | None = None
    ) -> dict[str, tuple[int, ...]]:
        before = (sizes.rows,) if steps is None else (steps, sizes.rows)
        return {name: (*before, *sizes.lengths(width)) for name, width in widths.items()}

    def _fresh(self, sizes: Sizes, widths: Mapping[str, Any], steps: int | None = None) -> Arrays:
        return Fresh(self._shapes(sizes, widths, steps), self._dtype).arrays()

    def _runner(self, files: Mapping[str, str]) -> Any:
        """What runs a function on a team; `verify` has members take turns."""
        return pool(files)

    def _empty(self, shape: tuple[int, ...]) -> Array:
        """Memory that a compiled function writes; `verify` fences it in."""
        return empty(shape, self._dtype)

    def _run(
        self, function: Any, call: Call, groups: Sequence[Mapping[str, Array | None]],
        buffers: Buffers, rest: Sequence[int] = (),
    ) -> None:  # fmt: skip
        args = self._arguments(call, groups, buffers, rest)
        team = 1 if self._pool is None else self.team(call)
        if self._pool is None or team == 1:
            self._check(function(args, None))
        else:
            self._check(self._pool(function, args, _Word(team), _Word(self._patient(call))))

    def _arguments(
        self, call: Call, groups: Sequence[Mapping[str, Array | None]], buffers: Buffers,
        rest: Sequence[int] = (),
    ) -> bytes:  # fmt: skip
        at = [addresses(group) for group in groups]
        return in_memory(self._words(call, at, buffers.words(), rest))

    def _words(
        self, call: Call, groups: Sequence[Mapping[str, Word]],
        buffers: Sequence[tuple[Word | None, int]], rest: Sequence[int],
    ) -> list[Any]:  # fmt: skip
        """An argument structure in the order of the header: arrays by name, buffers and how many
        elements they have, and `rest`."""
        words: list[Word | None] = [*self._size_words(call.sizes)]
        words += address(call.lengths), int(call.reverse)
        for group in groups:
            words += group.values()
        for buffer in buffers:
            words += buffer
        return [0 if word is None else word for word in (*words, *rest)]

    def team(self, call: Call) -> int:
        """How many threads take part in a call."""
        if self._team is not None:
            return self._team
        return self._threads if self._threads > 1 and self._pays(call) else 1

    def _pays(self, call: Call) -> bool:
        return pays(call, self._threads, self._signature, self._elementwise, self._meetings)

    def _patient(self, call: Call) -> bool:
        """Whether a call waits until its threads are awake; one whose threads were chosen for it
        does."""
        return self._team is not None or worth_waking(call, self._signature)

    def _workspace(self, count: int) -> Array:
        kept: Array | None = getattr(self._local, "workspace", None)
        if kept is None or kept.size < count:
            kept = self._empty((max(count, 1),))
            if kept.nbytes <= _KEPT_WORKSPACE:
                self._local.workspace = kept
        return kept

    def _check(self, status: int) -> None:
        if status:
            meaning = _STATUS[status] if 0 < status < len(_STATUS) else str(status)
            if meaning == "overflow":
                raise ArgumentError(
                    f"these sizes are too large for {self._signature.name}",
                    facts=("the buffers of such a call have more bytes than can be counted",),
                )
            raise BuildError(f"{self._signature.name}: the compiled kernel refused: {meaning}")


def looks(dtype: str) -> tuple[Look, Look]:
    """Fingerprints in compiled code, which take microseconds and no memory."""
    kind = np.dtype(dtype)

    def compiled(arrays: tuple[Array, ...], otherwise: Look) -> bytes:
        return native_call.fingerprint(arrays, kind) if native_call.usable() else otherwise(arrays)

    return partial(compiled, otherwise=fingerprint), partial(compiled, otherwise=small_fingerprint)
