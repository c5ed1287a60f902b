"""layers.RNN on derive's C kernels: stacks of layers and directions."""

from __future__ import annotations

import time
from typing import Any

from derive.bench.peers import derive_c
from derive.bench.task import Contestant, Results, Task, named, sizes_of_stack

NAME = "derive layers"
STACKS = True


def missing() -> str | None:
    return derive_c.missing()


def enter(task: Task) -> list[Contestant]:
    from derive.layers import RNN

    shape = task.shape
    if not shape.is_stack:
        return []
    start, sizes = time.perf_counter(), sizes_of_stack(task.cell, shape)[0]
    options: dict[str, Any] = {"target": "c", "threads": task.threads, **sizes}
    rnn = RNN(task.cell, shape.layers, shape.directions == 2, **options)
    rnn.set_params(task.params)
    seconds = time.perf_counter() - start
    (x,), (d_output,) = task.inputs.values(), task.d_outputs.values()

    def infer() -> Any:
        return rnn.forward(x, task.states, training=False), None

    def train() -> Any:
        run = rnn.forward(x, task.states)
        return run, rnn.backward(run, d_output)

    def read(result: Any) -> Results:
        run, gradients = result
        found = named(output=dict.fromkeys(task.d_outputs, run.output))
        if gradients is not None:
            found |= named(
                d_param=gradients.params, d_input=gradients.inputs, d_state=gradients.states
            )
        return found

    return [Contestant(NAME, infer, train, read, ours=True, start=seconds)]
