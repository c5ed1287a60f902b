"""derive's NumPy target."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import derive
from derive.bench.task import Contestant, Results, Task, named

NAME = "derive NumPy"


def missing() -> str | None:
    return None


def enter(task: Task) -> list[Contestant]:
    return [
        kernel_contestant(NAME, task, "numpy", "float32"),
        kernel_contestant(f"{NAME}, packed", task, "numpy", "float32", packed=True),
    ]


def kernel_contestant(
    name: str, task: Task, target: str, dtype: str, *, packed: bool = False,
    weights: str | None = None,
) -> Contestant:  # fmt: skip
    """A kernel of derive, called as the contract says; packed: parameters are packed once, for
    inference alone with thin `weights`."""
    start = time.perf_counter()
    kernel = derive.compile(task.cell, target=target, dtype=dtype, threads=task.threads)
    task = task.as_dtype(dtype)
    params: Any = kernel.pack(task.params, weights=weights) if packed else task.params
    seconds = time.perf_counter() - start

    def infer() -> Any:
        return kernel.forward(params, task.inputs, task.states, training=False), None

    def train() -> Any:
        run = kernel.forward(params, task.inputs, task.states)
        return run, kernel.backward(run, task.d_outputs)

    def read(result: Any) -> Results:
        run, gradients = result
        found = named(output=run.outputs)
        if gradients is not None:
            found |= named(
                d_param=gradients.params, d_input=gradients.inputs, d_state=gradients.states
            )
        return found

    def saved(result: Any) -> float:
        return _numbers(result[0]._saved) / (task.shape.T * task.shape.B)

    if weights:
        return Contestant(name, infer, None, read, weights, ours=True, start=seconds)
    return Contestant(name, infer, train, read, dtype, ours=True, start=seconds, saved=saved)


def _numbers(kept: Any) -> int:
    """How many numbers a run keeps: arrays, by name or piece by piece."""
    if isinstance(kept, Mapping):
        kept = list(kept.values())
    return sum(map(_numbers, kept)) if isinstance(kept, list) else int(kept.size)
