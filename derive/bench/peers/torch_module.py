"""PyTorch's own modules: nn.LSTM, nn.GRU (reset after the product), nn.RNN."""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.bench.peers import not_installed
from derive.bench.peers.closed import Known, known
from derive.bench.stacks import layers_of
from derive.bench.task import Contestant, Results, Task, named, suffix_of

NAME = "PyTorch nn"
STACKS = True


def missing() -> str | None:
    return not_installed("torch")


def enter(task: Task) -> list[Contestant]:
    found = known(task.cell)
    if found is None or found.peepholes or found.kind == "gru_before":
        return []
    import torch

    torch.set_num_threads(task.threads)
    shape, ends = task.shape, [""]
    layers, lead = [task], [None]  # states of one layer have no axis for layers
    if shape.is_stack:
        layers, lead = layers_of(task), []
        ends = [suffix_of(k, shape) for k in range(len(layers))]
    kind = getattr(torch.nn, found.kind.upper())
    module = kind(shape.I, shape.H, shape.layers, bidirectional=shape.directions == 2)
    arrays = [array for one in layers for array in _stacked(found, one)]
    with torch.no_grad():
        for own, array in zip(module.parameters(), arrays, strict=True):
            own.copy_(torch.from_numpy(array))
    weights = list(module.parameters())
    (x,) = (torch.from_numpy(a).requires_grad_() for a in task.inputs.values())
    states = [torch.from_numpy(a)[tuple(lead)].requires_grad_() for a in task.states.values()]
    (d_output,) = map(torch.from_numpy, task.d_outputs.values())
    first: Any = tuple(states) if len(states) > 1 else states[0]

    def infer() -> Any:
        with torch.inference_mode():
            return module(x, first)[0], None

    def train() -> Any:
        output, _ = module(x, first)
        return output, torch.autograd.grad(output, (x, *states, *weights), d_output)

    def read(result: Any) -> Results:
        output, gradients = result
        results = named(output=dict.fromkeys(task.d_outputs, output.detach().numpy()))
        if gradients is None:
            return results
        d_x, *rest = (gradient.numpy() for gradient in gradients)
        d_states = dict(zip(task.states, rest, strict=False))
        of_params, count = rest[len(states) :], len(rest[len(states) :]) // len(ends)
        d_params = {
            f"{name}{end}": array
            for k, end in enumerate(ends)
            for name, array in _unstacked(found, of_params[k * count : (k + 1) * count]).items()
        }
        return results | named(
            d_input=dict.fromkeys(task.inputs, d_x),
            d_state=d_states if shape.is_stack else {n: a[0] for n, a in d_states.items()},
            d_param=d_params,
        )

    return [Contestant(NAME, infer, train, read)]


def _stacked(found: Known, task: Task) -> list[Any]:
    """weight_ih, weight_hh, bias_ih, bias_hh; a cell with one bias leaves the other zero."""
    groups = (found.input, found.hidden, found.bias, found.hidden_bias)
    arrays = [np.concatenate([task.params[n] for n in names]) for names in groups if names]
    return arrays if found.hidden_bias else [*arrays, np.zeros_like(arrays[2])]


def _unstacked(found: Known, arrays: list[Any]) -> dict[str, Any]:
    groups = (found.input, found.hidden, found.bias, found.hidden_bias)
    return {
        name: part
        for names, array in zip(groups, arrays, strict=True)
        if names
        for name, part in zip(names, np.split(array, len(names)), strict=True)
    }
