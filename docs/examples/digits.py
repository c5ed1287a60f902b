"""Handwritten digits, read row by row: classification from the last state.

    python docs/examples/digits.py
    python docs/examples/digits.py ugrnn my.cell --epochs 100
    python docs/examples/digits.py fast_grnn:low_rank=true --size R=4 --size Q=8

The 1797 images of 8 x 8 pixels are those of scikit-learn (`pip install scikit-learn`). An
image is a sequence of T = 8 rows of I = 8 pixels; a fifth of them is kept for judging. Half
of the images in training lose rows at their lower edge, by `lengths`, so that in the end one
can ask how many rows it takes. Each cell is trained twice: reading down, and both ways, where
a second set of weights reads up from the last row (`reverse=True`) and both last states are
classified together. The last state is that of what the cell puts out, or all of its states where it
puts out none.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

# One core: with products this small, a second thread of BLAS mostly waits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from widths import size, widths

import derive
from derive.cells import from_spec
from derive.errors import DeriveError
from derive.train import Adam, clip_by_norm, cross_entropy

Array = np.ndarray

CLASSES = 10
ROWS = 8


@dataclass(frozen=True, slots=True)
class Images:
    """x: [T, N, 8] in 0..1, row after row; y: [N] digits."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, which: Array) -> Images:
        return Images(self.x[:, which], self.y[which])


