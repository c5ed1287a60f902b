"""A character language model: LSTM of the catalogue against JANET, a `.cell` file of six lines.

    python docs/examples/character_model.py
    python docs/examples/character_model.py lstm gru my.cell --steps 2000 --hidden 256
    python docs/examples/character_model.py fast_grnn:low_rank=true --size R=16 --size Q=32

The text is the help that comes with every Python (`pydoc_data.topics`). The recurrent part is
generated code alone, forward and backward; NumPy does the rest: embedding, softmax, Adam.
First, each cell is trained for a few steps in float64 by the NumPy target and by the C target,
and their losses are compared. Then it is trained in float32 and judged on text it has not
seen, beside n-gram models of the same text. At the end the best one writes a few lines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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

HERE = Path(__file__).resolve().parent
CELLS = ("lstm", str(HERE / "janet.cell"))
#: Stands for every character that the training text does not have.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
BITS = 1 / math.log(2)


# --- text -----------------------------------------------------------------------------------


def python_help() -> str:
    """Python's help topics in alphabetical order, each paragraph once.

    Topics repeat each other (`descriptors` is a part of `specialnames`): left in, a tenth of
    the validation text would be word for word in the training text.
    """
    from pydoc_data.topics import topics

    first: dict[str, str] = {}
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            first.setdefault(" ".join(paragraph.split()), paragraph)
    return "\n\n".join(paragraph for key, paragraph in first.items() if key)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text as numbers. symbols: what they stand for; train, valid: [length] integers."""

    symbols: str
    train: Array
    valid: Array

    @classmethod
    def of(cls, text: str, part: float = 0.1) -> Corpus:
        """The last `part` of the text, from the start of a paragraph, is for validation."""
        cut = text.index("\n\n", round(len(text) * (1 - part))) + 2
        symbols = UNKNOWN + "".join(sorted(set(text[:cut])))
        number = {symbol: k for k, symbol in enumerate(symbols)}
        train, valid = (
            np.array([number.get(symbol, 0) for symbol in part])
            for part in (text[:cut], text[cut:])
        )
        return cls(symbols, train, valid)

    def numbers(self, text: str) -> Array:
        return np.array([max(self.symbols.find(symbol), 0) for symbol in text])


def streams(numbers: Array, rows: int) -> tuple[Array, Array]:
    """The text cut into `rows` pieces side by side: characters and their successors, [T, rows]."""
    steps = (len(numbers) - 1) // rows
    used = numbers[: steps * rows + 1]
    return used[:-1].reshape(rows, steps).T, used[1:].reshape(rows, steps).T


# --- what a model has to beat -----------------------------------------------------------------


def ngram_bits(corpus: Corpus, order: int) -> float:
    """Bits per validation character of an n-gram model of the training text. order 2: bigrams.

    P_n(c | context) = (count(context c) + k P_{n-1}(c | shorter)) / (count(context) + k), down
    to single characters with one added to each count. k is the best of a few for the
    *validation* text, which favours these models over the networks.
    """
    train, valid = corpus.train.tolist(), corpus.valid.tolist()
    size = len(corpus.symbols)
    single = Counter(train)
    levels = []
    for n in range(2, order + 1):
        grams = Counter(zip(*(train[k:] for k in range(n)), strict=False))
        contexts: Counter[tuple[int, ...]] = Counter()
        for gram, count in grams.items():
            contexts[gram[:-1]] += count
        levels.append((n, grams, contexts))

    def bits(k: float) -> float:
        total = 0.0
        for at in range(1, len(valid)):
            p = (single[valid[at]] + 1) / (len(train) + size)
            for n, grams, contexts in levels:
                if at >= n - 1:
                    gram = tuple(valid[at - n + 1 : at + 1])
                    p = (grams[gram] + k * p) / (contexts[gram[:-1]] + k)
            total -= math.log2(p)
        return total / (len(valid) - 1)

    return min(bits(k) for k in (1.0, 3.0, 10.0, 30.0)) if levels else bits(1.0)


# --- the model --------------------------------------------------------------------------------


