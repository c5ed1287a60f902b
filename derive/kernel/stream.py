"""Stream: one step at a time, with as little as possible between two of them.

In: a Kernel's packed parameters and first states.  Out: `Stream`, which keeps the states.
Not here: the step itself (a backend's), checking its input (arguments.py), whole sequences
(kernel.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from derive.errors import ArgumentTypeError
from derive.kernel.convert import values_of
from derive.kernel.signature import Array, Arrays

if TYPE_CHECKING:
    from derive.kernel.arguments import Arguments
    from derive.kernel.axes import Axes
    from derive.kernel.packed import Packed

_REAL = "biuf"


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One step of a stream, from one set of states to the other; both stay where they are.

    run(): from the buffers of the inputs to those of the outputs, which stay too.
    given(inputs): the same of a caller's arrays, in declared order, with fresh outputs {name:
    array}; None where one of them has another type, dtype, layout or shape, and nothing ran.
    """

    run: Callable[[], None]
    given: Callable[[tuple[Any, ...]], Arrays | None] | None = None


class Stream:
    """A cell that is fed one step at a time: `output = stream(x_t)`.

    x_t: [rows, I], or {input name: array} where the cell has several. Returns [rows, width], or
    {name: array} where it has several outputs; a fresh array each time. A stream belongs to one
    thread at a time. Made by `Kernel.stream`.
    """

    __slots__ = (
        "_arguments", "_axes", "_even", "_given", "_inputs", "_names", "_only", "_outputs",
        "_params", "_states", "_turns",
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
        self._names = tuple(inputs)
        self._given = turns[0].given, turns[1].given
        alone = len(inputs) == 1 and len(outputs) == 1
        self._only = (next(iter(inputs.values())), next(iter(outputs.values()))) if alone else None

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "a stream cannot be copied or sent to another process",
            facts=("it runs in memory of its own",),
            hint="send stream.state, and start with kernel.stream(params, state=state) there",
        )

    def __call__(self, x_t: Any = None) -> Array | Arrays:
        given = self._given[0 if self._even else 1]
        if given is not None and (values := values_of(x_t, self._names)):
            found = given(values)
            if found is not None:
                self._even = not self._even
                return next(iter(found.values())) if len(found) == 1 else found
        only = self._only
        if (
            only is not None
            and type(x_t) is np.ndarray
            and x_t.shape == only[0].shape
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
        self._turns[0 if self._even else 1].run()
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
