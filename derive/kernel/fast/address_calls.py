"""Calls of compiled functions by address: for arrays that are not NumPy's.

In: a kind of call, and the address of every array, in the order of the header.  Out: what the
compiled function wrote where these addresses point.
Not here: whose memory that is; its shapes, dtype and layout, which the caller has checked.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from derive.kernel.buffers import address
from derive.kernel.signature import Array

if TYPE_CHECKING:
    from derive.kernel.backend import Backend
    from derive.kernel.call import Call

_Word = ctypes.c_size_t


@dataclass(frozen=True, slots=True)
class Function:
    """One compiled function with one set of sizes.

    words: sizes, then a place for the lengths, then whether time runs in reverse.  saved: elements
    of what is kept from forward to backward.  rest: what follows the buffers.
    """

    run: Callable[..., int]
    check: Callable[[int], None]
    sizes: tuple[int, ...]
    reverse: int
    saved: int
    workspace: int
    memory: Callable[[int], Array]
    pool: Any
    team: int
    patient: int
    rest: tuple[int, ...]

    def __call__(self, lengths: int, addresses: Sequence[int], saved: int) -> None:
        """addresses: of each array, 0 for one that is left out; lengths and saved may be 0 too."""
        room = self.memory(self.workspace)
        words = (
            *self.sizes, lengths, self.reverse, *addresses,
            0, 0, saved, self.saved, address(room), room.size, *self.rest,
        )  # fmt: skip
        args = struct.pack(f"{len(words)}N", *words)
        if self.team == 1:
            status = self.run(args, None)
        else:
            status = self.pool(self.run, args, _Word(self.team), _Word(self.patient))
        if status:
            self.check(status)


@dataclass(frozen=True, slots=True)
class AddressCalls:
    """Both passes with one set of sizes; `saved` elements are kept between them.

    forward(lengths, addresses, saved): addresses of parameters, inputs, first states, outputs and
    last states.  backward: of parameters, inputs, cotangents of outputs and of last states, and
    the gradients of parameters, inputs and first states.
    """

    saved: int
    forward: Function
    backward: Function


def by_address(backend: Backend, call: Call) -> AddressCalls | None:
    """Calls of the kind of `call`, whose parameters count for their sizes only. None where the
    backend is not made of compiled functions."""
    from derive.kernel.c_backend import CBackend

    if not isinstance(backend, CBackend):
        return None
    memory, words = backend._memory(call.sizes), tuple(backend._size_words(call.sizes))
    team = 1 if backend._pool is None else backend.team(call)

    def function(run: Any, saved: int, workspace: int, *rest: int) -> Function:
        return Function(
            run, backend._check, words, int(call.reverse), saved, workspace, backend._workspace,
            backend._pool, team, int(backend._patient(call)), rest,
        )  # fmt: skip

    running = memory.forward if call.training else memory.inference
    return AddressCalls(
        memory.saved,
        function(backend._forward, max(memory.saved, 1) if call.training else 0, running),
        function(backend._backward, memory.saved, memory.backward, 0, 0),
    )
