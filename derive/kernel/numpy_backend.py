"""The NumPy target: generated text, run as a module.

In: the one file of `emit(cell, "numpy")`.  Out: a Backend of a Kernel.
Not here: how the text is made (emit/numpy/module.py), checked arguments (kernel.py). SymPy is
not imported, and nothing is written to disk.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np

from derive.kernel import chunks
from derive.kernel.backend import Ready, Values
from derive.kernel.call import Call
from derive.kernel.chunks import Piece, Sums
from derive.kernel.convert import AS_IT_IS
from derive.kernel.fingerprint import fingerprint, is_small
from derive.kernel.packed import Packed
from derive.kernel.signature import Array, Arrays, Signature, Sizes
from derive.kernel.stream import Turn

#: Rows that are worked on and summed together: enough to keep a call's own cost small.
CHUNK_ROWS = 1024


def load(text: str, path: str) -> ModuleType:
    """The text as a module of its own; tracebacks show its lines."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = f"<generated {path} {digest}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType(PurePosixPath(path).stem)
    module.__file__ = file
    exec(compile(text, file, "exec"), module.__dict__)
    return module


@functools.cache
def _keep_freed_memory() -> None:
    """glibc hands an array of some megabytes back to the system as soon as it is freed, until a
    program has freed a larger one; then it keeps up to twice as much. The arrays of a sequence
    come and go with every call, and asking the system for them again took up to a third of the
    time. So a larger one, of 31 MiB that is never written to, comes and goes first."""
    np.empty(31 << 20, np.uint8)


@dataclass(slots=True)
class Panels:
    """What goes with packed parameters: the parameters themselves, which nothing changes, their
    shapes in declared order, and what the module's `pack` makes of them, if there is one."""

    params: Arrays
    shapes: tuple[tuple[int, ...], ...]
    pack: Callable[[Arrays, int], Arrays] | None
    made: list[Arrays | None] = field(default_factory=lambda: [None, None])

    def packed(self, rows: int) -> Arrays | None:
        """For calls of `rows` rows, made in the first one: one row gives the bits that it gives
        with plain parameters, and so do several."""
        several = rows > 1
        found = self.made[several]
        if found is None and self.pack is not None:
            found = self.made[several] = self.pack(self.params, rows)
        return found


