"""Stream: one step at a time, with as little as possible between two of them.

In: a Kernel's packed parameters and first states.  Out: `Stream`, which keeps the states.
Not here: the step itself (a backend's), whole sequences (kernel.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.signature import Array, Arrays

#: What a backend makes of one stream: a step from `inputs` and `first` to `outputs` and `last`,
#: all of them buffers that stay where they are; a second one from `last` to `first`.
Turn = Callable[[], None]

_REAL = "biuf"


class Stream:
    """A cell that is fed one step at a time: `output = stream(x_t)`.

    x_t: [rows, I], or {input name: array} where the cell has several. Returns [rows, width], or
    {name: array} where it has several outputs; a fresh array each time. A stream belongs to one
    thread at a time. Made by `Kernel.stream`.
    """

    __slots__ = ("_even", "_inputs", "_only", "_outputs", "_shape", "_states", "_turns")

    def __init__(
        self,
        inputs: Arrays,
        outputs: Arrays,
        states: tuple[Arrays, Arrays],
        turns: tuple[Turn, Turn],
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._states = states
        self._turns = turns
        self._even = True
        alone = len(inputs) == 1 and len(outputs) == 1
        self._only = (next(iter(inputs.values())), next(iter(outputs.values()))) if alone else None
        self._shape = self._only[0].shape if self._only else ()

    def __call__(self, x_t: Any = None) -> Array | Arrays:
        only = self._only
        if (
            only is not None
            and type(x_t) is np.ndarray
            and x_t.shape == self._shape
            and x_t.dtype.kind in _REAL
        ):
            only[0][...] = x_t
            self._turn()
            return only[1].copy()
        self._take(x_t)
        self._turn()
        if len(self._outputs) == 1:
            return next(iter(self._outputs.values())).copy()
        return {name: array.copy() for name, array in self._outputs.items()}

    def _turn(self) -> None:
        self._turns[0 if self._even else 1]()
        self._even = not self._even

    def _take(self, x_t: Any) -> None:
        if not isinstance(x_t, Mapping):
            x_t = dict.fromkeys(self._inputs, x_t) if len(self._inputs) == 1 else {}
        if x_t.keys() != self._inputs.keys():
            raise ArgumentError(
                "x_t does not name the inputs of the cell",
                facts=(f"inputs: {', '.join(self._inputs) or 'none'}",),
                hint="a mapping from every input to its array [rows, width]",
            )
        for name, buffer in self._inputs.items():
            array = np.asarray(x_t[name])
            if array.shape != buffer.shape or array.dtype.kind not in _REAL:
                raise ArgumentError(
                    f"input {name} has the wrong shape or type",
                    facts=(
                        f"given {array.dtype} {list(array.shape)}, wanted {list(buffer.shape)}",
                    ),
                )
            buffer[...] = array

    @property
    def state(self) -> Arrays:
        """The states after the last step, {name: [rows, width]}; copies."""
        return {name: array.copy() for name, array in self._states[not self._even].items()}

    def reset(self, state: Mapping[str, Any] | None = None) -> None:
        """Start afresh, from zeros or from `state`."""
        given = state or {}
        for name, buffer in self._states[not self._even].items():
            buffer[...] = given.get(name, 0)
