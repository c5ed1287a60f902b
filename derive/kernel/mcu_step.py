"""Code for inference on this machine: generated C for a microcontroller -> a step.

In: the files of a cell in fixed point or with weights in int8, shapes of its arrays with lengths.
Out: `StepLibrary`.
Not here: the numbers (emit/mcu/fixed, emit/mcu/int8.py), training in float32 (mcu_backend.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.build.library import compile_library
from derive.kernel.mcu_backend import FLAGS
from derive.kernel.mcu_layout import members
from derive.kernel.signature import Array, Arrays, Dim


@dataclass(frozen=True, slots=True)
class Layout:
    """Names in declared order, with the lengths of their axes; params with their dimensions too, by
    which they lie together.  real: the numbers of all but what is `narrow`, which is in int8."""

    name: str
    params: Mapping[str, tuple[Dim, ...]]
    inputs: Mapping[str, tuple[int, ...]]
    states: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    real: type[np.generic] = np.int16
    narrow: Collection[str] = ()


class StepLibrary:
    """NAME_step, of one row after another."""

    def __init__(
        self, files: Mapping[str, str], layout: Layout, flags: Sequence[str] = FLAGS
    ) -> None:
        self._layout = layout
        self._library = compile_library(files, flags=tuple(flags), defines=[])
        self._step = self._library[f"{layout.name}_step"]

    def step(self, params: Arrays, inputs: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        """Outputs and next states, in the device's numbers. Rows of the batch come first."""
        own, real = self._layout, np.dtype(self._layout.real)
        lying = [
            np.asarray(
                params[m.params[0]] if m.axis is None
                else np.stack([params[n] for n in m.params], axis=m.axis),
                np.int8 if m.narrow else real,
            )
            for m in members(own.params, own.narrow)
        ]  # fmt: skip
        joined = np.frombuffer(bytearray(b"".join(a.tobytes() for a in lying) or bytes(8)), np.int8)
        rows = max((len(a) for a in (*inputs.values(), *states.values())), default=1)
        outputs = {n: np.empty((rows, *shape), real) for n, shape in own.outputs.items()}
        after = {n: np.empty((rows, *shape), real) for n, shape in own.states.items()}
        for row in range(rows):
            state = _joined([states[n][row] for n in own.states], real)
            given = [np.ascontiguousarray(inputs[n][row], real) for n in own.inputs]
            found = [np.full(shape, -1, real) for shape in own.outputs.values()]
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


def _joined(arrays: Sequence[Array], real: np.dtype[Any]) -> Array:
    parts = [np.asarray(array, real).ravel() for array in arrays]
    return np.concatenate(parts) if parts else np.zeros(1, real)
