"""A sequence in pieces: whole chunks of steps, run one after another.

In: a call's arrays, and functions that run one piece.  Out: the results of the whole sequence.
Not here: what a piece keeps or computes again (remat.py, numpy_backend.py).

Pieces are counted from where the recurrence starts: from the last step where it runs in reverse.
A row that ends within a piece, or before it, has a length within the piece like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from derive.kernel.signature import Array, Arrays, Sizes

Some = TypeVar("Some", Array, Array | None)


@dataclass(slots=True)
class Sums:
    """What the backward calls of one sequence hand on, from its last piece to its first.

    steps: of the longest piece; last: whether this call is the last of them; kept: sums over the
    steps so far, the backend's own.
    """

    steps: int
    last: bool = False
    kept: Any = None


@dataclass(frozen=True, slots=True)
class Piece:
    """The steps from `begin` on of a call."""

    begin: int
    sizes: Sizes
    lengths: Array | None

    def of(self, arrays: Mapping[str, Some]) -> dict[str, Some]:
        """The part of arrays [T, ...]; views of them."""
        steps = slice(self.begin, self.begin + self.sizes.steps)
        return {name: None if array is None else array[steps] for name, array in arrays.items()}


def pieces(sizes: Sizes, lengths: Array | None, reverse: bool, steps: int) -> list[Piece]:
    """Pieces of `steps` steps and a shorter last one, in the order of the recurrence."""
    if sizes.steps <= steps:
        return [Piece(0, sizes, lengths)]
    found = []
    for done in range(0, sizes.steps, steps):
        count = min(steps, sizes.steps - done)
        begin = sizes.steps - done - count if reverse else done
        own = None if lengths is None else np.clip(lengths - begin, 0, count)
        found.append(Piece(begin, replace(sizes, steps=count), own))
    return found


def forward(
    parts: list[Piece],
    inputs: Arrays,
    states: Arrays,
    run: Callable[[Piece, Arrays, Arrays], tuple[Arrays, Arrays, Any]],
) -> tuple[Arrays, Arrays, list[Any]]:
    """Outputs, last states, and what each piece keeps.

    run(piece, inputs, states): outputs, last states, and what is kept of one piece.
    """
    steps = sum(piece.sizes.steps for piece in parts)
    outputs: Arrays = {}
    kept = []
    for piece in parts:
        found, states, own = run(piece, piece.of(inputs), states)
        _gather(outputs, found, piece, steps)
        kept.append(own)
    return outputs, states, kept


def backward(
    parts: list[Piece],
    inputs: Arrays,
    kept: list[Any],
    d_outputs: Mapping[str, Array | None],
    d_states: Mapping[str, Array | None],
    run: Callable[..., tuple[Arrays, Arrays, Arrays]],
) -> tuple[Arrays, Arrays, Arrays]:
    """Gradients of parameters, inputs and initial states.

    run(piece, inputs, kept, d_outputs, d_states): the same of one piece, those of parameters
    summed over all pieces so far. The last piece comes first.
    """
    steps = sum(piece.sizes.steps for piece in parts)
    d_params: Arrays = {}
    d_inputs: Arrays = {}
    d_first: Arrays = {}
    for piece, own in zip(reversed(parts), reversed(kept), strict=True):
        d_out = piece.of(d_outputs)
        d_params, found, d_first = run(piece, piece.of(inputs), own, d_out, d_states)
        d_states = d_first
        _gather(d_inputs, found, piece, steps)
    return d_params, d_inputs, d_first


def _gather(whole: Arrays, found: Arrays, piece: Piece, steps: int) -> None:
    """Into arrays for all steps; those of an only piece are taken as they are."""
    if piece.sizes.steps == steps:
        whole.update(found)
        return
    for name, array in found.items():
        if name not in whole:
            whole[name] = np.empty((steps, *array.shape[1:]), array.dtype)
        whole[name][piece.begin : piece.begin + piece.sizes.steps] = array
