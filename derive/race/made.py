"""Tasks that a few lines make: any machine has them.

In: nothing.  Out: `Task`s by name.
Not here: tasks on data (carried.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from derive.race.task import LONGEST, Random, Task, within
from derive.train import Batch

#: Rows that a task is judged by, and the seed that they are drawn with: the same in every race.
_JUDGED, _SEED = 512, 20_000


def _judged(draw: Callable[[Random, int], Batch]) -> tuple[Batch, ...]:
    return (draw(np.random.default_rng(_SEED), _JUDGED),)


def adding(steps: int = 100) -> Task:
    """Hochreiter & Schmidhuber 1997, experiment 4, in the form of Le et al. 2015, arXiv 1504.00941:
    two numbers of a sequence are marked, one in each half; their sum is asked."""
    within("adding", "steps", steps, 2, LONGEST)

    def draw(random: Random, rows: int) -> Batch:
        values, marks = random.random((steps, rows)), np.zeros((steps, rows))
        half, every = steps // 2, np.arange(rows)
        first = random.integers(half, size=rows)
        second = random.integers(half, steps, size=rows)
        marks[first, every] = marks[second, every] = 1
        total = values[first, every] + values[second, every]
        return Batch(np.stack([values, marks], axis=2), total[:, None])

    return Task(
        "adding", f"the sum of two marked numbers among {steps}", draw, _judged(draw),
        inputs=2, outputs=1, metric="squared error", solved=0.01,
        without=(1 / 6, "saying 1 to everything"),
        reference="LSTM solves it at 150 steps, plain tanh networks do not: arXiv 1504.00941",
        steps=2000,
    )  # fmt: skip


def copy(delay: int = 50, length: int = 10, symbols: int = 8) -> Task:
    """Hochreiter & Schmidhuber 1997 and Arjovsky et al. 2016, arXiv 1511.06464: after a pause and a
    signal the symbols of the beginning are to be said again."""
    within("copy", "delay", delay, 1, LONGEST)
    within("copy", "length", length, 1, 1000)
    within("copy", "symbols", symbols, 2, 1000)
    blank, signal = symbols, symbols + 1
    total = delay + 2 * length

    def draw(random: Random, rows: int) -> Batch:
        x = np.full((total, rows), blank)
        said = random.integers(symbols, size=(length, rows))
        x[:length] = said
        x[delay + length - 1] = signal
        y, weights = np.full((total, rows), blank), np.zeros((total, rows))
        y[-length:] = said
        weights[-length:] = 1
        return Batch(x, y, weights)

    return Task(
        "copy", f"{length} symbols again after {delay} steps", draw, _judged(draw),
        symbols=symbols + 2, outputs=symbols + 1, metric="bits", solved=0.1,
        without=(float(np.log2(symbols)), "guessing"),
        reference="LSTM keeps guessing for thousands of steps at a delay of 100: arXiv 1511.06464; "
        "with chrono initialisation it learns: arXiv 1804.11188",
        steps=2000,
    )  # fmt: skip


def parity(steps: int = 40) -> Task:
    """Whether ones since the last reset are odd: a state that must not fade, and must be let go."""
    within("parity", "steps", steps, 1, LONGEST)

    def draw(random: Random, rows: int) -> Batch:
        bits = random.integers(2, size=(steps, rows))
        resets = random.random((steps, rows)) < 0.05
        y = np.zeros((steps, rows), int)
        odd = np.zeros(rows, int)
        for t in range(steps):
            odd = np.where(resets[t], 0, odd) ^ bits[t]
            y[t] = odd
        return Batch(np.stack([bits, resets], axis=2).astype(float), y)

    return Task(
        "parity", f"whether ones since the last reset are odd, {steps} steps", draw, _judged(draw),
        inputs=2, outputs=2, metric="error", solved=0.01,
        without=_by_symbol(draw, lambda batch: (2 * batch.x[..., 0] + batch.x[..., 1]).astype(int)),
        steps=2000,
    )  # fmt: skip


def dyck(steps: int = 60, kinds: int = 2, depth: int = 8) -> Task:
    """Brackets of several kinds, open to a bounded depth: which one is to be closed next? Hewitt et
    al. 2020, arXiv 2010.07515."""
    within("dyck", "steps", steps, 1, LONGEST)
    within("dyck", "kinds", kinds, 1, 1000)
    within("dyck", "depth", depth, 1, LONGEST)

    def draw(random: Random, rows: int) -> Batch:
        x, y = np.zeros((steps, rows), int), np.zeros((steps, rows), int)
        for row in range(rows):
            stack: list[int] = []
            for t in range(steps):
                if stack and (len(stack) == depth or random.random() < 0.5):
                    x[t, row] = kinds + stack.pop()
                else:
                    stack.append(int(random.integers(kinds)))
                    x[t, row] = stack[-1]
                y[t, row] = stack[-1] if stack else kinds
        return Batch(x, y)

    return Task(
        "dyck", f"which of {kinds} kinds of brackets is to be closed, depth {depth}", draw,
        _judged(draw), symbols=2 * kinds, outputs=kinds + 1, metric="error", solved=0.02,
        without=_by_symbol(draw, lambda batch: batch.x), steps=1500,
    )  # fmt: skip


def oscillator(steps: int = 60) -> Task:
    """A damped oscillation in noise, of any frequency: its next value without the noise."""
    within("oscillator", "steps", steps, 1, LONGEST)

    def draw(random: Random, rows: int) -> Batch:
        time = np.arange(steps + 1)[:, None]
        frequency = random.uniform(0.1, 0.8, rows)
        phase, damping = random.uniform(0, 2 * np.pi, rows), random.uniform(0, 0.02, rows)
        clean = np.exp(-damping * time) * np.sin(frequency * time + phase)
        noisy = clean[:-1] + 0.3 * random.normal(size=(steps, rows))
        return Batch(noisy[..., None], clean[1:, :, None])

    judged = _judged(draw)
    x, y = judged[0].x, judged[0].y
    slope = float(np.vdot(x, y) / np.vdot(x, x))
    return Task(
        "oscillator", f"the next value of a noisy oscillation, {steps} steps", draw, judged,
        inputs=1, outputs=1, metric="squared error", solved=0.03,
        without=(float(np.mean((slope * x - y) ** 2)), "the last value times the best factor"),
        steps=1500,
    )  # fmt: skip


def selective(steps: int = 60, length: int = 6, symbols: int = 8) -> Task:
    """Selective copying, Gu & Dao 2023, arXiv 2312.00752: symbols at random places among blanks are
    to be said again in their order."""
    within("selective", "length", length, 1, 1000)
    within("selective", "steps", steps, length, LONGEST)
    within("selective", "symbols", symbols, 2, 1000)
    blank, signal = symbols, symbols + 1

    def draw(random: Random, rows: int) -> Batch:
        said = random.integers(symbols, size=(length, rows))
        x = np.full((steps + length, rows), signal)
        x[:steps] = blank
        for row in range(rows):
            x[np.sort(random.choice(steps, length, replace=False)), row] = said[:, row]
        y, weights = np.zeros((steps + length, rows), int), np.zeros((steps + length, rows))
        y[-length:] = said
        weights[-length:] = 1
        return Batch(x, y, weights)

    return Task(
        "selective", f"{length} symbols among {steps} steps again, in their order", draw,
        _judged(draw), symbols=symbols + 2, outputs=symbols, metric="bits", solved=0.1,
        without=(float(np.log2(symbols)), "guessing"),
        reference="selective state spaces solve it, fixed ones do not: arXiv 2312.00752",
        steps=2000,
    )  # fmt: skip


def _by_symbol(
    draw: Callable[[Random, int], Batch], symbol: Callable[[Batch], np.ndarray]
) -> tuple[float, str]:
    """The error of the best class for each symbol of the same step, counted on other rows."""
    known = draw(np.random.default_rng(_SEED + 1), _JUDGED)
    counts = np.zeros((int(symbol(known).max()) + 1, int(known.y.max()) + 1))
    np.add.at(counts, (symbol(known).reshape(-1), known.y.reshape(-1)), 1)
    judged = draw(np.random.default_rng(_SEED), _JUDGED)
    wrong = counts.argmax(axis=1)[symbol(judged)] != judged.y
    return float(wrong.mean()), "the most frequent class for what is read in the same step"


TASKS: Mapping[str, Callable[[], Task]] = {
    "adding": adding,
    "copy": copy,
    "parity": parity,
    "dyck": dyck,
    "oscillator": oscillator,
    "selective": selective,
}
