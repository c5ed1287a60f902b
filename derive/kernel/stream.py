"""Stream: one step at a time, with as little as possible between two of them.

In: a Kernel's packed parameters and first states.  Out: `Stream`, which keeps the states.
Not here: the step itself (a backend's), checking its input (arguments.py), whole sequences
(kernel.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from derive.errors import ArgumentTypeError
from derive.kernel.signature import Array, Arrays

if TYPE_CHECKING:
    from derive.kernel.arguments import Arguments
    from derive.kernel.axes import Axes
    from derive.kernel.packed import Packed

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

    __slots__ = (
        "_arguments", "_axes", "_even", "_inputs", "_only", "_outputs", "_params", "_shape",
        "_states", "_turns",
    )  # fmt: skip

    def __init__(
        self,
        inputs: Arrays,
        outputs: Arrays,
        states: tuple[Arrays, Arrays],
        turns: tuple[Turn, Turn],
        arguments: Arguments,
        axes: Axes,
        params: Packed,
    ) -> None:
        """axes: lengths that all steps keep to."""
        self._inputs = inputs
        self._outputs = outputs
        self._states = states
        self._turns = turns
        self._arguments = arguments
        self._axes = axes
        self._params = params
        self._even = True
        alone = len(inputs) == 1 and len(outputs) == 1
        self._only = (next(iter(inputs.values())), next(iter(outputs.values()))) if alone else None
        self._shape = self._only[0].shape if self._only else ()

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "a stream cannot be copied or sent to another process",
            facts=("it runs in memory of its own",),
            hint="send stream.state, and start with kernel.stream(params, state=state) there",
        )

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
        arrays = self._arguments.of_stream_step(self._axes, x_t)
        for name, buffer in self._inputs.items():
            buffer[...] = arrays[name]
        self._turn()
        if len(self._outputs) == 1:
            return next(iter(self._outputs.values())).copy()
        return {name: array.copy() for name, array in self._outputs.items()}

    def _turn(self) -> None:
        self._turns[0 if self._even else 1]()
        self._even = not self._even

    @property
    def state(self) -> Arrays:
        """The states after the last step, {name: [rows, width]}; copies."""
        return {name: array.copy() for name, array in self._states[not self._even].items()}

    def reset(self, state: Any = None) -> None:
        """Start afresh, from `state`, {name: [rows, width]}; where left out, from zeros or what the
        cell has learned to start from."""
        arrays = self._arguments.of_reset(self._axes, state, self._params)
        for name, buffer in self._states[not self._even].items():
            buffer[...] = arrays[name]
