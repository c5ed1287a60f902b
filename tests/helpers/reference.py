"""A cell run through time in the plainest way: `interpret`, step by step, living rows only.

In: a Step and float64 (or complex) arrays.  Out: outputs and last states, and gradients in two
ways that share nothing: the reverse Program interpreted backwards through time, and the complex
step through the whole sequence.
Not here: schedules, generated code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.derivative import reverse_step
from derive.program import Step, interpret

Arrays = dict[str, Any]


@dataclass
class Sequence:
    """What a run through time gave. outputs and states are named as the step names them."""

    outputs: Arrays
    states: Arrays
    trace: list[tuple[int, Any, Arrays]]  # t, indices of living rows, the states before the step


def sizes_of(step: Step, params: Arrays, inputs: Arrays, states: Arrays) -> dict[str, int]:
    table = step.program.table()
    found: dict[str, int] = {}
    for name, array in {**params, **inputs, **states}.items():
        shape = table[name].shape
        for dim, length in zip(shape, np.shape(array)[-len(shape) :], strict=True):
            if isinstance(dim, str):
                assert found.setdefault(dim, length) == length
    return found


def _living(steps: int, rows: int, lengths: Any, reverse: bool) -> list[tuple[int, Any]]:
    lengths = np.full(rows, steps) if lengths is None else lengths
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    return [(t, np.flatnonzero(t < lengths)) for t in order]


def run(
    step: Step,
    params: Arrays,
    inputs: Arrays,
    states: Arrays,
    *,
    steps: int,
    rows: int,
    lengths: Any = None,
    reverse: bool = False,
) -> Sequence:
    sizes = sizes_of(step, params, inputs, states)
    table = step.program.table()
    dtype = np.result_type(np.float64, *params.values(), *inputs.values(), *states.values())

    def width(name: str) -> int:
        dim = table[name].width
        return sizes[dim] if isinstance(dim, str) else dim

    outputs = {name: np.zeros((steps, rows, width(name)), dtype) for name in step.outputs}
    current = {name: np.array(states[name], dtype) for name in step.states}
    trace = []
    for t, rows_alive in _living(steps, rows, lengths, reverse):
        trace.append((t, rows_alive, {name: array.copy() for name, array in current.items()}))
        if not len(rows_alive):
            continue
        values = interpret(
            step.program,
            {
                **params,
                **{name: array[t][rows_alive] for name, array in inputs.items()},
                **{name: array[rows_alive] for name, array in current.items()},
            },
            rows=len(rows_alive),
            sizes=sizes,
        )
        for name in step.outputs:
            outputs[name][t, rows_alive] = values[name]
        for state, after in zip(step.states, step.next_states, strict=True):
            current[state][rows_alive] = values[after]
    return Sequence(outputs, current, trace)


def gradients(
    step: Step,
    params: Arrays,
    inputs: Arrays,
    states: Arrays,
    d_outputs: Mapping[str, Any],
    d_states: Mapping[str, Any],
    *,
    steps: int,
    rows: int,
    lengths: Any = None,
    reverse: bool = False,
) -> Arrays:
    """Gradients of all params, inputs and initial states. d_outputs is keyed by step.outputs."""
    sizes = sizes_of(step, params, inputs, states)
    gradient = reverse_step(step)
    forward = run(
        step, params, inputs, states, steps=steps, rows=rows, lengths=lengths, reverse=reverse
    )
    total = {name: np.zeros_like(array) for name, array in {**params, **inputs}.items()}
    carried = {name: np.array(d_states[name]) for name in step.states}
    for t, alive, before in reversed(forward.trace):
        if not len(alive):
            continue
        seeds = dict(zip(gradient.output_seeds, step.outputs, strict=True))
        given = {
            **params,
            **{name: array[t][alive] for name, array in inputs.items()},
            **{name: array[alive] for name, array in before.items()},
            **{seed: d_outputs[name][t][alive] for seed, name in seeds.items()},
            **{
                seed: carried[name][alive]
                for seed, name in zip(gradient.state_seeds, step.states, strict=True)
            },
        }
        values = interpret(gradient.program, given, rows=len(alive), sizes=sizes)
        for name, d_name in zip(step.params, gradient.d_params, strict=True):
            total[name] = total[name] + values[d_name]
        for name, d_name in zip(step.inputs, gradient.d_inputs, strict=True):
            total[name][t, alive] = values[d_name]
        for name, d_name in zip(step.states, gradient.d_states, strict=True):
            carried[name][alive] = values[d_name]
    return {**total, **carried}


def directional(
    step: Step,
    params: Arrays,
    inputs: Arrays,
    states: Arrays,
    d_outputs: Mapping[str, Any],
    d_states: Mapping[str, Any],
    direction: Mapping[str, Any],
    **how: Any,
) -> float:
    """The derivative of <d_outputs, outputs> + <d_states, states> by the complex step."""
    tiny = 1e-30

    def moved(arrays: Arrays) -> Arrays:
        return {n: a + 1j * tiny * direction[n] if n in direction else a for n, a in arrays.items()}

    found = run(step, moved(params), moved(inputs), moved(states), **how)
    total = sum(np.sum(d_outputs[name] * array) for name, array in found.outputs.items())
    total += sum(np.sum(d_states[name] * array) for name, array in found.states.items())
    return float(np.imag(total) / tiny)
