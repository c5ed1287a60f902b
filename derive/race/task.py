"""Task: what cells are trained on and judged by.

In: a name of the table, or FILE.py:NAME.  Out: a `Task`.
Not here: the tasks themselves (made.py, carried.py), training (trial.py).
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.convert import kind_text
from derive.train import Batch

Random = np.random.Generator

METRICS = ("error", "bits", "squared error")


@dataclass(frozen=True, slots=True)
class Task:
    """name: one word.  what: one line.  draw(random, rows): a Batch to train on, of so many rows.
    judge: batches that nothing is trained on.  inputs: the width of x, or symbols: how many symbols
    x is made of.  outputs: classes or numbers of a position.  metric: "error" (part of wrong
    classes), "bits" (a position) or "squared error"; less is better.  solved: from here down it is
    solved.  without: the metric of what needs no recurrence, and in words what that is.
    reference: a published result.  steps, rows: of training, unless a race says otherwise.
    """

    name: str
    what: str
    draw: Callable[[Random, int], Batch]
    judge: tuple[Batch, ...]
    outputs: int
    metric: str
    solved: float
    without: tuple[float, str]
    inputs: int | None = None
    symbols: int | None = None
    reference: str = ""
    steps: int = 1000
    rows: int = 32

    def __post_init__(self) -> None:
        if (self.inputs is None) == (self.symbols is None):
            raise ArgumentError(
                f"task {self.name} says either inputs or symbols",
                hint="Task(..., inputs=2) for vectors, Task(..., symbols=10) for integers",
            )
        if self.metric not in METRICS:
            raise ArgumentError(
                f"task {self.name} has no metric {self.metric!r}",
                facts=(f"metrics: {', '.join(METRICS)}",),
                hint='metric="error"',
            )
        classes = all(np.issubdtype(np.asarray(b.y).dtype, np.integer) for b in self.judge)
        if self.judge and classes is (self.metric == "squared error"):
            kind = "integers, which are classes" if classes else "numbers"
            raise ArgumentError(
                f"the metric of task {self.name} is {self.metric}, and y holds {kind}",
                hint='metric="error"' if classes else 'metric="squared error"',
            )
        if not self.judge:
            raise ArgumentError(
                f"task {self.name} has no batch to judge by", hint="judge=(draw(random, 256),)"
            )


def task_of(text: str) -> Task:
    """A task by its name, with options (adding:steps=200, copy:delay=30:length=5), or FILE.py:NAME
    of one's own, a Task or a function that gives one."""
    from derive.race import carried, made

    tasks: dict[str, Callable[..., Task]] = {**made.TASKS, **carried.TASKS}
    name, *options = text.split(":")
    if name in tasks:
        return tasks[name](**_options(text, tasks[name], options))
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        return _of_file(path, name)
    near = difflib.get_close_matches(text, tasks, n=1, cutoff=0.5)
    raise ArgumentError(
        f"no task is called '{text}'",
        facts=(f"tasks: {', '.join(tasks)}", "one's own: FILE.py:NAME"),
        hint=f"--task {near[0] if near else next(iter(tasks))}",
    )


def _options(text: str, task: Callable[..., Task], given: Sequence[str]) -> dict[str, int]:
    known = inspect.signature(task).parameters
    numbers = {name: p.default for name, p in known.items() if type(p.default) is int}
    found = {}
    for option in given:
        name, sign, value = option.partition("=")
        if name not in numbers or not sign or not value.isdigit() or not int(value):
            options = ", ".join(f"{name}={default}" for name, default in numbers.items())
            raise ArgumentError(
                f"'{option}' is no option of {text.partition(':')[0]}",
                facts=(f"options, positive numbers: {options or 'none'}",),
                hint=f"--task {text.partition(':')[0]}"
                + (f":{options.partition(', ')[0]}" if options else ""),
            )
        found[name] = int(value)
    return found


def _of_file(path: str, name: str) -> Task:
    if not os.path.isfile(path):
        raise ArgumentError(f"there is no file {path}", hint="--task folder/tasks.py:my_task")
    spec = importlib.util.spec_from_file_location("derive_race_task", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ArgumentError(
            f"{path} cannot be run: {type(error).__name__}: {error}", hint=f"python {path}"
        ) from error
    found: Any = getattr(module, name, None)
    if callable(found) and not isinstance(found, Task):
        found = found()
    if not isinstance(found, Task):
        raise ArgumentError(
            f"{name} of {path} is {kind_text(found)}, and no Task",
            hint=f"from derive.race import Task; {name} = Task(...)",
        )
    return found
