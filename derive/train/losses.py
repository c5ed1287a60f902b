"""Losses and their gradients.

In: what a model puts out, what it should, a weight for each position.  Out: a mean, its gradient.
Not here: the model (model.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import dtype_text, read, shape_text, to_array
from derive.kernel.signature import Array


def cross_entropy(logits: Array, targets: Any, weights: Any = None) -> tuple[float, Array]:
    """Mean cross entropy in nats over all positions, and its gradient with respect to the logits.

    logits: [..., K]; targets: [...] integers below K; weights: [...], how much a position counts,
    all the same where left out. Where all weights are 0, loss and gradient are 0.
    """
    logits = _floats(logits, "logits")
    targets = to_numbers(targets, "targets")
    if targets.shape != logits.shape[:-1] or not np.issubdtype(targets.dtype, np.integer):
        raise ArgumentError(
            "targets of a cross entropy are integers, one for each position",
            facts=(
                f"logits are {shape_text(logits.shape)}, targets {shape_text(targets.shape)} "
                f"of {targets.dtype}",
            ),
        )
    count = logits.shape[-1]
    if targets.size and not (targets.min() >= 0 and targets.max() < count):
        raise ArgumentError(
            f"a target lies outside of 0 to {count - 1}",
            facts=(f"smallest {targets.min()}, largest {targets.max()}",),
        )
    share = _shares(targets.shape, weights)
    rows = logits.reshape(targets.size, count)
    shifted = rows - rows.max(axis=1, keepdims=True) if rows.size else rows
    d_logits = np.exp(shifted)
    total = d_logits.sum(axis=1, keepdims=True)
    at = (np.arange(len(rows)), targets.reshape(-1))
    losses = np.log(total[:, 0]) - shifted[at]
    d_logits /= total
    d_logits[at] -= 1
    d_logits *= share.reshape(-1, 1).astype(d_logits.dtype)
    # A position that does not count may hold anything.
    counted = share.reshape(-1) > 0
    d_logits[~counted] = 0
    loss = float(np.sum(share.reshape(-1)[counted] * losses[counted], dtype=np.float64))
    return loss, d_logits.reshape(logits.shape)


def squared_error(outputs: Array, targets: Any, weights: Any = None) -> tuple[float, Array]:
    """Mean squared error over all positions and numbers, and its gradient.

    outputs, targets: [..., K]; weights: [...], as of `cross_entropy`.
    """
    outputs = _floats(outputs, "outputs")
    targets = to_array(targets, "targets", outputs.dtype)
    if targets.shape != outputs.shape:
        raise ArgumentError(
            "targets of a squared error have the shape of the outputs",
            facts=(
                f"outputs are {shape_text(outputs.shape)}, targets {shape_text(targets.shape)}",
            ),
        )
    share = _shares(outputs.shape[:-1], weights)[..., None] / max(outputs.shape[-1], 1)
    difference = np.where(share > 0, outputs - targets, outputs.dtype.type(0))
    loss = float(np.sum(share * difference.astype(np.float64) ** 2))
    return loss, (2 * share * difference).astype(outputs.dtype)


def to_numbers(value: Any, label: str) -> Array:
    """`value` as an array of real numbers of its own dtype."""
    array = read(value, label)
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(f"{label} must hold real numbers, not {dtype_text(array)}")
    return array


def _floats(value: Any, label: str) -> Array:
    """What a gradient has the dtype of: at least one axis of floating point numbers."""
    array = to_numbers(value, label)
    if not array.ndim:
        raise ArgumentError(f"{label} are [..., K], and a number was given")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _shares(shape: tuple[int, ...], weights: Any) -> Array:
    """What each position adds to the mean: they sum to 1, or to 0."""
    if weights is None:
        count = int(np.prod(shape))
        return np.full(shape, 1.0 / count if count else 0.0)
    found = to_array(weights, "weights", np.dtype(np.float64))
    if found.shape != shape or not ((found >= 0) & (found < np.inf)).all():
        raise ArgumentError(
            "weights are numbers from 0 on, one for each position",
            facts=(f"positions {shape_text(shape)}, weights {shape_text(found.shape)}",),
        )
    total = found.sum()
    return found / total if total else found
