"""A model around any cell: embedding, layers, dropout, a linear readout.

In: a Cell, sizes, batches.  Out: losses and gradients of all parameters; predictions; files.
Not here: layers of a cell (layers/), losses (losses.py), steps (optimizers.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import (
    check_room,
    kind_text,
    no_room,
    read,
    shape_text,
    to_array,
    to_count,
    to_generator,
)
from derive.kernel.signature import Array, Arrays
from derive.layers import RNN, checkpoint
from derive.train.losses import cross_entropy, squared_error, to_numbers

#: The parameters beside those of the layers.
TABLE, LIFT, READOUT, BIAS = "embedding", "lift", "readout", "readout_bias"
#: What layers.RNN puts behind the name of a parameter.
_PLACE = re.compile(r"_l\d+(_reverse)?$")


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences and what should come out.

    x: [T, B, I], or [T, B] integers where the model has an embedding.  y: integers (classes) or
    numbers [..., K]; [T, B], [T, B, K] for every step, [B], [B, K] for the last one of each row.
    weights: how much a position counts, [T, B] or [B]; all the same where left out.  lengths: [B].
    resets: [T, B] booleans: the state is zero before that step.
    """

    x: Any
    y: Any
    weights: Any = None
    lengths: Any = None
    resets: Any = None


