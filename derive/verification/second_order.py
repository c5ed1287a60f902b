"""The tangent of a step over whole sequences, against the complex step: jvp and double backward.

In: a Step, its tangent where that has another source, and a Truth.  Out: rows.
Not here: the derivative of one step (gradient.py), mutants (mutants.py), kernels. Nothing is
compiled: the tangent step is interpreted, with lengths and in the direction of the point. Of a cell
with axes it is that of the tangent's text (derivative/tangent_lines.py).

| check           | what must agree                                                           |
| --------------- | ------------------------------------------------------------------------- |
| jvp             | what the tangent step puts out, and the complex step of the sequence      |
| double backward | <u, its backward pass>, and the complex step along u of <v, the gradient> |
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from derive.derivative import Derivative, Gradient, reverse_step, tangent_step
from derive.program import Step
from derive.verification.gradient import OF_ADJOINT, WHERE, U, groups_of
from derive.verification.points import Random
from derive.verification.reference import STEP, Arrays, Point, run
from derive.verification.report import Row, compared, measured
from derive.verification.rounding import BOUNDED
from derive.verification.through_time import Backward, backpropagate, backward_of, inner
from derive.verification.truth import Truth

Names = tuple[str, ...]

_BOUND = "4 u * running error bound of the tangent step over time"


class SecondOrder:
    """The tangent of a gradient's step; `gradient` is what has mutants: its program is that of the
    step and more, and it has no seeds."""

    def __init__(self, step: Step, seed: tuple[int, ...], moving: Step | None = None) -> None:
        """moving: the tangent step, whose arrays are those of `step` and then their tangents."""
        self.step = step
        self.moving = moving or tangent_step(step)
        self.gradient = Gradient(step, Derivative(self.moving.program, (), ()), (), ())
        self._seed = seed
        self._known: dict[int, tuple[Arrays, Point, dict[str, Any]]] = {}

    def check_jvp(self, truth: Truth, moving: Step | None = None) -> list[Row]:
        """One row for each output and last state.  moving: another tangent step, a mutant."""
        _, doubled, wanted = self._of(truth)
        moving = moving or self.moving
        with np.errstate(all="ignore"):
            result = run(moving, doubled, BOUNDED)
        got = {**result.outputs, **{f"last {n}": array for n, array in result.states.items()}}
        return [
            compared("jvp", f"{WHERE}: {name}", got[at].value, array, got[at].error, U, _BOUND)
            for at, (name, array) in zip(self._places(moving), wanted.items(), strict=True)
        ]

    def catches(self, wrong: Gradient, truth: Truth) -> bool:
        """Whether `check_jvp` notices a mutant of `gradient`."""
        moving = replace(self.moving, program=wrong.program)
        return not all(row.ok for row in self.check_jvp(truth, moving))

    def check_double_backward(self, backward: Backward, truth: Truth) -> list[Row]:
        """One row for parameters, inputs and states each.  backward: of the derived gradient."""
        step, point = self.step, truth.point
        along, doubled, _ = self._of(truth)
        random = Random(*self._seed, 2)
        pulling = backward_of(reverse_step(self.moving))
        rows = []
        with np.errstate(all="ignore"):
            found = backpropagate(pulling, doubled, run(self.moving, doubled, BOUNDED), BOUNDED)
            for label, names in groups_of(step, together=True).items():
                unit = {name: random.uniform(np.shape(point.given()[name])) for name in names}
                turned = _turned(point, unit)
                pulled = backpropagate(backward, turned, run(step, turned))
                wanted = sum(float(np.sum(along[n] * np.imag(pulled[n]))) for n in pulled) / STEP
                got = inner(unit, {name: found[name].value for name in names}, names)
                size = sum(float(np.sum(abs(unit[n] * found[n].value))) for n in names)
                error = sum(float(np.sum(abs(unit[n]) * found[n].error)) for n in names)
                off, allowed = abs(got - wanted), max(1e-12 * size, 4 * U * error)
                where = f"{WHERE}: {label}"
                rows.append(measured("double backward", where, off, allowed, OF_ADJOINT))
        return rows

    def _places(self, moving: Step) -> list[str]:
        """Where the result of the tangent step has the tangents of outputs and last states."""
        outputs = moving.outputs[len(self.step.outputs) :]
        states = moving.states[len(self.step.states) :]
        return [*outputs, *(f"last {name}" for name in states)]

    def _of(self, truth: Truth) -> tuple[Arrays, Point, dict[str, Any]]:
        """A direction, the point of the tangent step, and what must come out: once for a truth."""
        if id(truth) not in self._known:
            point = truth.point
            random = Random(*self._seed, 1)
            along = {n: random.uniform(np.shape(array)) for n, array in point.given().items()}
            with np.errstate(all="ignore"):
                turned = run(self.step, _turned(point, along))
            wanted = {name: np.imag(array) / STEP for name, array in turned.outputs.items()}
            for name, array in turned.states.items():
                wanted[f"last {name}"] = np.imag(array) / STEP
            doubled = _doubled(self.step, self.moving, point, along)
            self._known[id(truth)] = along, doubled, wanted
        return self._known[id(truth)]


def _turned(point: Point, by: Arrays) -> Point:
    """The point moved by the complex step along `by`, every array of it complex."""
    zero = {name: np.zeros(np.shape(array)) for name, array in point.given().items()}
    return point.moved({name: 1j * STEP * array for name, array in {**zero, **by}.items()})


def _doubled(step: Step, moving: Step, point: Point, along: Arrays) -> Point:
    """The point of the tangent step: every array and its tangent; the loss is of tangents."""

    def both(names: Names, first: Arrays, then: Arrays, of: Names) -> Arrays:
        values = [first[name] for name in of] + [then[name] for name in of]
        return dict(zip(names, values, strict=True))

    def weights(names: Names, given: Arrays, of: Names) -> Arrays:
        return both(names, {name: np.zeros(np.shape(given[name])) for name in of}, given, of)

    return replace(
        point,
        params=both(moving.params, point.params, along, step.params),
        inputs=both(moving.inputs, point.inputs, along, step.inputs),
        states=both(moving.states, point.states, along, step.states),
        d_outputs=weights(moving.outputs, point.d_outputs, step.outputs),
        d_states=weights(moving.states, point.d_states, step.states),
    )
