"""One cell, one task, one rate, one seed: trained and judged.

In: a `Trial`, all text and numbers, so that any process may run it.  Out: an `Outcome`.
Not here: which trials there are (run.py), what their outcomes mean (verdict.py), their files
(files.py).
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.signature import Arrays
from derive.race.check import drawn
from derive.race.sizes import model_of
from derive.race.task import Task, task_of
from derive.train import Adam, clip_by_norm, linear
from derive.train.model import metrics

#: Of what a trial does; another number is another trial.
_FORMAT = 1
#: How often a model is judged in a trial.
_JUDGED = 20
_CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """cell: its text; label: what it is called in the race; sizes: of its dimensions; rate: Adam's
    at the first step, falling to 0 along a line; steps, rows: of training; target: of the kernels;
    fixed: (name, file) of fixed arrays.
    """

    label: str
    cell: str
    task: str
    sizes: tuple[tuple[str, int], ...]
    rate: float
    seed: int
    steps: int
    rows: int
    target: str
    fixed: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The same for the same work; what the cell is called in the race is no part of it."""
        task, text = _place_of(self.task)
        own = {**asdict(self), "label": None, "format": _FORMAT, "task": task, "text": text}
        del own["fixed"]
        if self.fixed:  # the key of a cell without stays as it was before there were any
            files = sorted(self.fixed)
            own["fixed"] = [(n, hashlib.sha256(_bytes(n, path)).hexdigest()) for n, path in files]
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Outcome:
    """curve: (step, the task's metric) while training; final: the last of it; solved: the first
    step at which the task was solved; seconds: of training, by the clock, and until it was solved;
    diverged: a loss was no number: training ended there, and final is what stands before, infinite
    where nothing does."""

    final: float
    params: int
    seconds: float
    curve: tuple[tuple[int, float], ...] = ()
    solved: int | None = None
    solved_seconds: float | None = None
    diverged: bool = False
    trial: dict[str, Any] = field(default_factory=dict)


def run(trial: Trial) -> Outcome:
    """Train and judge."""
    with np.errstate(all="ignore"):  # what diverges is told as that
        return _run(trial)


def _run(trial: Trial) -> Outcome:
    cell, task = Cell.parse(trial.cell), task_of(trial.task)
    model = model_of(
        cell, task, dict(trial.sizes), target=trial.target, seed=trial.seed, dtype="float32",
        fixed=fixed_of(trial.fixed) or None,
    )  # fmt: skip
    adam = Adam(model.params, beta2=0.99)
    random = np.random.default_rng([trial.seed, 1])
    points = {round(trial.steps * (k + 1) / _JUDGED) for k in range(_JUDGED)}
    curve = [(0, _judge(model, task))]
    seconds, solved, solved_seconds, diverged = 0.0, None, None, False
    for step in range(trial.steps if math.isfinite(curve[0][1]) else 0):
        batch = drawn(task, random, trial.rows)
        began = time.perf_counter()
        loss, gradients = model.gradients(batch)
        norm = clip_by_norm(gradients, _CLIP)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            diverged = True
            break
        adam.step(gradients, trial.rate * linear(step, trial.steps))
        seconds += time.perf_counter() - began
        if step + 1 in points:
            curve.append((step + 1, _judge(model, task)))
            if solved is None and curve[-1][1] <= task.solved:
                solved, solved_seconds = step + 1, seconds
    final = curve[-1][1]
    if not math.isfinite(final):
        diverged = True
        final = next((value for _, value in reversed(curve) if math.isfinite(value)), math.inf)
    return Outcome(
        final, model.size, seconds, tuple(curve), solved, solved_seconds, diverged, asdict(trial)
    )


def _judge(model: Any, task: Task) -> float:
    found, total = 0.0, 0
    for batch in task.judge:
        rows = np.shape(batch.x)[1]
        outputs, _ = model.predict(batch)
        found += rows * metrics(outputs, batch)[task.metric]
        total += rows
    return found / total


def fixed_of(files: Iterable[tuple[str, str]]) -> Arrays:
    """{name: array} of files that numpy.save wrote; ArgumentError where one cannot be read, holds
    no array of real numbers, or one that is not finite in float32, in which a race trains."""
    found = {}
    for name, path in files:
        content = _bytes(name, path)
        try:
            array = np.load(io.BytesIO(content), allow_pickle=False)
        # A damaged file makes NumPy fail in many ways, by MemoryError too where a header lies.
        except Exception as error:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise _no_numbers(path, said) from error
        if not isinstance(array, np.ndarray):
            raise _no_numbers(path, "it holds several arrays")
        if array.dtype.kind not in "fiub":
            raise _no_numbers(path, f"its elements are {array.dtype}, and no real numbers")
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(array.astype(np.float32)))
        if len(bad):
            place = tuple(int(k) for k in bad[0])
            raise ArgumentError(
                f"{path} has an element that is no finite number in float32",
                facts=(f"{name}{list(place)} is {array[place]}",),
            )
        found[name] = np.asarray(array, np.float64)
    return found


def _no_numbers(path: str, fact: str) -> ArgumentError:
    return ArgumentError(
        f"{path} holds no array of numbers", facts=(fact,), hint=f"numpy.save({path!r}, array)"
    )


def _bytes(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        hint = None
        if isinstance(error, FileNotFoundError):
            others = {other.stem: other for other in sorted(Path(path).parent.glob("*.npy"))}
            near = difflib.get_close_matches(Path(path).stem, others, n=1)
            hint = f"--fixed {name}={others[near[0]]}" if near else f"numpy.save({path!r}, array)"
        raise ArgumentError(f"{path} cannot be read: {error.strerror}", hint=hint) from error


def _place_of(task: str) -> tuple[str, str]:
    """A task's name, and what its file says: edited, it is another task; moved, it is not."""
    path, _, name = task.rpartition(":")
    if not path.endswith(".py") or not os.path.isfile(path):
        return task, ""
    return f"{os.path.basename(path)}:{name}", Path(path).read_text("utf-8", errors="replace")