class Model:
    """[embedding or lift] -> layers of a cell -> dropout -> readout.

    cell: a Cell with one input; its first output is read out, all axes of it as one vector.
    symbols: how many symbols x is made of, each of which becomes a learned array of the shape of
    the cell's input; None: x holds numbers.  lift: how wide the vectors of x are where a learned
    matrix makes the cell's input of them; None: they are the cell's input.  outputs: K, the
    classes or numbers of a position.  layers, bidirectional, dtype, target, threads, fixed: as of
    layers.RNN.  dropout: between layers and before the readout, in training.  seed: of everything
    random.  sizes: a length for each dimension of the cell, I=8, H=16.
    """

    def __init__(
        self, cell: Cell, *, outputs: int, symbols: int | None = None, lift: int | None = None,
        layers: int = 1, bidirectional: bool = False, dropout: float = 0.0, dtype: Any = "float32",
        target: str | None = None, threads: int = 1, seed: Any = 0,
        fixed: Mapping[str, Any] | None = None, **sizes: Any,
    ) -> None:  # fmt: skip
        self._random = to_generator(seed)
        self.rnn = RNN(
            cell, layers, bidirectional, dropout=dropout, dtype=dtype, target=target,
            threads=threads, seed=self._random, fixed=fixed, **sizes,
        )  # fmt: skip
        if cell.checked.once:
            raise ArgumentError(
                f"{cell.name} has an input that does not change with time, and a model feeds none",
                facts=(f"given once: {', '.join(cell.checked.once)}",),
                hint="derive.layers.RNN(cell, ...).forward(x, once={...})",
            )
        if symbols is not None and lift is not None:
            raise ArgumentError(
                "x of a model is made of symbols, or of vectors that are lifted, and not of both",
                facts=(f"symbols={symbols}, lift={lift}",),
                hint=f"Model(cell, outputs={outputs}, symbols={symbols}, ...)",
            )
        self.cell, self.dropout, self.symbols = cell, self.rnn.dropout, symbols
        self.outputs = to_count(outputs, "outputs", least=1)
        dtype, random = self.rnn.dtype, self._random
        self._own: Arrays = {}
        reads, wide = prod(self.rnn.input_shape), prod(self.rnn.output_shape)
        if symbols is not None:
            rows = to_count(symbols, "symbols", least=1)
            self._own[TABLE] = _normal(random, TABLE, (rows, reads)).astype(dtype)
        elif lift is not None:
            rows = to_count(lift, "lift", least=1)
            self._own[LIFT] = (_normal(random, LIFT, (rows, reads)) / rows**0.5).astype(dtype)
        scale = max(wide, 1) ** 0.5
        drawn = _normal(random, READOUT, (wide, self.outputs))
        self._own[READOUT] = (drawn / scale).astype(dtype)
        self._own[BIAS] = np.zeros(self.outputs, dtype)

    @property
    def params(self) -> Arrays:
        """All that is trained, by name: those of the layers as layers.RNN calls them, and
        embedding [symbols, I] or lift [lift, I], readout [width, outputs], readout_bias
        [outputs], where I and width are those of all axes together. The arrays themselves, which
        an optimiser changes in place."""
        fixed = self.cell.checked.fixed
        trained = {n: a for n, a in self.rnn.params.items() if _PLACE.sub("", n) not in fixed}
        return {**trained, **self._own}

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(array.size for array in self.params.values())

    def predict(self, batch: Batch, state: Any = None) -> tuple[Array, Arrays]:
        """Logits or numbers for every position that `batch.y` asks for, and the last states."""
        run = self._run(batch, state, training=False)
        chosen = self._chosen(batch, _one_axis(run.output))
        return chosen @ self._own[READOUT] + self._own[BIAS], run.states

    def loss(self, batch: Batch, state: Any = None) -> float:
        """In nats for classes, mean squared error for numbers; without dropout."""
        return _loss(self.predict(batch, state)[0], batch)[0]

    def gradients(self, batch: Batch, state: Any = None) -> tuple[float, Arrays]:
        """The loss, and its gradient with respect to every parameter, by name."""
        loss, gradients, _ = self.gradients_and_state(batch, state)
        return loss, gradients

    def gradients_and_state(self, batch: Batch, state: Any = None) -> tuple[float, Arrays, Arrays]:
        """And the last states, from which the next part of the same sequences goes on: truncated
        backpropagation through time."""
        run = self._run(batch, state, training=True)
        output = _one_axis(run.output)
        kept = self._mask(output.shape)
        if kept is not None:
            output = output * kept
        chosen = self._chosen(batch, output)
        loss, d_logits = _loss(chosen @ self._own[READOUT] + self._own[BIAS], batch)
        d_output = self._scattered(batch, d_logits @ self._own[READOUT].T, output.shape)
        if kept is not None:
            d_output = d_output * kept
        grads = self.rnn.backward(run, d_output.reshape(run.output.shape))
        rows = d_logits.reshape(prod(d_logits.shape[:-1]), d_logits.shape[-1])
        found = dict(grads.params)
        d_x = _one_axis(*grads.inputs.values())
        if LIFT in self._own:
            vectors = to_array(batch.x, "x", d_x.dtype)
            count = prod(d_x.shape[:2])
            vectors = vectors.reshape(count, vectors.shape[-1])
            found[LIFT] = vectors.T @ d_x.reshape(count, d_x.shape[-1])
        if TABLE in self._own:
            found[TABLE] = np.zeros_like(self._own[TABLE])
            at = np.asarray(batch.x).reshape(-1)
            np.add.at(found[TABLE], at, d_x.reshape(len(at), d_x.shape[-1]))
        found[READOUT] = chosen.reshape(len(rows), chosen.shape[-1]).T @ rows
        found[BIAS] = rows.sum(axis=0)
        return loss, found, run.states

    def save(self, path: str | os.PathLike[str]) -> None:
        """All parameters, and a digest of the equations: .npz or .safetensors."""
        checkpoint.save(path, self._held(), self.cell)

    def load(self, path: str | os.PathLike[str]) -> None:
        """What `save` wrote, of a model of the same cell and sizes."""
        found = checkpoint.load(path, self.cell)
        own = self._held()
        for name, array in own.items():
            if name not in found or found[name].shape != array.shape:
                there = shape_text(found[name].shape) if name in found else "not there"
                raise ArgumentError(
                    f"{os.fspath(path)} holds another model",
                    facts=(f"{name} is {there}, and here {shape_text(array.shape)}",),
                )
        for name, array in own.items():
            array[...] = found[name]

    def _held(self) -> Arrays:
        """What is trained, and the fixed arrays."""
        return {**self.rnn.params, **self._own}

    # --- parts --------------------------------------------------------------------------------

    def _run(self, batch: Batch, state: Any, *, training: bool) -> Any:
        if not isinstance(batch, Batch):
            raise ArgumentTypeError(
                f"a model is given a Batch, not {kind_text(batch)}", hint="train.Batch(x, y)"
            )
        x = read(batch.x, "x")
        if TABLE in self._own:
            if x.ndim != 2 or not np.issubdtype(x.dtype, np.integer):
                raise ArgumentError(
                    "x of a model with an embedding is [T, B] integers",
                    facts=(f"given {shape_text(x.shape)} of {x.dtype}",),
                )
            if x.size and not (x.min() >= 0 and x.max() < len(self._own[TABLE])):
                raise ArgumentError(
                    f"a symbol lies outside of 0 to {len(self._own[TABLE]) - 1}",
                    facts=(f"smallest {x.min()}, largest {x.max()}",),
                )
            x = self._own[TABLE][x].reshape(*x.shape, *self.rnn.input_shape)
        elif LIFT in self._own:
            if x.ndim != 3 or x.shape[2] != len(self._own[LIFT]):
                raise ArgumentError(
                    f"x of this model is [T, B, {len(self._own[LIFT])}]",
                    facts=(f"given {shape_text(x.shape)}",),
                )
            lifted = to_array(x, "x", self.rnn.dtype) @ self._own[LIFT]
            x = lifted.reshape(*x.shape[:2], *self.rnn.input_shape)
        return self.rnn.forward(x, state, batch.lengths, resets=batch.resets, training=training)

    def _mask(self, shape: tuple[int, ...]) -> Array | None:
        if not self.dropout:
            return None
        kept = self._random.random(shape) >= self.dropout
        # All dropped: zeros, as between layers.
        return (kept / max(1 - self.dropout, np.finfo(float).tiny)).astype(self.rnn.dtype)

    def _chosen(self, batch: Batch, output: Array) -> Array:
        """Outputs at the positions that y asks for."""
        if not _of_last(batch):
            return output
        return output[self._last_steps(batch, output), np.arange(output.shape[1])]

    def _scattered(self, batch: Batch, d_chosen: Array, shape: tuple[int, ...]) -> Array:
        if not _of_last(batch):
            return d_chosen
        d_output = np.zeros(shape, d_chosen.dtype)
        d_output[self._last_steps(batch, d_output), np.arange(shape[1])] = d_chosen
        return d_output

    def _last_steps(self, batch: Batch, output: Array) -> Array:
        if len(output) == 0 or (batch.lengths is not None and np.min(batch.lengths) < 1):
            raise ArgumentError("a row without a step has no last one", hint="y: [T, B]")
        if batch.lengths is None:
            return np.full(output.shape[1], len(output) - 1)
        return np.asarray(batch.lengths) - 1


