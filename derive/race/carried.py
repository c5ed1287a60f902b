"""Tasks on data: handwritten digits (scikit-learn), the help topics that come with Python.

In: nothing.  Out: `Task`s by name; ArgumentError where scikit-learn is missing.
Not here: tasks that are made (made.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Array
from derive.race.task import LONGEST, Random, Task, within
from derive.train import Batch


def digits(permuted: bool = False) -> Task:
    """The 1797 images of 8 x 8 pixels of scikit-learn, one pixel a step; a fifth is judged by. As
    sequential MNIST, Le et al. 2015, arXiv 1504.00941, in small."""
    x, y = _images()
    if permuted:
        x = x[np.random.default_rng(1).permutation(len(x))]
    order = np.random.default_rng(0).permutation(len(y))
    kept = len(y) // 5
    judged, known = order[:kept], order[kept:]

    def draw(random: Random, rows: int) -> Batch:
        which = random.choice(known, rows, replace=rows > len(known))
        return Batch(x[:, which], y[which])

    name = "permuted_digits" if permuted else "digits"
    return Task(
        name, "handwritten digits, a pixel a step" + (", in a random order" if permuted else ""),
        draw, (Batch(x[:, judged], y[judged]),), inputs=1, outputs=10, metric="error", solved=0.05,
        without=_nearest_mean(x, y, known, judged), steps=2000, rows=64,
    )  # fmt: skip


def permuted_digits() -> Task:
    return digits(permuted=True)


def charlm(steps: int = 64) -> Task:
    """The next character of Python's help topics, in windows of the text that begin anywhere."""
    train, valid, symbols = _topics()
    within("charlm", "steps", steps, 1, min(LONGEST, len(valid) - 1))

    def windows(text: Array, starts: Array) -> Batch:
        at = starts[None, :] + np.arange(steps + 1)[:, None]
        return Batch(text[at[:-1]], text[at[1:]])

    def draw(random: Random, rows: int) -> Batch:
        return windows(train, random.integers(len(train) - steps, size=rows))

    judged = windows(valid, np.linspace(0, len(valid) - steps - 1, 256).astype(int))
    return Task(
        "charlm", f"the next character of Python's help, windows of {steps}", draw, (judged,),
        symbols=symbols, outputs=symbols, metric="bits", solved=2.5,
        without=(_bigram(train, judged, symbols), "what follows a character most"),
        steps=1500,
    )  # fmt: skip


def _images() -> tuple[Array, Array]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ArgumentError(
            "the digits come with scikit-learn, which is not installed",
            hint="pip install scikit-learn",
        ) from None
    images = load_digits()
    return np.ascontiguousarray(images.data.T[:, :, None]) / 16, np.asarray(images.target)


def _nearest_mean(x: Array, y: Array, known: Array, judged: Array) -> tuple[float, str]:
    means = np.stack([x[:, known[y[known] == k], 0].mean(axis=1) for k in range(10)])
    apart = ((x[:, judged, 0].T[:, None, :] - means) ** 2).sum(axis=2)
    return float((apart.argmin(axis=1) != y[judged]).mean()), "the nearest mean image"


def _topics() -> tuple[Array, Array, int]:
    """Nine tenths to train on, the rest to judge by. Paragraphs that come twice are kept once."""
    from pydoc_data.topics import topics

    first: dict[str, str] = {}
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            first.setdefault(" ".join(paragraph.split()), paragraph)
    text = "\n\n".join(paragraph for key, paragraph in first.items() if key)
    cut = round(len(text) * 0.9)
    number = {symbol: k + 1 for k, symbol in enumerate(sorted(set(text[:cut])))}
    found = np.array([number.get(symbol, 0) for symbol in text])
    return found[:cut], found[cut:], len(number) + 1


def _bigram(train: Array, judged: Batch, symbols: int) -> float:
    counts = Counter(zip(train[:-1].tolist(), train[1:].tolist(), strict=True))
    table = np.full((symbols, symbols), 0.1)
    for (a, b), count in counts.items():
        table[a, b] += count
    table /= table.sum(axis=1, keepdims=True)
    return float(-np.log2(table[judged.x, judged.y]).mean())


TASKS: Mapping[str, Callable[[], Task]] = {
    "digits": digits,
    "permuted_digits": permuted_digits,
    "charlm": charlm,
}