class NumpyBackend:
    """Implements derive.kernel.backend.Backend; holds no state but the loaded functions."""

    __slots__ = ("_backward", "_forward", "_pack", "_packed_step", "_signature", "_step")

    def __init__(self, files: Mapping[str, str], signature: Signature) -> None:
        _keep_freed_memory()
        self._signature = signature
        ((path, text),) = files.items()
        module = load(text, path)
        self._forward = module.forward
        self._backward = module.backward
        self._step = module.step
        #: None where nothing but a step's own arrays decides anything.
        self._pack = getattr(module, "pack", None)
        self._packed_step = getattr(module, "packed_step", None)

    def _packed(self, call: Call, pieces: int) -> tuple[Arrays, ...]:
        """The last argument of the module's `forward`; of one piece it packs by itself."""
        if self._pack is None:
            return ()
        if type(call.params) is Packed:
            return (call.params._panels.packed(call.sizes.rows),)
        return (self._pack(call.params, call.sizes.rows),) if pieces > 1 else ()

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        parts = chunks.pieces(call, self.chunk_steps(call.sizes))
        packed = self._packed(call, len(parts))

        def run(piece: Call) -> tuple[Arrays, Arrays, Arrays]:
            sizes = piece.sizes
            found: tuple[Arrays, Arrays, Arrays] = self._forward(
                sizes.steps, sizes.rows, piece.params, piece.inputs, piece.states, piece.lengths,
                piece.reverse, piece.training, *packed,
            )  # fmt: skip
            return found

        outputs, last_states, saved = chunks.forward(parts, call.states, run)
        return outputs, last_states, saved if call.training else None

    def backward(
        self,
        call: Call,
        saved: Any,
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
        sums: Sums | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:
        parts = chunks.pieces(call, self.chunk_steps(call.sizes))
        sums = sums or Sums(steps=call.sizes.steps)

        def run(
            piece: Piece,
            kept: Arrays,
            d_out: Mapping[str, Array | None],
            d_after: Mapping[str, Array | None],
        ) -> tuple[Arrays, Arrays, Arrays]:
            own = piece.call
            d_params, d_x, d_before = self._backward(
                own.sizes.steps, own.sizes.rows, own.params, own.inputs, kept, own.lengths,
                own.reverse, d_out, d_after,
            )  # fmt: skip
            if sums.kept is None:
                sums.kept = d_params
            else:
                for name, array in d_params.items():
                    sums.kept[name] += array
            return sums.kept, d_x, d_before

        return chunks.backward(parts, saved, d_outputs, d_states, run)

    def chunk_steps(self, sizes: Sizes) -> int:
        return max(1, CHUNK_ROWS // sizes.rows)

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        return self._one_step(call.sizes.rows, call.params, call.inputs, call.states, call.params)

    def _one_step(
        self, rows: int, params: Any, inputs: Any, states: Any, given: object
    ) -> tuple[Arrays, Arrays]:
        """given: what a caller gave for the parameters, perhaps packed."""
        results: tuple[Arrays, Arrays]
        if self._packed_step is not None and type(given) is Packed:
            results = self._packed_step(rows, params, inputs, states, given._panels.packed(rows))
        else:
            results = self._step(rows, params, inputs, states)
        return results

    def ready(self, call: Call) -> Ready | None:
        """Only for calls in one piece: in longer ones the cost of checking a call is negligible."""
        sizes, params, inputs = call.sizes, call.params, call.inputs
        if sizes.steps > self.chunk_steps(sizes):
            return None
        steps, rows, dtype = sizes.steps, sizes.rows, next(iter(inputs.values())).dtype
        step, reverse, training = call.step, call.reverse, call.training
        before = () if step else (steps,)
        own = self._signature
        of_params = {name: array.shape for name, array in params.items()}
        of_inputs = {name: array.shape for name, array in inputs.items()}
        of_states = {n: (rows, *sizes.lengths(w)) for n, w in own.states.items()}
        of_outputs = {n: (*before, rows, *sizes.lengths(w)) for n, w in own.outputs.items()}
        may_lack = own.optional_states()
        packed = type(params) is Packed

        watched = tuple(inputs.values()) if packed else (*params.values(), *inputs.values())
        look = b"".join if all(map(is_small, watched)) else fingerprint

        def seen(params: Values, x: Values) -> bytes:
            return look(x if packed else (*params, *x))  # type: ignore[arg-type]

        packed_step, shapes = self._packed_step, tuple(of_params.values())

        def forward(
            params: Values, panels: Panels | None, x: Values, first: Values
        ) -> tuple[Arrays, Arrays, Any] | None:
            if panels is None:
                p = _plain(params, of_params, dtype)
            else:
                p = panels.params if panels.shapes == shapes else None
            i = _plain(x, of_inputs, dtype)
            s = _plain(first, of_states, dtype, may_lack)
            if p is None or i is None or s is None:
                return None
            for name, shape in of_states.items():
                if s[name] is None:
                    s[name] = np.zeros(shape, dtype)
            if step and panels is not None and packed_step is not None:
                return (*packed_step(rows, p, i, s, panels.packed(rows)), None)
            if step:
                return (*self._step(rows, p, i, s), None)
            more: tuple[Any, ...] = ()
            if self._pack is not None and panels is not None:
                more = (panels.packed(rows),)
            outputs, last, saved = self._forward(
                steps, rows, p, i, s, None, reverse, training, *more
            )
            return outputs, last, ([saved], seen(params, x)) if training else None

        def backward(
            params: Values, _: Any, x: Values, saved: Any, d_out: Values, d_last: Values
        ) -> tuple[Arrays, Arrays, Arrays] | None:
            p, i = _plain(params, of_params, dtype), _plain(x, of_inputs, dtype)
            out = _plain(d_out, of_outputs, dtype, of_outputs)
            last = _plain(d_last, of_states, dtype, of_states)
            if p is None or i is None or out is None or last is None:
                return None
            (kept,), before = saved
            if seen(params, x) != before:
                return None
            found: tuple[Arrays, Arrays, Arrays] = self._backward(
                steps, rows, p, i, kept, None, reverse, out, last
            )
            return found

        return Ready(call.without_arrays(), forward, backward, lambda saved: saved)

    def check_weights(self, weights: str) -> None:
        raise AssertionError("weights.py has refused them")

    def pack(self, sizes: Sizes, params: Mapping[str, Array], weights: str | None = None) -> Panels:
        """Matrices side by side and transposed, and all else that parameters alone determine."""
        shapes = tuple(array.shape for array in params.values())
        return Panels(dict(params), shapes, self._pack)

    def turns(
        self, call: Call, outputs: Arrays, states: tuple[Arrays, Arrays]
    ) -> tuple[Turn, Turn]:
        def turn(first: Arrays, last: Arrays) -> None:
            found, after = self._one_step(
                call.sizes.rows, call.params, call.inputs, first, call.params
            )
            for name, array in found.items():
                outputs[name][...] = array
            for name, array in after.items():
                last[name][...] = array

        return partial(turn, states[0], states[1]), partial(turn, states[1], states[0])


def _plain(
    values: Values,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: np.dtype[Any],
    optional: Collection[str] = (),
) -> dict[str, Any] | None:
    """Arrays by name; None if one of them is not exactly as expected, or None and not optional."""
    found: dict[str, Any] = {}
    for (name, shape), array in zip(shapes.items(), values, strict=True):
        if not (array is None and name in optional) and (
            type(array) is not np.ndarray
            or array.dtype is not dtype
            or array.shape != shape
            or array.flags.num & AS_IT_IS != AS_IT_IS
        ):
            return None
        found[name] = array
    return found