def _normal(random: np.random.Generator, label: str, shape: tuple[int, int]) -> Array:
    """A draw from a normal distribution; an error where there is no room for it."""
    check_room(label, shape, 8)
    try:
        return random.normal(size=shape)
    except (MemoryError, ValueError) as error:
        raise no_room(label, shape) from error


def _one_axis(array: Array) -> Array:
    """[T, B, ...] -> [T, B, width]: all axes behind steps and rows as one."""
    return array.reshape(*array.shape[:2], prod(array.shape[2:]))


def _is_classes(y: Any) -> bool:
    return np.issubdtype(to_numbers(y, "y").dtype, np.integer)


def _of_last(batch: Batch) -> bool:
    """Whether y is of the last step of each row."""
    y = to_numbers(batch.y, "y")
    return y.ndim == (1 if np.issubdtype(y.dtype, np.integer) else 2)


def _loss(outputs: Array, batch: Batch) -> tuple[float, Array]:
    function = cross_entropy if _is_classes(batch.y) else squared_error
    weights = batch.weights
    if weights is None and batch.lengths is not None and not _of_last(batch):
        steps = len(np.asarray(batch.y))
        weights = np.arange(steps)[:, None] < np.asarray(batch.lengths)
    return function(outputs, batch.y, weights)


def metrics(outputs: Array, batch: Batch) -> Mapping[str, float]:
    """Of what a model put out: "error", the part of positions whose class is wrong, and "bits" a
    position for classes; "squared error" for numbers. All count as `weights` says."""
    loss, _ = _loss(outputs, batch)
    if not _is_classes(batch.y):
        return {"squared error": loss}
    if np.isnan(loss):  # argmax would call NaN the first class
        return {"error": loss, "bits": loss}
    wrong = (outputs.argmax(axis=-1) != np.asarray(batch.y))[..., None].astype(np.float64)
    error, _ = _loss(wrong, Batch(batch.x, np.zeros_like(wrong), batch.weights, batch.lengths))
    return {"error": error, "bits": loss / float(np.log(2))}