class CharacterModel:
    """Embedding, one recurrent layer, softmax. The layer is a kernel of any cell."""

    def __init__(
        self, kernel: Any, symbols: int, *, embedding: int, hidden: int, seed: int,
        sizes: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        wide = widths(kernel.signature, inputs=embedding, hidden=hidden, given=sizes or {})
        self.cell = kernel.init(**wide, seed=seed)
        if "b_f" in self.cell:
            self.cell["b_f"] += 1  # a forget gate that begins open: Jozefowicz et al. 2015
        random = np.random.default_rng(seed)
        self.table = random.normal(size=(symbols, embedding)).astype(kernel.dtype)
        run = kernel.forward(self.cell, np.zeros((1, 1, embedding)), training=False)
        width = run.output[0, 0].size
        self.readout = (random.normal(size=(width, symbols)) / width**0.5).astype(kernel.dtype)
        self.bias = np.zeros(symbols, kernel.dtype)

    @property
    def params(self) -> dict[str, Array]:
        """All that is trained, by name."""
        own = {"table": self.table, "readout": self.readout, "bias": self.bias}
        return {**{f"cell {name}": array for name, array in self.cell.items()}, **own}

    @property
    def size(self) -> int:
        return sum(array.size for array in self.params.values())

    def _logits(self, output: Array, lead: int) -> Array:
        """Of an output whose first `lead` axes are steps and rows; all others are one vector."""
        return output.reshape(*output.shape[:lead], -1) @ self.readout + self.bias

    def gradients(
        self, x: Array, y: Array, state: dict[str, Array] | None
    ) -> tuple[float, dict[str, Array], dict[str, Array]]:
        """Loss in nats, gradients, last state. x, y: [T, B] characters and their successors."""
        run = self.kernel.forward(self.cell, self.table[x], state)
        loss, d_logits = cross_entropy(self._logits(run.output, 2), y)
        d_output = d_logits @ self.readout.T
        grads = self.kernel.backward(run, d_output.reshape(run.output.shape))

        rows = d_logits.reshape(-1, d_logits.shape[-1])
        d_readout = run.output.reshape(len(rows), -1).T @ rows
        (d_x,) = grads.inputs.values()
        one_hot = np.zeros_like(rows)
        one_hot[np.arange(len(rows)), x.reshape(-1)] = 1
        d_table = one_hot.T @ d_x.reshape(len(rows), -1)
        found = {f"cell {name}": gradient for name, gradient in grads.params.items()}
        found |= {"table": d_table, "readout": d_readout, "bias": rows.sum(axis=0)}
        return loss, found, run.states

    def bits(self, numbers: Array, rows: int = 16, chunk: int = 256) -> float:
        """Bits per character of a text. State runs on within each of the `rows` pieces."""
        inputs, targets = streams(numbers, rows)
        state, total = None, 0.0
        for start in range(0, len(inputs), chunk):
            x, y = inputs[start : start + chunk], targets[start : start + chunk]
            run = self.kernel.forward(self.cell, self.table[x], state, training=False)
            loss, _ = cross_entropy(self._logits(run.output, 2), y)
            total += loss * len(x)
            state = run.states
        return total / len(inputs) * BITS

    def write(self, prompt: Array, temperature: float = 0.6, seed: int = 0) -> Iterator[int]:
        """Characters without end, one `kernel.step` each, after reading the prompt."""
        random = np.random.default_rng(seed)
        state = None
        for number in prompt:
            output, state = self.kernel.step(self.cell, self.table[[number]], state)
        while True:
            logits = self._logits(output, 1)[0].astype(np.float64) / temperature
            heights = np.cumsum(np.exp(logits - logits.max()))
            number = int(np.searchsorted(heights, random.random() * heights[-1]))
            yield number
            output, state = self.kernel.step(self.cell, self.table[[number]], state)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train. rows and chunk: B and T of one step."""

    steps: int
    hidden: int
    embedding: int
    rows: int
    chunk: int
    rate: float
    clip: float
    seed: int
    sizes: Mapping[str, int] = field(default_factory=dict)


def train(
    model: CharacterModel,
    numbers: Array,
    settings: Settings,
    tick: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """The loss of each step in bits per character.

    Truncated backpropagation through time: gradients reach back one chunk, states run on from
    chunk to chunk and begin at zero where the text begins again. The rate falls to zero.
    """
    inputs, targets = streams(numbers, settings.rows)
    chunks = len(inputs) // settings.chunk
    adam = Adam(model.params, beta2=0.99)
    state: dict[str, Array] | None = None
    losses = []
    for step in range(settings.steps):
        start = step % chunks * settings.chunk
        if start == 0:
            state = None
        span = slice(start, start + settings.chunk)
        loss, gradients, state = model.gradients(inputs[span], targets[span], state)
        clip_by_norm(gradients, settings.clip)
        adam.step(gradients, settings.rate * (1 - step / settings.steps))
        losses.append(loss * BITS)
        tick(step + 1, losses[-1])
    return losses


def build(
    cell: derive.Cell, corpus: Corpus, settings: Settings, target: str, dtype: str, threads: int = 1
) -> CharacterModel:
    kernel = derive.compile(cell, target=target, dtype=dtype, threads=threads)
    return CharacterModel(
        kernel,
        len(corpus.symbols),
        embedding=settings.embedding,
        hidden=settings.hidden,
        seed=settings.seed,
        sizes=settings.sizes,
    )


# --- the two targets, and the long run -----------------------------------------------------------


def compare_targets(
    cell: derive.Cell,
    corpus: Corpus,
    settings: Settings,
    tick: Callable[[int, float], None] = lambda step, loss: None,
) -> dict[str, list[float]]:
    """Loss curves in float64, by target."""
    curves = {}
    for target in ("numpy", "c"):
        model = build(cell, corpus, settings, target, "float64")
        curves[target] = train(model, corpus.train, settings, tick)
    return curves


@dataclass(slots=True)
class Result:
    """One cell, trained. train, valid: {step: bits per character}; seconds: CPU, training alone."""

    cell: str
    parameters: int
    seconds: float = 0.0
    train: dict[int, float] = field(default_factory=dict)
    valid: dict[int, float] = field(default_factory=dict)


def train_and_judge(
    name: str,
    model: CharacterModel,
    corpus: Corpus,
    settings: Settings,
    tick: Callable[[int, float], None],
) -> Result:
    """Trains, and measures the validation text at eight equally spaced steps."""
    result = Result(name, model.size)
    every = max(settings.steps // 8, 1)
    recent: list[float] = []
    began = time.process_time()

    def judge(step: int, loss: float) -> None:
        nonlocal began
        recent.append(loss)
        if step % every == 0 or step == settings.steps:
            result.seconds += time.process_time() - began
            result.train[step] = float(np.mean(recent))
            result.valid[step] = model.bits(corpus.valid)
            recent.clear()
            began = time.process_time()
        tick(step, loss)

    train(model, corpus.train, settings, judge)
    return result


# --- the command ----------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments().parse_args(argv)
    try:
        run(options)
    except (DeriveError, ValueError) as error:
        raise SystemExit(str(error)) from error


def run(options: argparse.Namespace) -> None:
    console, bar_console = Console(), Console(stderr=True)
    text = python_help()
    corpus = Corpus.of(text)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    console.print(
        f"Python {platform.python_version()}'s help: {len(text):,} characters, sha256 {digest}; "
        f"{len(corpus.train):,} to train on, {len(corpus.valid):,} to judge by, "
        f"{len(corpus.symbols)} symbols"
    )
    cells = [read(spec) for spec in options.cells]
    settings = Settings(
        steps=options.steps, hidden=options.hidden, embedding=options.embedding,
        rows=32, chunk=64, rate=options.rate, clip=1.0, seed=options.seed, sizes=dict(options.size),
    )  # fmt: skip
    short = Settings(
        steps=options.check, hidden=32, embedding=16,
        rows=16, chunk=32, rate=options.rate, clip=1.0, seed=options.seed, sizes=dict(options.size),
    )  # fmt: skip

    compared, results, models = {}, [], []
    with Progress(console=bar_console, transient=True) as bar:
        if options.check:
            for cell in cells:
                task = bar.add_task(f"{cell.name}: numpy and c, float64", total=2 * short.steps)
                compared[cell.name] = compare_targets(
                    cell, corpus, short, lambda *_, task=task: bar.advance(task)
                )
        orders = {f"{order}-grams": order for order in (1, 2, 3, 5)}
        task = bar.add_task("n-gram models", total=len(orders))
        baselines = {}
        for name, order in orders.items():
            baselines[name] = ngram_bits(corpus, order)
            bar.advance(task)
        for cell in cells:
            task = bar.add_task(f"{cell.name}: {options.target}, float32", total=settings.steps)
            model = build(cell, corpus, settings, options.target, "float32", options.threads)
            models.append(model)
            results.append(
                train_and_judge(
                    cell.name, model, corpus, settings, lambda *_, task=task: bar.advance(task)
                )
            )

    for name, curves in compared.items():
        console.print(curve_table(name, curves))
    console.print(result_table(results, baselines, settings))
    best = min(range(len(results)), key=lambda k: results[k].valid[settings.steps])
    console.print(f"{results[best].cell} writes, one step at a time:\n")
    sample = write(models[best], corpus, options.prompt, options.characters, console)
    if options.json:
        report = {
            "python": platform.python_version(),
            "text": {"characters": len(text), "sha256": digest},
            "settings": {**asdict(settings), "target": options.target, "threads": options.threads},
            "check": {"settings": asdict(short), "bits": compared},
            "baselines": baselines,
            "results": [asdict(result) for result in results],
            "sample": sample,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "cells", nargs="*", default=CELLS, help="`.cell` files, or names of the catalogue"
    )
    parser.add_argument("--steps", type=positive, default=800, help="of training")
    parser.add_argument("--hidden", type=positive, default=192, help="H, the width of the state")
    parser.add_argument(
        "--size", type=size, action="append", default=[], metavar="R=2",
        help="length of another dimension; may be repeated",
    )  # fmt: skip
    parser.add_argument("--embedding", type=positive, default=64, help="width of the input")
    parser.add_argument("--target", choices=("c", "numpy"), default="c", help="of the long run")
    parser.add_argument("--threads", type=positive, default=1, help="of the C target")
    parser.add_argument("--rate", type=float, default=4e-3, help="of Adam, at the first step")
    parser.add_argument("--seed", type=int, default=0, help="of all parameters")
    parser.add_argument(
        "--check", type=int, default=40, help="steps that compare the targets; 0 leaves it out"
    )
    parser.add_argument("--prompt", default="The ", help="what the text at the end begins with")
    parser.add_argument("--characters", type=int, default=400, help="of text at the end")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def read(spec: str) -> derive.Cell:
    return derive.load(spec) if spec.endswith(".cell") else from_spec(spec)


def curve_table(name: str, curves: dict[str, list[float]]) -> Table:
    """The loss at some steps, and how far the targets were apart at the most until then."""
    table = Table(title=f"{name}: bits per character, float64")
    for column in ("step", *curves, "largest difference"):
        table.add_column(column, justify="right")
    first, second = (np.array(curve) for curve in curves.values())
    apart = np.maximum.accumulate(np.abs(first - second))
    for step in sorted({1, *range(10, len(first), 10), len(first)}):
        table.add_row(
            str(step), *(f"{c[step - 1]:.12f}" for c in (first, second)), f"{apart[step - 1]:.1e}"
        )
    return table


def result_table(
    results: Sequence[Result], baselines: dict[str, float], settings: Settings
) -> Table:
    table = Table(title="bits per character, validation text")
    table.add_column("model")
    for column in ("parameters", "training", "validation", "CPU s", "char / s"):
        table.add_column(column, justify="right")
    for name, bits in baselines.items():
        table.add_row(name, "", "", f"{bits:.3f}", "", "")
    table.add_section()
    for result in results:
        seen = settings.steps * settings.rows * settings.chunk
        table.add_row(
            result.cell,
            f"{result.parameters:,}",
            f"{result.train[settings.steps]:.3f}",
            f"{result.valid[settings.steps]:.3f}",
            f"{result.seconds:.1f}",
            f"{seen / result.seconds:,.0f}",
        )
    return table


def write(
    model: CharacterModel, corpus: Corpus, prompt: str, characters: int, console: Console
) -> str:
    """Prints the text as it comes, and returns it."""
    text = prompt
    console.file.write(prompt)
    stream = model.write(corpus.numbers(prompt))
    for _ in range(characters):
        symbol = corpus.symbols[next(stream)]
        text += symbol
        console.file.write(symbol)
        console.file.flush()
    console.file.write("\n")
    return text


if __name__ == "__main__":
    main()
