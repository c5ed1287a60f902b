"""Whether what a task draws fits what it says.

In: a Task, a batch, in words which.  Out: an ArgumentError where a model could not be trained on
it, before any is.
Not here: what a task says (task.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.convert import kind_text, shape_text
from derive.race.task import Random, Task, failed
from derive.train import Batch


def check(task: Task, rows: int) -> None:
    """The batches that a task is judged by, and the first one that it is trained on."""
    for number, batch in enumerate(task.judge):
        check_batch(task, batch, f"judge[{number}]")
    drawn(task, np.random.default_rng(0), rows)


def drawn(task: Task, random: Random, rows: int) -> Batch:
    """A batch of so many rows, checked."""
    try:
        batch = task.draw(random, rows)
    except Exception as error:
        raise failed(f"draw(random, {rows}) of task {task.name} failed", error) from error
    what = f"draw(random, {rows})"
    check_batch(task, batch, what)
    if np.shape(batch.x)[1] != rows:
        raise _unfit(task, what, f"x has {np.shape(batch.x)[1]} rows: {_text(batch.x)}")
    return batch


def check_batch(task: Task, batch: Any, what: str) -> None:
    """Shapes [T, B, ...], classes below `outputs`, symbols below `symbols`, finite numbers."""
    if not isinstance(batch, Batch):
        raise _unfit(task, what, f"it is {kind_text(batch)}", "from derive.race import Batch")
    x, y = _array(task, what, "x", batch.x), _array(task, what, "y", batch.y)
    if task.symbols is not None:
        if x.ndim != 2 or not np.issubdtype(x.dtype, np.integer):
            raise _unfit(task, what, f"x is [T, B] integers, given {_text(x)}", "symbols=10")
        if x.size and not (x.min() >= 0 and x.max() < task.symbols):
            raise _unfit(task, what, f"symbols are 0 to {task.symbols - 1}, and x holds "
                         f"{x.min()} to {x.max()}", f"symbols={int(x.max()) + 1}")  # fmt: skip
    elif x.ndim != 3 or x.shape[2] != task.inputs:
        raise _unfit(task, what, f"x is [T, B, {task.inputs}], given {_text(x)}",
                     f"inputs={x.shape[2]}" if x.ndim == 3 else None)  # fmt: skip
    if not x.size:
        raise _unfit(task, what, f"x is empty: {_text(x)}")
    steps, rows = x.shape[:2]
    classes = task.metric != "squared error"
    if classes and not np.issubdtype(y.dtype, np.integer):
        raise _unfit(task, what, f"y holds classes, which are integers, given {_text(y)}")
    tail = () if classes else (task.outputs,)
    if y.shape not in ((steps, rows, *tail), (rows, *tail)):
        more = "" if classes else f", {task.outputs}"
        raise _unfit(task, what, f"y is [T, B{more}] or [B{more}] with T = {steps}, B = {rows}, "
                     f"given {_text(y)}")  # fmt: skip
    if classes and not (y.min() >= 0 and y.max() < task.outputs):
        raise _unfit(task, what, f"classes are 0 to {task.outputs - 1}, and y holds {y.min()} to "
                     f"{y.max()}", f"outputs={int(y.max()) + 1}")  # fmt: skip
    places = y.shape if classes else y.shape[:-1]
    if batch.weights is not None:
        weights = _array(task, what, "weights", batch.weights)
        if weights.shape != places or (weights < 0).any():
            raise _unfit(task, what, f"weights are {shape_text(places)} from 0 on, "
                         f"given {_text(weights)}")  # fmt: skip
    if batch.lengths is not None:
        lengths = _array(task, what, "lengths", batch.lengths)
        least = 1 if len(places) == 1 else 0
        good = lengths.shape == (rows,) and np.issubdtype(lengths.dtype, np.integer)
        if not good or lengths.min() < least or lengths.max() > steps:
            raise _unfit(task, what, f"lengths are [B] integers from {least} to {steps}, "
                         f"given {_text(lengths)}")  # fmt: skip
    if batch.resets is not None:
        resets = _array(task, what, "resets", batch.resets)
        if resets.shape != (steps, rows):
            raise _unfit(task, what, f"resets are {shape_text((steps, rows))}, "
                         f"given {shape_text(resets.shape)}")  # fmt: skip


def _array(task: Task, what: str, name: str, value: Any) -> Any:
    """As an array of finite numbers."""
    try:
        found = np.asarray(value)
        finite = bool(np.isfinite(found).all())
    except (TypeError, ValueError) as error:
        raise _unfit(task, what, f"{name} is no array of numbers: {error}") from error
    if not finite:
        raise _unfit(task, what, f"{name} has an element that is no finite number")
    return found


def _text(array: Any) -> str:
    return f"{shape_text(np.shape(array))} of {np.asarray(array).dtype}"


def _unfit(task: Task, what: str, fact: str, hint: str | None = None) -> ArgumentError:
    return ArgumentError(f"{what} of task {task.name} does not fit", facts=(fact,), hint=hint)
