"""One cell, one task, one rate, one seed: trained and judged.

In: a `Trial`, all text and numbers, so that any process may run it.  Out: an `Outcome`.
Not here: which trials there are (run.py), what their outcomes mean (verdict.py).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import uuid
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError
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
    at the first step, falling to 0 along a line; steps, rows: of training; target: of the kernels.
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

    @property
    def key(self) -> str:
        """The same for the same work; what the cell is called in the race is no part of it."""
        own = {**asdict(self), "label": None, "format": _FORMAT, "text": _text_of(self.task)}
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
    cell, task = Cell.parse(trial.cell), task_of(trial.task)
    model = model_of(
        cell, task, dict(trial.sizes), target=trial.target, seed=trial.seed, dtype="float32"
    )
    adam = Adam(model.params, beta2=0.99)
    random = np.random.default_rng([trial.seed, 1])
    points = {round(trial.steps * (k + 1) / _JUDGED) for k in range(_JUDGED)}
    curve = [(0, _judge(model, task))]
    seconds, solved, solved_seconds, diverged = 0.0, None, None, False
    for step in range(trial.steps if math.isfinite(curve[0][1]) else 0):
        batch = task.draw(random, trial.rows)
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


# --- files ------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """A file as a whole or not at all, also where several machines share the folder."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise ArgumentError(
            f"{path} cannot be written",
            facts=(f"{type(error).__name__}: {error}",),
            hint="-o another_folder",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def save(outcome: Outcome, path: Path) -> None:
    write(path, json.dumps(asdict(outcome)))


def load(path: Path) -> Outcome | None:
    """None where there is no such file; ArgumentError where it holds something else."""
    try:
        values = json.loads(path.read_text("utf-8"))
        known = {name.name for name in fields(Outcome)}
        if not isinstance(values, dict) or set(values) != known:
            raise ValueError("other entries than those of an outcome")
        curve = tuple((int(step), float(value)) for step, value in values.pop("curve"))
        return Outcome(curve=curve, **values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"{path} is no outcome of a trial", facts=(str(error),), hint=f"remove {path}"
        ) from error


def _text_of(task: str) -> str:
    """What a task of one's own says: edited, it is another task."""
    path = task.rpartition(":")[0]
    return Path(path).read_text("utf-8") if path.endswith(".py") and os.path.isfile(path) else ""
