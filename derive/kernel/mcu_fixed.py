"""Code in fixed point on this machine: generated C for a microcontroller -> a step in int16.

In: the files of a cell in fixed point, shapes of its arrays with lengths.  Out: `FixedLibrary`.
Not here: the numbers (emit/mcu/fixed), the same in float32 (mcu_backend.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from derive.build.library import compile_library
from derive.kernel.mcu_backend import FLAGS
from derive.kernel.mcu_layout import members
from derive.kernel.signature import Array, Arrays, Dim

_SHORT = np.dtype(np.int16)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names in declared order, with the lengths of their axes; params with their dimensions too, by
    which they lie together."""

    name: str
    params: Mapping[str, tuple[Dim, ...]]
    inputs: Mapping[str, tuple[int, ...]]
    states: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


class FixedLibrary:
    """NAME_step, of one row after another."""

    def __init__(
        self, files: Mapping[str, str], layout: Layout, flags: Sequence[str] = FLAGS
    ) -> None:
        self._layout = layout
        self._library = compile_library(files, flags=tuple(flags), defines=[])
        self._step = self._library[f"{layout.name}_step"]

    def step(self, params: Arrays, inputs: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        """Integers in, integers out: outputs and next states. Rows of the batch come first."""
        own = self._layout
        lying = [
            params[m.params[0]] if m.axis is None
            else np.stack([params[n] for n in m.params], axis=m.axis)
            for m in members(own.params)
        ]  # fmt: skip
        joined = _joined(lying)
        rows = max((len(a) for a in (*inputs.values(), *states.values())), default=1)
        outputs = {n: np.empty((rows, *shape), _SHORT) for n, shape in own.outputs.items()}
        after = {n: np.empty((rows, *shape), _SHORT) for n, shape in own.states.items()}
        for row in range(rows):
            state = _joined([states[n][row] for n in own.states])
            given = [np.ascontiguousarray(inputs[n][row], _SHORT) for n in own.inputs]
            found = [np.full(shape, -1, _SHORT) for shape in own.outputs.values()]
            arrays = (joined, state, *given, *found)
            self._step(*(ctypes.c_void_p(a.ctypes.data) for a in arrays))
            for target, one in zip(outputs.values(), found, strict=True):
                target[row] = one
            at = 0
            for target in after.values():
                count = target[row].size
                target[row] = state[at : at + count].reshape(target.shape[1:])
                at += count
        return outputs, after


def _joined(arrays: Sequence[Array]) -> Array:
    parts = [np.asarray(array, _SHORT).ravel() for array in arrays]
    return np.concatenate(parts) if parts else np.zeros(1, _SHORT)
