"""A loop in PyTorch over the cell's equations, run eagerly; gradients by its autograd."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

from derive.bench.peers import not_installed
from derive.bench.task import Contestant, Results, Task, named
from derive.emit.python.loop import Style, loop_text
from derive.emit.python.names import meanings, native, taking_numbers
from derive.kernel.numpy_backend import load
from derive.pipeline import schedule
from derive.symbolic.closed_set import TABLE

NAME = "PyTorch loop"
_COUNT = itertools.count()


def missing() -> str | None:
    return not_installed("torch")


def enter(task: Task) -> list[Contestant]:
    return [loop_contestant(NAME, task, lambda function: function)]


def loop_contestant(name: str, task: Task, transform: Callable[[Any], Any]) -> Contestant:
    """transform: what becomes of the loop, a function of tensors that returns outputs."""
    import torch

    torch.set_num_threads(task.threads)
    start = time.perf_counter()
    plans = schedule(task.cell)
    parts = plans.split
    text = loop_text(
        plans.forward, Style.LIST, task.sizes, task.shape.T, task.shape.B, results=parts.outputs
    )
    loop = _function(text)
    groups = (task.params, task.inputs, task.states)
    tensors = [torch.from_numpy(a).requires_grad_() for group in groups for a in group.values()]
    names = [name for group in groups for name in group]
    d_outputs = [torch.from_numpy(a) for a in task.d_outputs.values()]

    def outputs_of(*given: Any) -> Any:
        results = loop(dict(zip(names, given, strict=True)))
        return tuple(results[output] for output in parts.outputs)

    run = transform(outputs_of)

    def infer() -> Any:
        with torch.no_grad():
            return run(*tensors), None

    def train() -> Any:
        outputs = run(*tensors)
        return outputs, torch.autograd.grad(
            outputs, tensors, d_outputs, allow_unused=True, materialize_grads=True
        )

    def read(result: Any) -> Results:
        outputs, gradients = result
        found = named(
            output={k: o.detach().numpy() for k, o in zip(task.d_outputs, outputs, strict=True)}
        )
        if gradients is None:
            return found
        left = iter(gradients)
        d_params, d_inputs, d_states = ({n: next(left).numpy() for n in group} for group in groups)
        return found | named(d_param=d_params, d_input=d_inputs, d_state=d_states)

    return Contestant(name, infer, train, read, start=time.perf_counter() - start)


def _function(text: str) -> Any:
    import torch

    module = load(text, "bench/torch_loop.py")
    # torch.compile imports the module of a function by its name.
    name = module.__dict__["__name__"] = f"{__name__}.loop_{next(_COUNT)}"
    sys.modules[name] = module

    def real(value: float) -> Any:
        return torch.tensor(value, dtype=torch.float32)

    module.__dict__.update(
        meanings(
            torch,
            **native(torch, {name: record.torch for name, record in TABLE.items()})
            | taking_numbers(torch),
        ),
        real=real,
        full=lambda value, shape: torch.as_tensor(value, dtype=torch.float32).expand(shape),
        cat=torch.cat,
        einsum=torch.einsum,
        amax=torch.amax,
        flip=torch.flip,
        stack=torch.stack,
        rows=lambda v: v if v.ndim < 3 else v.reshape(-1, v.shape[-1]),
        product=lambda vector, matrix: vector @ matrix.T,
        width_sum=lambda v: v.sum(-1, keepdim=True),
    )  # fmt: skip
    return module.run
