"""Every k-th state is kept, and the rest computed again: `remat="time"`.

In: a Backend.  Out: a Backend that keeps less: of T steps the states before each of about sqrt(T)
pieces. Its results are those of the Backend given, to the bit.
Not here: how a sequence is cut into pieces (chunks.py).

Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
differentiation, Optimization Methods and Software 1 (1992); Chen et al., Training deep nets with
sublinear memory cost, arXiv 1604.06174. One level of it: every step runs forward twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

from derive.errors import ArgumentError
from derive.kernel import chunks
from derive.kernel.axes import Axes
from derive.kernel.backend import Backend
from derive.kernel.call import Call
from derive.kernel.chunks import Piece, Sums
from derive.kernel.convert import closest
from derive.kernel.packed import Packed
from derive.kernel.signature import Array, Arrays

AXES = ("time",)


def to_remat(value: Any) -> str | None:
    """None or "time"; ArgumentError for anything else."""
    if value is None or (isinstance(value, str) and value in AXES):
        return value
    raise ArgumentError(
        f"remat is None or 'time', not {value!r}",
        facts=("'time' keeps every k-th state, and computes the steps between them again",),
        hint=closest(value, AXES) or 'remat="time"',
    )


def kept_every(steps: int, chunk: int) -> int:
    """k, the steps of a piece: about sqrt(steps), rounded up to whole chunks."""
    return -(-(isqrt(max(steps, 1) - 1) + 1) // chunk) * chunk


@dataclass(frozen=True, slots=True)
class Remat:
    """Runs `backend` piece by piece; what it keeps are the states before each."""

    backend: Backend

    def packed(self, call: Call) -> Call:
        """Parameters copied and packed once for all pieces: they are needed again after the
        call, and short pieces would be run without packing, which sums in another order."""
        if type(call.params) is Packed or len(self._pieces(call)) == 1:
            return call
        arrays = {name: array.copy() for name, array in call.params.items()}
        panels = self.backend.pack(call.sizes, arrays)
        return replace(call, params=Packed(arrays, None, Axes(), panels))

    def forward(self, call: Call) -> tuple[Arrays, Arrays, list[Arrays]]:
        """Outputs, last states, and the states before each piece."""

        def run(piece: Call) -> tuple[Arrays, Arrays, Arrays]:
            outputs, after, _ = self.backend.forward(replace(piece, training=False))
            return outputs, after, piece.states

        first = {name: array.copy() for name, array in call.states.items()}  # so far the caller's
        return chunks.forward(self._pieces(call), first, run)

    def backward(
        self,
        call: Call,
        kept: list[Arrays],
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
    ) -> tuple[Arrays, Arrays, Arrays]:
        """Gradients of params, inputs and initial states."""
        parts = self._pieces(call)
        sums = Sums(steps=parts[0].call.sizes.steps)

        def run(
            piece: Piece,
            before: Arrays,
            d_out: Mapping[str, Array | None],
            d_after: Mapping[str, Array | None],
        ) -> tuple[Arrays, Arrays, Arrays]:
            sums.last = piece is parts[0]
            own = piece.starting(before)
            _, _, saved = self.backend.forward(own)
            return self.backend.backward(own, saved, d_out, d_after, sums)

        return chunks.backward(parts, kept, d_outputs, d_states, run)

    def _pieces(self, call: Call) -> list[Piece]:
        steps = kept_every(call.sizes.steps, self.backend.chunk_steps(call.sizes))
        return chunks.pieces(call, steps)
