"""Task: what cells are trained on and judged by.

In: a name of the table, or FILE.py:NAME.  Out: a `Task`.
Not here: the tasks themselves (made.py, carried.py), whether their batches fit (check.py),
training (trial.py).
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import inspect
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.convert import kind_text
from derive.train import Batch

Random = np.random.Generator

#: Of the sequences of tasks that come with derive: some 100 MB are judged by.
LONGEST = 10_000

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
        _check_fields(self)
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
        if not self.judge or not all(isinstance(batch, Batch) for batch in self.judge):
            raise ArgumentError(
                f"task {self.name} has no batch to judge by", hint="judge=(draw(random, 256),)"
            )
        classes = all(np.issubdtype(np.asarray(b.y).dtype, np.integer) for b in self.judge)
        if classes is (self.metric == "squared error"):
            kind = "integers, which are classes" if classes else "numbers"
            raise ArgumentError(
                f"the metric of task {self.name} is {self.metric}, and y holds {kind}",
                hint='metric="error"' if classes else 'metric="squared error"',
            )


def _check_fields(task: Task) -> None:
    """What each field has to be by itself."""

    def wrong(name: str, wanted: str, hint: str) -> ArgumentError:
        given = repr(getattr(task, name))
        return ArgumentError(
            f"{name} of a task is {wanted}, not {given[:60]}", hint=f"Task(..., {name}={hint})"
        )

    for name in ("name", "what", "reference"):
        if not isinstance(getattr(task, name), str):
            raise wrong(name, "text", '"..."')
    if not callable(task.draw):
        raise wrong("draw", "a function of random numbers and a number of rows", "draw")
    if not isinstance(task.judge, tuple | list):
        raise wrong("judge", "a tuple of batches", "(draw(np.random.default_rng(0), 256),)")
    counts = {"outputs": "1", "steps": "1000", "rows": "32", "inputs": "2", "symbols": "10"}
    for name, hint in counts.items():
        value = getattr(task, name)
        if value is None and name in ("inputs", "symbols"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise wrong(name, "a positive integer", hint)
    if not _is_number(task.solved):
        raise wrong("solved", "a number", "0.01")
    if not (isinstance(task.without, tuple | list) and len(task.without) == 2
            and _is_number(task.without[0]) and isinstance(task.without[1], str)):  # fmt: skip
        raise wrong("without", "a number and what reaches it", '(0.5, "guessing")')


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and math.isfinite(value)


def within(task: str, name: str, value: int, least: int, most: int) -> None:
    """ArgumentError where an option of a task lies outside of what the task can be made of."""
    if not least <= value <= most:
        near = min(max(value, least), most)
        raise ArgumentError(
            f"{name} of {task} cannot be {value}",
            facts=(f"it is from {least:,} to {most:,}",),
            hint=f"--task {task}:{name}={near}",
        )


def task_of(text: str) -> Task:
    """A task by its name, with options (adding:steps=200, copy:delay=30:length=5), or FILE.py:NAME
    of one's own, a Task or a function that gives one. Made once, and again where the file changed.
    """
    path = text.rpartition(":")[0]
    try:
        return _task_of(text, os.stat(path).st_mtime_ns if path.endswith(".py") else None)
    except OSError:
        return _task_of(text, None)


@functools.lru_cache(maxsize=16)
def _task_of(text: str, changed: int | None) -> Task:
    from derive.race import carried, made

    tasks: dict[str, Callable[..., Task]] = {**made.TASKS, **carried.TASKS}
    name, *options = text.split(":")
    if name in tasks:
        return tasks[name](**_options(text, tasks[name], options))
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        return _of_file(path, name)
    if text.endswith(".py"):
        raise ArgumentError(f"which task of {text}?", hint=f"--task {text}:my_task")
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
        if name not in numbers or not sign or not re.fullmatch("0*[1-9][0-9]{0,8}", value):
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
    # As of a script: it may import what lies beside it.
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    sys.modules[spec.name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
        found: Any = getattr(module, name, None)
        if callable(found) and not isinstance(found, Task):
            found = found()
    except (Exception, SystemExit) as error:
        raise failed(f"{path} cannot be run", error, hint=f"python {path}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    if not isinstance(found, Task):
        raise ArgumentError(
            f"{name} of {path} is {kind_text(found)}, and no Task",
            hint=f"from derive.race import Task; {name} = Task(...)",
        )
    return found


def failed(what: str, error: BaseException, hint: str | None = None) -> ArgumentError:
    """What a user's code raised, and where."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    calls = traceback.extract_tb(error.__traceback__)
    own = [call for call in calls if call.filename.endswith(".py") and "derive/" not in
           call.filename.replace(os.sep, "/")]  # fmt: skip
    where = (f"{own[-1].filename}, line {own[-1].lineno}: {own[-1].line}",) if own else ()
    return ArgumentError(what, facts=(said, *where), hint=hint)
