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

from derive.kernel.call import Call
from derive.kernel.signature import Array, Arrays

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
    """The steps from `begin` on of a call, as a call of its own; the states are those of the whole.

    whole: steps of the call that this is a piece of.
    """

    begin: int
    whole: int
    call: Call

    @property
    def steps(self) -> slice:
        return slice(self.begin, self.begin + self.call.sizes.steps)

    def of(self, arrays: Mapping[str, Some]) -> dict[str, Some]:
        """The part of arrays [T, ...]; views of them."""
        steps = self.steps
        return {name: None if array is None else array[steps] for name, array in arrays.items()}

    def starting(self, states: Arrays) -> Call:
        """The call from these states."""
        return self.call if states is self.call.states else replace(self.call, states=states)


def pieces(call: Call, steps: int) -> list[Piece]:
    """Pieces of `steps` steps and a shorter last one, in the order of the recurrence."""
    whole = call.sizes.steps
    if whole <= steps:
        return [Piece(0, whole, call)]
    found = []
    for done in range(0, whole, steps):
        count = min(steps, whole - done)
        begin = whole - done - count if call.reverse else done
        lengths = None if call.lengths is None else np.clip(call.lengths - begin, 0, count)
        inputs = {name: array[begin : begin + count] for name, array in call.inputs.items()}
        sizes = replace(call.sizes, steps=count)
        own = replace(call, sizes=sizes, inputs=inputs, lengths=lengths)
        found.append(Piece(begin, whole, own))
    return found


def forward(
    parts: list[Piece], states: Arrays, run: Callable[[Call], tuple[Arrays, Arrays, Any]]
) -> tuple[Arrays, Arrays, list[Any]]:
    """Outputs, last states, and what each piece keeps.

    states: before the first step.  run(call): outputs, last states, and what is kept of one piece.
    """
    outputs: Arrays = {}
    kept = []
    for piece in parts:
        found, states, own = run(piece.starting(states))
        _gather(outputs, found, piece)
        kept.append(own)
    return outputs, states, kept


def backward(
    parts: list[Piece],
    kept: list[Any],
    d_outputs: Mapping[str, Array | None],
    d_states: Mapping[str, Array | None],
    run: Callable[..., tuple[Arrays, Arrays, Arrays]],
) -> tuple[Arrays, Arrays, Arrays]:
    """Gradients of parameters, inputs and initial states.

    run(piece, kept, d_outputs, d_states): the same of one piece, those of parameters summed over
    all pieces so far. The last piece comes first.
    """
    d_params: Arrays = {}
    d_inputs: Arrays = {}
    d_first: Arrays = {}
    for piece, own in zip(reversed(parts), reversed(kept), strict=True):
        d_params, found, d_first = run(piece, own, piece.of(d_outputs), d_states)
        d_states = d_first
        _gather(d_inputs, found, piece)
    return d_params, d_inputs, d_first


def _gather(whole: Arrays, found: Arrays, piece: Piece) -> None:
    """Copies the arrays of pieces into arrays for all steps; a single piece needs no copy."""
    if piece.call.sizes.steps == piece.whole:
        whole.update(found)
        return
    for name, array in found.items():
        if name not in whole:
            whole[name] = np.empty((piece.whole, *array.shape[1:]), array.dtype)
        whole[name][piece.steps] = array
