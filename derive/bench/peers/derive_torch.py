"""derive's C kernels inside PyTorch: what a model in PyTorch sees of them, autograd included."""

from __future__ import annotations

from typing import Any

from derive.bench.peers import not_installed
from derive.bench.task import Contestant, Results, Task, named, sizes_of_stack

NAME = "PyTorch, derive"
STACKS = True


def missing() -> str | None:
    from derive.bench.peers import derive_c

    return not_installed("torch") or derive_c.missing()


def enter(task: Task) -> list[Contestant]:
    import torch

    import derive.torch as dt

    torch.set_num_threads(task.threads)

    def leaves(arrays: Any) -> dict[str, Any]:
        return {name: torch.from_numpy(a).requires_grad_() for name, a in arrays.items()}

    params, inputs, states = leaves(task.params), leaves(task.inputs), leaves(task.states)
    given = [*inputs.values(), *states.values(), *params.values()]
    d_outputs = [torch.from_numpy(a) for a in task.d_outputs.values()]

    def run() -> Any:
        return dt.run(task.cell, params, inputs, states, threads=task.threads)[0]

    if task.shape.is_stack:
        run = _stack(task, dt, params, inputs, states)

    def infer() -> Any:
        with torch.inference_mode():
            return run(), None

    def train() -> Any:
        outputs = run()
        return outputs, torch.autograd.grad(list(outputs.values()), given, d_outputs)

    def read(result: Any) -> Results:
        outputs, gradients = result
        results = named(output={name: y.detach().numpy() for name, y in outputs.items()})
        if gradients is None:
            return results
        arrays = iter([gradient.numpy() for gradient in gradients])
        return results | named(
            d_input=dict(zip(inputs, arrays, strict=False)),
            d_state=dict(zip(states, arrays, strict=False)),
            d_param=dict(zip(params, arrays, strict=False)),
        )

    return [Contestant(NAME, infer, train, read, ours=True)]


def _stack(task: Task, dt: Any, params: Any, inputs: Any, states: Any) -> Any:
    """Calls a module of several layers, whose parameters are these."""
    shape, widths = task.shape, sizes_of_stack(task.cell, task.shape)[0]
    rnn = dt.RNN(
        task.cell, widths.pop("I"), widths.pop("H"), shape.layers,
        bidirectional=shape.directions == 2, threads=task.threads, **widths,
    )  # fmt: skip
    for name in [name for name, _ in rnn.named_parameters()]:
        delattr(rnn, name)
        setattr(rnn, name, params[name])
    (x,), first = inputs.values(), tuple(states.values())
    return lambda: {key: rnn(x, first if len(first) > 1 else first[0])[0] for key in task.d_outputs}
