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
from dataclasses import dataclass
from math import isqrt
from typing import Any

from derive.errors import ArgumentError
from derive.kernel import chunks
from derive.kernel.axes import Axes
from derive.kernel.backend import Backend
from derive.kernel.chunks import Piece, Sums
from derive.kernel.convert import closest
from derive.kernel.packed import Packed
from derive.kernel.signature import Array, Arrays, Sizes

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

    def packed(self, sizes: Sizes, params: Mapping[str, Array]) -> Mapping[str, Array]:
        """Parameters copied and packed once for all pieces: they are needed again after the
        call, and short pieces would be run without packing, which sums in another order."""
        if type(params) is Packed or len(self._pieces(sizes, None, False)) == 1:
            return params
        arrays = {name: array.copy() for name, array in params.items()}
        return Packed(arrays, None, Axes(), self.backend.pack(sizes, arrays))

    def forward(
        self,
        sizes: Sizes,
        params: Mapping[str, Array],
        inputs: Arrays,
        states: Arrays,
        lengths: Array | None,
        reverse: bool,
    ) -> tuple[Arrays, Arrays, list[Arrays]]:
        """Outputs, last states, and the states before each piece."""

        def run(piece: Piece, x: Arrays, before: Arrays) -> tuple[Arrays, Arrays, Arrays]:
            outputs, after, _ = self.backend.forward(
                piece.sizes, params, x, before, piece.lengths, reverse, training=False
            )
            return outputs, after, before

        first = {name: array.copy() for name, array in states.items()}  # the caller's until now
        return chunks.forward(self._pieces(sizes, lengths, reverse), inputs, first, run)

    def backward(
        self,
        sizes: Sizes,
        params: Mapping[str, Array],
        inputs: Arrays,
        kept: list[Arrays],
        lengths: Array | None,
        reverse: bool,
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
    ) -> tuple[Arrays, Arrays, Arrays]:
        """Gradients of params, inputs and initial states."""
        parts = self._pieces(sizes, lengths, reverse)
        sums = Sums(steps=parts[0].sizes.steps)

        def run(
            piece: Piece,
            x: Arrays,
            before: Arrays,
            d_out: Mapping[str, Array | None],
            d_after: Mapping[str, Array | None],
        ) -> tuple[Arrays, Arrays, Arrays]:
            sums.last = piece is parts[0]
            _, _, saved = self.backend.forward(
                piece.sizes, params, x, before, piece.lengths, reverse, training=True
            )
            return self.backend.backward(
                piece.sizes, params, x, saved, piece.lengths, reverse, d_out, d_after, sums
            )

        return chunks.backward(parts, inputs, kept, d_outputs, d_states, run)

    def _pieces(self, sizes: Sizes, lengths: Array | None, reverse: bool) -> list[Piece]:
        steps = kept_every(sizes.steps, self.backend.chunk_steps(sizes))
        return chunks.pieces(sizes, lengths, reverse, steps)