def load_images(seed: int = 0) -> tuple[Images, Images]:
    """Four fifths to train on, one fifth to judge by, after one shuffle."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit(
            "the digits come with scikit-learn, which is not installed\n"
            "  hint: pip install scikit-learn"
        ) from None
    digits = load_digits()
    images = Images(np.ascontiguousarray(digits.images.transpose(1, 0, 2)) / 16, digits.target)
    order = np.random.default_rng(seed).permutation(len(images))
    kept = len(images) // 5
    return images[order[kept:]], images[order[:kept]]


class Classifier:
    """One recurrent layer, in one direction or both, and a softmax on the last state.

    sizes: lengths of the cell's dimensions other than that of its input, 8, and H, `hidden`.
    """

    def __init__(
        self, kernel: Any, *, hidden: int = 64, both: bool = False, seed: int = 0,
        sizes: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        wide = widths(kernel.signature, inputs=8, hidden=hidden, given=sizes or {})
        self.reader = [kernel.init(**wide, seed=seed + k) for k in range(1 + both)]
        states = kernel.signature.states
        put_out = [name for name in states if f"{name}_next" in kernel.signature.outputs]
        self.states = put_out or list(states)
        (first, *_) = self._read(np.zeros((1, 1, 8)), None, training=False)
        random = np.random.default_rng(seed)
        shape = (self._last([first]).shape[1] * len(self.reader), CLASSES)
        self.readout = (random.normal(size=shape) / shape[0] ** 0.5).astype(kernel.dtype)
        self.bias = np.zeros(CLASSES, kernel.dtype)

    @property
    def params(self) -> dict[str, Array]:
        """All that is trained, by name."""
        both = {
            f"{name}_{k}": a for k, params in enumerate(self.reader) for name, a in params.items()
        }
        return {**both, "readout": self.readout, "bias": self.bias}

    def _read(self, x: Array, lengths: Array | None, training: bool) -> list[Any]:
        """One run for each direction."""
        return [
            self.kernel.forward(
                params, x, lengths=lengths, reverse=bool(direction), training=training
            )
            for direction, params in enumerate(self.reader)
        ]

    def _last(self, runs: Sequence[Any]) -> Array:
        """The last states of all runs side by side, [B, width]."""
        parts = [run.states[name] for run in runs for name in self.states]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def gradients(self, images: Images, lengths: Array | None) -> tuple[float, dict[str, Array]]:
        runs = self._read(images.x, lengths, training=True)
        last = self._last(runs)
        loss, d_logits = cross_entropy(last @ self.readout + self.bias, images.y)
        d_last = d_logits @ self.readout.T
        found = {"readout": last.T @ d_logits, "bias": d_logits.sum(axis=0)}
        at = 0
        for k, run in enumerate(runs):
            d_states = {}
            for name in self.states:
                state = run.states[name]
                end = at + state[0].size
                d_states[name] = d_last[:, at:end].reshape(state.shape)
                at = end
            grads = self.kernel.backward(run, d_states=d_states)
            found |= {f"{name}_{k}": gradient for name, gradient in grads.params.items()}
        return loss, found

    def accuracy(self, images: Images, rows: int = ROWS) -> float:
        """Part of the images that is right when the first `rows` rows are read."""
        lengths = np.full(len(images), rows)
        runs = self._read(images.x, lengths, training=False)
        right = (self._last(runs) @ self.readout + self.bias).argmax(axis=1) == images.y
        return float(right.mean())


def train(
    model: Classifier,
    images: Images,
    *,
    epochs: int,
    rate: float = 1e-2,
    batch: int = 64,
    seed: int = 0,
    tick: Callable[[], object] = lambda: None,
) -> list[float]:
    """The mean loss of each epoch, in nats. The rate falls to zero."""
    random = np.random.default_rng(seed)
    adam = Adam(model.params, beta2=0.99)
    means = []
    for epoch in range(epochs):
        losses = []
        for part, which in enumerate(batches(len(images), batch, random)):
            lengths = random.integers(2, ROWS + 1, len(which))
            lengths[random.random(len(which)) < 0.5] = ROWS
            loss, gradients = model.gradients(images[which], lengths)
            clip_by_norm(gradients, 1.0)
            done = (epoch + part * batch / len(images)) / epochs
            adam.step(gradients, rate * (1 - done))
            losses.append(loss)
        means.append(float(np.mean(losses)))
        tick()
    return means


def batches(count: int, size: int, random: np.random.Generator) -> Iterator[Array]:
    order = random.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


@dataclass(frozen=True, slots=True)
class Result:
    """seconds: CPU, training alone; by_rows: accuracy when 1, 2, ..., 8 rows are read."""

    model: str
    parameters: int
    seconds: float
    losses: list[float]
    by_rows: list[float]


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments().parse_args(argv)
    try:
        run(options)
    except (DeriveError, ValueError) as error:
        raise SystemExit(str(error)) from error


def run(options: argparse.Namespace) -> None:
    training, judging = load_images(options.seed)
    results = []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for spec in options.cells:
            cell = derive.load(spec) if spec.endswith(".cell") else from_spec(spec)
            kernel = derive.compile(
                cell, target=options.target, dtype="float32", threads=options.threads
            )
            for both in (False, True):
                name = f"{cell.name}, both ways" if both else cell.name
                task = bar.add_task(name, total=options.epochs)
                model = Classifier(
                    kernel, hidden=options.hidden, both=both, seed=options.seed,
                    sizes=dict(options.size),
                )  # fmt: skip
                began = time.process_time()
                losses = train(
                    model,
                    training,
                    epochs=options.epochs,
                    seed=options.seed,
                    tick=partial(bar.advance, task),
                )
                seconds = time.process_time() - began
                by_rows = [model.accuracy(judging, rows) for rows in range(1, ROWS + 1)]
                size = sum(array.size for array in model.params.values())
                results.append(Result(name, size, seconds, losses, by_rows))
    Console().print(table(results, len(training), len(judging)))
    if options.json:
        text = json.dumps([asdict(result) for result in results], indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "cells",
        nargs="*",
        default=("lstm", "gru"),
        help="`.cell` files, or names of the catalogue",
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--hidden", type=int, default=64, help="H, the width of the state")
    parser.add_argument(
        "--size", type=size, action="append", default=[], metavar="R=2",
        help="length of another dimension; may be repeated",
    )  # fmt: skip
    parser.add_argument("--target", choices=("c", "numpy"), default="c")
    parser.add_argument("--threads", type=int, default=1, help="of the C target")
    parser.add_argument("--seed", type=int, default=0, help="of the split and all parameters")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser


def table(results: Sequence[Result], training: int, judging: int) -> Table:
    view = Table(title=f"percent right of {judging} images, after training on {training}")
    view.add_column("rows read", justify="right")
    for result in results:
        view.add_column(result.model, justify="right")
    for rows in range(1, ROWS + 1):
        view.add_row(str(rows), *(f"{100 * result.by_rows[rows - 1]:.1f}" for result in results))
    view.add_section()
    view.add_row("parameters", *(f"{result.parameters:,}" for result in results))
    view.add_row("CPU s", *(f"{result.seconds:.1f}" for result in results))
    return view


if __name__ == "__main__":
    main()
