"""lax.scan over the cell's equations in JAX, compiled by XLA; gradients by jax.vjp."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from derive.bench.peers import not_installed
from derive.bench.task import Contestant, Results, Task, named
from derive.emit.python.loop import Style, loop_text
from derive.emit.python.names import meanings, native
from derive.kernel.numpy_backend import load
from derive.pipeline import schedule
from derive.symbolic.closed_set import TABLE

NAME = "JAX scan"


def missing() -> str | None:
    return not_installed("jax", "jaxlib")


def enter(task: Task) -> list[Contestant]:
    import jax

    start = time.perf_counter()
    plans = schedule(task.cell)
    parts = plans.split
    text = loop_text(
        plans.forward, Style.SCAN, task.sizes, task.shape.T, task.shape.B, results=parts.outputs
    )
    loop = _function(text)
    groups = jax.tree.map(jax.numpy.asarray, (task.params, task.inputs, task.states))
    d_outputs = tuple(jax.numpy.asarray(a) for a in task.d_outputs.values())

    def outputs_of(given: Any) -> Any:
        params, inputs, states = given
        results = loop({**params, **inputs, **states})
        return tuple(results[output] for output in parts.outputs)

    def both(given: Any, cotangents: Any) -> Any:
        outputs, back = jax.vjp(outputs_of, given)
        return outputs, back(cotangents)[0]

    forward = jax.jit(outputs_of)
    gradient = jax.jit(both)

    def infer() -> Any:
        return jax.block_until_ready(forward(groups)), None

    def train() -> Any:
        return jax.block_until_ready(gradient(groups, d_outputs))

    def read(result: Any) -> Results:
        outputs, gradients = result
        found = named(output=dict(zip(task.d_outputs, map(np.asarray, outputs), strict=True)))
        if gradients is not None:
            d_params, d_inputs, d_states = gradients
            found |= named(d_param=d_params, d_input=d_inputs, d_state=d_states)
        return found

    return [Contestant(NAME, infer, train, read, start=time.perf_counter() - start)]


def _function(text: str) -> Any:
    import jax
    from jax import numpy as jnp

    module = load(text, "bench/jax_scan.py")
    module.__dict__.update(
        meanings(
            jnp,
            **native(jax, {name: record.jax for name, record in TABLE.items()}),
        ),
        real=jnp.float32,
        full=lambda value, shape: jnp.broadcast_to(jnp.asarray(value, jnp.float32), shape),
        cat=jnp.concatenate,
        einsum=jnp.einsum,
        amax=jnp.max,
        flip=jnp.flip,
        scan=jax.lax.scan,
        rows=lambda v: v if v.ndim < 3 else v.reshape(-1, v.shape[-1]),
        product=lambda vector, matrix: vector @ matrix.T,
        width_sum=lambda v: v.sum(-1, keepdims=True),
    )  # fmt: skip
    return module.run
