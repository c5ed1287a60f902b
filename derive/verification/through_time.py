"""The derivative under test, run through time by interpretation: no kernel takes part.

In: the reverse (or forward) Program of a step, and a Point.  Out: gradients of every
parameter, input and initial state (or tangents of every output and last state).
Not here: whether they are right; gradient.py compares them with reference.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.derivative import Derivative, Gradient
from derive.program import Program, Step, interpret
from derive.symbolic.evaluate import NUMPY, Algebra
from derive.verification.reference import Arrays, Point, Result, run


@dataclass(frozen=True, slots=True)
class Backward:
    """Only what the reverse Program adds to its step: forward arrays are inputs."""

    program: Program
    gradient: Gradient


def backward_of(gradient: Gradient) -> Backward:
    step, whole = gradient.step, gradient.program
    forward = {array.name for array in step.program.arrays}
    inputs = (*(a.name for a in step.program.arrays), *gradient.output_seeds, *gradient.state_seeds)
    equations = tuple(e for e in whole.equations if e.out not in forward)
    return Backward(Program(whole.arrays, inputs, equations, whole.outputs), gradient)


def backpropagate(
    backward: Backward, point: Point, forward: Result, algebra: Algebra = NUMPY
) -> dict[str, Any]:
    """{name: gradient} of every parameter, input and initial state.

    `forward` is the run whose moments hold the forward arrays, in the same algebra.
    """
    gradient = backward.gradient
    step = gradient.step
    carry = {name: algebra.array(point.d_states[name]).copy() for name in step.states}
    d_outputs = {name: algebra.array(point.d_outputs[name]) for name in step.outputs}
    d_params = {name: algebra.array(np.zeros(np.shape(point.params[name]))) for name in step.params}
    d_inputs = {name: algebra.array(np.zeros_like(point.inputs[name])) for name in step.inputs}
    if any(np.iscomplexobj(array) for array in point.given().values()):
        carry = {name: array.astype(complex) for name, array in carry.items()}
    for moment in reversed(forward.moments):
        given = dict(moment.values)
        for seed, name in zip(gradient.output_seeds, step.outputs, strict=True):
            given[seed] = d_outputs[name][moment.times, moment.rows]
        for seed, name in zip(gradient.state_seeds, step.states, strict=True):
            given[seed] = carry[name][moment.rows]
        values = interpret(
            backward.program, given, rows=len(moment.rows), sizes=point.sizes, algebra=algebra
        )
        for name, d_name in zip(step.params, gradient.d_params, strict=True):
            d_params[name] = d_params[name] + values[d_name]
        for name, d_name in zip(step.inputs, gradient.d_inputs, strict=True):
            d_inputs[name][moment.times, moment.rows] = values[d_name]
        for name, d_name in zip(step.states, gradient.d_states, strict=True):
            carry[name][moment.rows] = values[d_name]
    return {**d_params, **d_inputs, **carry}


def push_forward(
    step: Step, derivative: Derivative, point: Point, direction: Arrays
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tangents of outputs {array: [T, B, width]} and of last states {name: [B, width]}.

    derivative: differentiate.forward of the step's Program, by all of its inputs.
    """
    plain = run(step, point)
    seeds = dict(derivative.seeds)
    zeros = {name: np.zeros(np.shape(array)) for name, array in point.given().items()}
    along: Mapping[str, Any] = {**zeros, **direction}
    tangent = {name: np.array(along[name], dtype=float) for name in step.states}
    t_outputs = {name: np.zeros(np.shape(point.d_outputs[name])) for name in step.outputs}
    for moment in plain.moments:
        given = {name: moment.values[name] for name in step.program.inputs}
        given |= {seeds[name]: along[name] for name in step.params}
        given |= {seeds[name]: along[name][moment.times, moment.rows] for name in step.inputs}
        given |= {seeds[name]: tangent[name][moment.rows] for name in step.states}
        values = interpret(derivative.program, given, rows=len(moment.rows), sizes=point.sizes)
        for name, after in zip(step.states, step.next_states, strict=True):
            tangent[name][moment.rows] = values[derivative.name(after)]
        for name in step.outputs:
            t_outputs[name][moment.times, moment.rows] = values[derivative.name(name)]
    return t_outputs, tangent


def inner(weights: Arrays, arrays: Arrays, names: Sequence[str]) -> float:
    """<weights, arrays> over `names`."""
    return float(sum(np.sum(weights[name] * arrays[name]) for name in names))
