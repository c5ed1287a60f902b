"""Dropout masks: zeros, and 1 / keep_prob elsewhere.

In: a probability to keep, and a generator.  Out: arrays for the mask inputs of a kernel.
Not here: where a mask enters the equations (layers/compose.py).
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text
from derive.kernel.signature import Array


class Mask:
    """One mask of one wrapper.

    variational: one draw serves all steps and all rows, as TensorFlow's does; single steps go
    on with it until `forget`.
    """

    __slots__ = ("_held", "keep_prob", "random", "variational")

    def __init__(self, keep_prob: float, random: np.random.Generator, variational: bool) -> None:
        self.keep_prob = keep_prob
        self.random = random
        self.variational = variational
        self._held: Array | None = None

    def of_sequence(self, steps: int, rows: int, width: int) -> Array:
        """[T, B, width], newly drawn."""
        if self.variational:
            return np.broadcast_to(self._draw((width,)), (steps, rows, width))
        return self._draw((steps, rows, width))

    def of_step(self, rows: int, width: int) -> Array:
        """[B, width]; of a variational mask the draw of the first step."""
        if not self.variational:
            return self._draw((rows, width))
        if self._held is None or self._held.shape != (width,):
            self._held = self._draw((width,))
        return np.broadcast_to(self._held, (rows, width))

    def forget(self) -> None:
        """The next single step draws anew."""
        self._held = None

    def _draw(self, shape: tuple[int, ...]) -> Array:
        kept = np.floor(self.keep_prob + self.random.random(shape))
        return kept / self.keep_prob if self.keep_prob else kept


def probability(value: Any, name: str) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number and not (isinstance(value, np.ndarray) and value.shape == ()):
        raise ArgumentTypeError(f"{name} is a number, not {kind_text(value)}", hint=f"{name}=0.5")
    keep = float(value)
    if not 0 <= keep <= 1:
        raise ArgumentError(f"{name} must be between 0 and 1: {keep:g}")
    return keep
