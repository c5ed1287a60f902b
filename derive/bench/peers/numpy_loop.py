"""The loop that a careful person writes in NumPy, forward and backward."""

from __future__ import annotations

import functools
import math
import time
from typing import Any

import numpy as np

from derive.bench.task import Contestant, Results, Task, named
from derive.emit.python.loop import Style, loop_text
from derive.emit.python.names import meanings
from derive.kernel.numpy_backend import load
from derive.pipeline import schedule

NAME = "NumPy loop"


def missing() -> str | None:
    return None


def enter(task: Task) -> list[Contestant]:
    return [loop_contestant(NAME, task, "float32")]


def loop_contestant(name: str, task: Task, dtype: str) -> Contestant:
    start = time.perf_counter()
    plans, task = schedule(task.cell), task.as_dtype(dtype)
    parts, step = plans.split, plans.split.gradient.step
    gradient, sizes = parts.gradient, task.sizes
    kept = [n for n in parts.backward.inputs if n in {a.name for a in parts.forward.arrays}]
    after = dict(zip(step.states, step.next_states, strict=True))
    table = parts.forward.table()
    given = {*step.params, *step.inputs}
    extra = [n for n in kept if n not in given]
    # The values of a state before and after every step lie in one array, where that can be.
    histories = [(s, n) for s, n in after.items() if s in extra and n not in given | {*step.states}]
    histories = list({n: (s, n) for s, n in histories}.values())
    infer_text, train_text = (
        loop_text(
            plans.forward, Style.FILL, sizes, task.shape.T, task.shape.B,
            histories if training else (),
            results=(*parts.outputs, *(extra if training else ())),
        )
        for training in (False, True)
    )  # fmt: skip
    back_text = loop_text(
        plans.backward, Style.FILL, sizes, task.shape.T, task.shape.B,
        results=(*gradient.d_params, *gradient.d_inputs), backwards=True,
    )  # fmt: skip
    infer_loop, train_loop, back_loop = (
        _function(text, label, dtype)
        for text, label in ((infer_text, "infer"), (train_text, "train"), (back_text, "back"))
    )
    arrays = {**task.params, **task.inputs, **task.states}

    def zero_states() -> dict[str, Any]:
        return {
            seed: np.zeros_like(task.states[state])
            for seed, state in zip(gradient.state_seeds, step.states, strict=True)
        }

    seeds = dict(zip(gradient.output_seeds, task.d_outputs.values(), strict=True))

    def infer() -> Any:
        return infer_loop(arrays), None

    def train() -> Any:
        forward = train_loop(arrays)
        there = {name: forward[name] for name in extra}
        return forward, back_loop({**arrays, **there, **seeds, **zero_states()})

    def read(result: Any) -> Results:
        forward, back = result
        outputs = zip(task.d_outputs, parts.outputs, strict=True)
        found = named(output={key: forward[name] for key, name in outputs})
        if back is not None:
            found |= named(
                d_param=_pick(back, step.params, gradient.d_params),
                d_input=_pick(back, step.inputs, gradient.d_inputs),
                d_state={
                    state: back[f"last {seed}"]
                    for state, seed in zip(step.states, gradient.state_seeds, strict=True)
                },
            )
        return found

    shapes = (table[n].shape for n in extra if table[n].per_row)
    saved = float(sum(math.prod(map(task.width, shape)) for shape in shapes))
    seconds = time.perf_counter() - start
    return Contestant(name, infer, train, read, dtype, start=seconds, saved=lambda _: saved)


def _pick(back: Any, names: Any, cotangents: Any) -> dict[str, Any]:
    return {name: back[d_name] for name, d_name in zip(names, cotangents, strict=True)}


def _function(text: str, label: str, dtype: str) -> Any:
    module = load(text, f"bench/numpy_{label}.py")
    real = np.dtype(dtype).type
    erf = np.vectorize(math.erf, otypes=[real])
    module.__dict__.update(meanings(np, erf=erf, clip=np.clip, sigmoid=_sigmoid))
    module.__dict__.update(
        real=real,
        empty=lambda shape: np.empty(shape, dtype),
        full=lambda value, shape: np.broadcast_to(np.asarray(value, dtype), shape),
        einsum=functools.partial(np.einsum, optimize=True),
        amax=np.max,
        flip=np.flip,
        cat=lambda arrays, axis: np.concatenate(arrays, axis=axis),
        rows=_rows,
        product=lambda vector, matrix: (_rows(vector) @ matrix.T).reshape(
            *vector.shape[:-1], matrix.shape[0]
        ),
        width_sum=lambda v: v.sum(-1, keepdims=True),
    )
    return module.run


def _rows(v: Any) -> Any:
    return v if v.ndim < 3 else v.reshape(-1, v.shape[-1])


def _sigmoid(v: Any) -> Any:
    y = np.exp(-v)
    y += 1
    return np.reciprocal(y, out=y)
