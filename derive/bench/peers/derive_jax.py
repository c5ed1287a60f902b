"""derive's C kernels inside JAX: a compiled computation of XLA that calls them, gradients by
jax.vjp."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from derive.bench.peers import not_installed
from derive.bench.task import Contestant, Results, Task, named

NAME = "JAX, derive"


def missing() -> str | None:
    from derive.bench.peers import derive_c

    return not_installed("jax", "jaxlib") or derive_c.missing()


def enter(task: Task) -> list[Contestant]:
    import jax

    import derive.jax as dj

    start = time.perf_counter()
    groups = jax.tree.map(jax.numpy.asarray, (task.params, task.inputs, task.states))
    d_outputs = jax.tree.map(jax.numpy.asarray, dict(task.d_outputs))

    def outputs_of(given: Any) -> Any:
        return dj.run(task.cell, *given, threads=task.threads)[0]

    def both(given: Any, cotangents: Any) -> Any:
        outputs, back = jax.vjp(outputs_of, given)
        return outputs, back(cotangents)[0]

    forward, gradient = jax.jit(outputs_of), jax.jit(both)

    def infer() -> Any:
        return jax.block_until_ready(forward(groups)), None

    def train() -> Any:
        return jax.block_until_ready(gradient(groups, d_outputs))

    def read(result: Any) -> Results:
        outputs, gradients = result
        found = named(output={name: np.asarray(a) for name, a in outputs.items()})
        if gradients is not None:
            d_params, d_inputs, d_states = gradients
            found |= named(d_param=d_params, d_input=d_inputs, d_state=d_states)
        return found

    return [Contestant(NAME, infer, train, read, ours=True, start=time.perf_counter() - start)]
