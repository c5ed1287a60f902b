"""What the examples put around the generated kernels: a loss, clipping and Adam, in NumPy.

In: logits, arrays and their gradients.  Out: a loss with its gradient; arrays changed in place.
Not here: anything recurrent. That part, forward and backward, is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """Mean loss in nats and its gradient. logits: [..., V]; targets: [...] integers below V."""
    rows = logits.reshape(-1, logits.shape[-1])
    shifted = rows - rows.max(axis=1, keepdims=True)
    d_logits = np.exp(shifted)
    total = d_logits.sum(axis=1, keepdims=True)
    at = (np.arange(len(rows)), targets.reshape(-1))
    losses = np.log(total[:, 0]) - shifted[at]
    d_logits /= total
    d_logits[at] -= 1
    d_logits /= len(rows)
    return float(losses.mean(dtype=np.float64)), d_logits.reshape(logits.shape)


def clip_by_norm(gradients: Sequence[Array], bound: float) -> float:
    """Scales all gradients together to a norm of at most `bound`; returns the norm before."""
    norm = float(np.sqrt(sum(np.vdot(d, d).astype(np.float64) for d in gradients)))
    if norm > bound:
        for d in gradients:
            d *= bound / norm
    return norm


class Adam:
    """Kingma & Ba 2015, arXiv 1412.6980, algorithm 1. Changes the arrays it was given."""

    def __init__(
        self, arrays: Sequence[Array], *, beta1: float = 0.9, beta2: float = 0.99, eps: float = 1e-8
    ) -> None:
        self._arrays = tuple(arrays)
        self._first = [np.zeros_like(array) for array in arrays]
        self._second = [np.zeros_like(array) for array in arrays]
        self._beta1, self._beta2, self._eps = beta1, beta2, eps
        self._steps = 0

    def step(self, gradients: Sequence[Array], rate: float) -> None:
        """One step. gradients: in the order of the arrays."""
        self._steps += 1
        unbias1 = 1 - self._beta1**self._steps
        unbias2 = 1 - self._beta2**self._steps
        moments = zip(self._arrays, gradients, self._first, self._second, strict=True)
        for array, d, first, second in moments:
            first *= self._beta1
            first += (1 - self._beta1) * d
            second *= self._beta2
            second += (1 - self._beta2) * d * d
            array -= rate / unbias1 * first / (np.sqrt(second / unbias2) + self._eps)
