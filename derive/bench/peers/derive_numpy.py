"""derive's NumPy target."""

from __future__ import annotations

import time
from typing import Any

import derive
from derive.bench.task import Contestant, Results, Task, named

NAME = "derive NumPy"


def missing() -> str | None:
    return None


def enter(task: Task) -> list[Contestant]:
    return [kernel_contestant(NAME, task, "numpy", "float32")]


def kernel_contestant(name: str, task: Task, target: str, dtype: str) -> Contestant:
    """A kernel of derive, called as the contract says."""
    start = time.perf_counter()
    kernel = derive.compile(task.cell, target=target, dtype=dtype, threads=task.threads)
    seconds = time.perf_counter() - start
    task = task.as_dtype(dtype)

    def infer() -> Any:
        return kernel.forward(task.params, task.inputs, task.states, training=False), None

    def train() -> Any:
        run = kernel.forward(task.params, task.inputs, task.states)
        return run, kernel.backward(run, task.d_outputs)

    def read(result: Any) -> Results:
        run, gradients = result
        found = named(output=run.outputs)
        if gradients is not None:
            found |= named(
                d_param=gradients.params, d_input=gradients.inputs, d_state=gradients.states
            )
        return found

    return Contestant(name, infer, train, read, dtype, ours=True, start=seconds)
