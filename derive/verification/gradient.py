"""The derived Program against the complex step: no kernel, no generated text.

In: the Gradient of a step.  Out: rows.
Not here: mutants of it (mutants.py), kernels made of it (kernels.py).

| check             | what must agree                                                      |
| ----------------- | -------------------------------------------------------------------- |
| gradient          | reverse Program through time, and complex step, for every array      |
| differences       | the same, and central differences with extrapolation                 |
| tangent           | forward Program through time, and complex step                       |
| adjoint           | <J v, w> from the forward Program and <v, J' w> from the reverse one |
| second derivative | forward over reverse, reverse over reverse, and complex step         |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.derivative import Gradient, forward, reverse
from derive.program import Map, Program, Step, interpret
from derive.symbolic import functions
from derive.verification.points import Random
from derive.verification.reference import STEP, Point, difference, slope
from derive.verification.report import Row, compared, measured, not_run
from derive.verification.rounding import BOUNDED
from derive.verification.through_time import Backward, backpropagate, inner, push_forward
from derive.verification.truth import ROUNDOFF, Truth, judge_gradient, judge_slopes

WHERE = "derived program"
U = ROUNDOFF["float64"]
OF_DIFFERENCES = "1e-7: u / h of the subtraction for the smallest step, h = 2^-18 (u / h = 3e-11)"
OF_ADJOINT = "1e-12 of the sum of sizes: some 10^3 roundings of u on either side"


def check_gradient(truth: Truth, backward: Backward, label: str = "") -> list[Row]:
    with np.errstate(all="ignore"):
        got = backpropagate(backward, truth.point, truth.plain)
    where = f"{WHERE}: {label}" if label else WHERE
    judge = judge_slopes if truth.probes else judge_gradient
    return judge(truth, "gradient", where, got)


def groups_of(step: Step, together: bool) -> dict[str, tuple[str, ...]]:
    """What one direction moves: an array by itself, or all of one kind."""
    if not together:
        return {name: (name,) for name in (*step.params, *step.inputs, *step.states)}
    kinds = {"parameters": step.params, "inputs": step.inputs, "states": step.states}
    return {label: names for label, names in kinds.items() if names}


def check_differences(
    truth: Truth, backward: Backward, seed: tuple[int, ...], *, together: bool = False
) -> list[Row]:
    """A second oracle, which knows no complex numbers. One direction for each array."""
    step, point = backward.gradient.step, truth.point
    if holds(step.program, "stop_gradient"):
        why = "stop_gradient: the derivative is not that of the function"
        return [not_run("differences", WHERE, why)]
    got = backpropagate(backward, point, truth.plain)
    random, rows = Random(*seed), []
    given = point.given()
    for label, names in groups_of(step, together).items():
        along = {name: random.uniform(np.shape(given[name])) for name in names}
        wanted = difference(step, point, along)
        size = sum(float(np.sum(abs(along[name] * got[name]))) for name in names) or 1.0
        off = abs(inner(along, got, names) - wanted) / size
        rows.append(measured("differences", f"{WHERE}: {label}", off, 1e-7, OF_DIFFERENCES))
    return rows


def check_adjoint(
    truth: Truth, backward: Backward, seed: tuple[int, ...], *, together: bool = False
) -> list[Row]:
    """The forward Program against the complex step, and both modes against each other."""
    step, point = backward.gradient.step, truth.point
    random, rows = Random(*seed), []
    derivative = forward(step.program)
    got = backpropagate(backward, point, truth.plain)
    given = point.given()
    for label, names in groups_of(step, together).items():
        unit = {name: random.uniform(np.shape(given[name])) for name in names}
        t_outputs, t_states = push_forward(step, derivative, point, unit)
        pushed = inner(point.d_outputs, t_outputs, step.outputs)
        pushed += inner(point.d_states, t_states, step.states)
        pulled = inner(unit, got, names)
        error = sum(float(np.sum(abs(unit[name]) * truth.errors[name])) for name in names)
        wanted = float(slope(step, point, unit).sum())
        where = f"{WHERE}: {label}"
        of_tangent = "4 u * running error bound of the backward pass"
        rows.append(compared("tangent", where, pushed, wanted, error, U, of_tangent))
        size = sum(float(np.sum(abs(unit[name] * got[name]))) for name in names)
        allowed = max(1e-12 * size, 4 * U * error)
        rows.append(measured("adjoint", where, abs(pushed - pulled), allowed, OF_ADJOINT))
    return rows


def check_second(gradient: Gradient, point: Point, seed: tuple[int, ...]) -> list[Row]:
    """Hessian-vector products of one step, by forward over reverse and reverse over reverse."""
    program, random = gradient.program, Random(*seed)
    given = _one_step(gradient, point)
    along = {name: random.uniform(np.shape(array)) for name, array in given.items()}
    with np.errstate(all="ignore"):
        moved = {name: given[name] + 1j * STEP * along[name] for name in given}
        stepped = interpret(program, moved, rows=point.rows, sizes=point.sizes)
        pushing = forward(program)
        seeds = dict(pushing.seeds)
        both = {**given, **{seeds[name]: along[name] for name in given}}
        pushed = interpret(
            pushing.program, both, rows=point.rows, sizes=point.sizes, algebra=BOUNDED
        )
        rows = []
        weights: dict[str, Any] = {}
        expected, size = 0.0, 0.0
        for name in program.outputs:
            wanted = np.imag(stepped[name]) / STEP
            tangent = pushed[pushing.name(name)]
            bound = "4 u * running error bound of the second derivative of one step"
            label = f"{WHERE}: {name}"
            rows.append(
                compared("second derivative", label, tangent.value, wanted, tangent.error, U, bound)
            )
            weights[name] = random.uniform(wanted.shape)
            expected += float(np.sum(weights[name] * wanted))
            size += float(np.sum(abs(weights[name]) * (abs(wanted) + U * 4e12 * tangent.error)))
        pulling = reverse(program, [(name, f"{name}_weight") for name in program.outputs])
        both = {**given, **{seed_: weights[name] for name, seed_ in pulling.seeds}}
        pulled = interpret(pulling.program, both, rows=point.rows, sizes=point.sizes)
    total = sum(float(np.sum(along[name] * pulled[pulling.name(name)])) for name in program.inputs)
    label = f"{WHERE}: reverse over reverse"
    off = abs(total - expected)
    rows.append(measured("second derivative", label, off, 1e-12 * size, OF_ADJOINT))
    return rows


def _one_step(gradient: Gradient, point: Point) -> dict[str, Any]:
    """Inputs of the reverse Program at the first step of `point`."""
    step = gradient.step
    given = {name: point.params[name] for name in step.params}
    given |= {name: point.inputs[name][0] for name in step.inputs}
    given |= {name: point.states[name] for name in step.states}
    for seed, name in zip(gradient.output_seeds, step.outputs, strict=True):
        given[seed] = point.d_outputs[name][0]
    for seed, name in zip(gradient.state_seeds, step.states, strict=True):
        given[seed] = point.d_states[name]
    return given


def holds(program: Program, function: str) -> bool:
    """Whether any equation applies `function`."""
    head = functions.RULES[function].head
    return any(isinstance(e, Map) and e.expr.has(head) for e in program.equations)
