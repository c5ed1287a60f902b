"""A kernel against the truth: forward, gradient, one step, 50 digits, the Taylor rate.

In: a Kernel and Truths.  Out: rows.
Not here: which points (sizes.py), promises of the array contract (promises.py), whether the
derived Program is right (gradient.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from derive.kernel import Gradients, Kernel, Run
from derive.program import Step
from derive.symbolic.evaluate import MPMATH
from derive.verification.kinks import Kink, branches
from derive.verification.points import Random
from derive.verification.reference import Point, run
from derive.verification.report import SAFETY, Row, compared, measured
from derive.verification.truth import OF_FORWARD, ROUNDOFF, Truth, judge_forward, judge_gradient

OF_TAYLOR = "2 within 0.1: remainder of second order, eps where rounding is 1e-3 of it"
DIGITS = 50


@dataclass(frozen=True, slots=True)
class Subject:
    """A kernel, the step it claims to compute, and what its outputs are called."""

    kernel: Kernel
    step: Step
    output_keys: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.kernel.target} {self.kernel.dtype.name}".strip()

    @property
    def dtype(self) -> str:
        return str(self.kernel.dtype.name)

    def by_array(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the names of the step's arrays."""
        pairs = zip(self.step.outputs, self.output_keys, strict=True)
        return {name: outputs[key] for name, key in pairs}

    def by_key(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        pairs = zip(self.step.outputs, self.output_keys, strict=True)
        return {key: outputs[name] for name, key in pairs}

    def forward(self, point: Point, **options: Any) -> Run:
        cast = self.cast
        inputs: Any = cast(point.inputs)
        if not self.step.inputs:
            inputs = np.zeros((point.steps, point.rows, 0))
        states = cast(point.states) if self.step.states else None
        return self.kernel.forward(
            cast(point.params), inputs, states, point.lengths, point.reverse, **options
        )

    def backward(self, run_: Run, point: Point, **options: Any) -> Gradients:
        d_states = self.cast(point.d_states) if self.step.states else None
        d_outputs = self.cast(self.by_key(point.d_outputs))
        return self.kernel.backward(run_, d_outputs, d_states, **options)

    def cast(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.asarray(a, dtype=self.kernel.dtype) for name, a in arrays.items()}


def everything(gradients: Gradients) -> dict[str, Any]:
    return {**gradients.params, **gradients.inputs, **gradients.states}


def check_point(subject: Subject, truth: Truth, label: str = "") -> list[Row]:
    """Forward and gradient at one point."""
    where = f"{subject.where}: {label}" if label else subject.where
    run_ = subject.forward(truth.point)
    outputs = subject.by_array(run_.outputs)
    rows = judge_forward(truth, "forward", where, outputs, run_.states, subject.dtype)
    got = everything(subject.backward(run_, truth.point))
    return rows + judge_gradient(truth, "gradient", where, got, subject.dtype)


def check_agreement(subject: Subject, other: Subject, truth: Truth) -> list[Row]:
    """The kernel against a float64 kernel, `other`: everything both of them compute."""
    first, second = subject.forward(truth.point), other.forward(truth.point)
    got = everything(subject.backward(first, truth.point))
    wanted = everything(other.backward(second, truth.point))
    errors = {**truth.errors}
    bounded = truth.found.bounded
    for name, key in zip(subject.step.outputs, subject.output_keys, strict=True):
        label = f"output {key}"
        got[label], wanted[label] = first.outputs[key], second.outputs[key]
        errors[label] = bounded.outputs[name].error
    where = f"{subject.where} and {other.where}"
    unit = ROUNDOFF[subject.dtype]
    # Both round: twice the bound of one in float64; that of float64 is nothing to float32.
    error = {name: 2 * e if unit < 2.0**-50 else e for name, e in errors.items()}
    bound = "4 u * running error bounds of both"
    return [
        compared("targets agree", f"{where}: {n}", got[n], wanted[n], error[n], unit, bound)
        for n in got
    ]


def check_wanted(subject: Subject, truth: Truth) -> list[Row]:
    """Every second gradient alone, by a backward pass of its own, against the full one."""
    point, where = truth.point, f"{subject.where}: wrt"
    run_ = subject.forward(point)
    full = everything(subject.backward(run_, point))
    wrt = subject.kernel.signature.differentiable()[::2]
    got = everything(subject.backward(run_, point, wrt=wrt))
    others = len({*got} ^ {*wrt})
    rows = [measured("wanted gradients", where, others, 0, "0: these names and no others")]
    unit, bound = ROUNDOFF[subject.dtype], "twice 4 u * running error bound of the backward pass"
    return rows + [
        compared("wanted gradients", f"{where} {n}", a, full[n], 2 * truth.errors[n], unit, bound)
        for n, a in got.items()
        if n in full
    ]


def check_kink(subject: Subject, truth: Truth) -> list[Row]:
    """On kinks every kernel follows the derived Program, and that the contract's table."""
    run_ = subject.forward(truth.point)
    got = everything(subject.backward(run_, truth.point))
    return judge_gradient(truth, "on kinks", subject.where, got, subject.dtype)


def check_ulp(subject: Subject, truth: Truth) -> list[Row]:
    """The forward pass against 50 digits, in units in the last place."""
    rows = []
    with mpmath.workdps(DIGITS), np.errstate(all="ignore"):
        precise = run(subject.step, truth.point, MPMATH)
        got = subject.by_array(subject.forward(truth.point, training=False).outputs)
        for name, array in got.items():
            error = truth.found.bounded.outputs[name].error
            off = abs(_mp(array) - precise.outputs[name]).astype(np.float64)
            ulp = np.spacing(abs(array)).astype(np.float64)
            allowed = SAFETY * ROUNDOFF[subject.dtype] * error / ulp + 1
            use = off / ulp / allowed
            worst = np.unravel_index(np.argmax(np.where(np.isnan(use), np.inf, use)), use.shape)
            label = f"{subject.where}: {name}"
            rows.append(
                measured("ulp", label, (off / ulp)[worst], allowed[worst], f"{OF_FORWARD}, in ulp")
            )
    return rows


def _mp(array: Any) -> Any:
    return MPMATH.array(array.astype(np.float64))


def check_step(subject: Subject, truth: Truth) -> list[Row]:
    """`step` against the first step of the reference."""
    point, first = truth.point, truth.found.bounded.moments[0]
    assert len(first.rows) == point.rows
    x: Any = {name: point.inputs[name][first.times, first.rows] for name in subject.step.inputs}
    states = point.states if subject.step.states else None
    output, state = subject.kernel.step(point.params, x or None, states)
    outputs = output if isinstance(output, Mapping) else {subject.output_keys[0]: output}
    got = {**subject.by_array(outputs)}
    rows = []
    pairs = [(got[name], name, name) for name in subject.step.outputs]
    for name, after in zip(subject.step.states, subject.step.next_states, strict=True):
        pairs.append((state[name], name, after))
    for array, label, name in pairs:
        wanted = first.values[name]
        where = f"{subject.where}: {label}"
        unit = ROUNDOFF[subject.dtype]
        rows.append(compared("step", where, array, wanted.value, wanted.error, unit, OF_FORWARD))
    return rows


def check_inference(subject: Subject, truth: Truth) -> list[Row]:
    """training=False gives the outputs and states of training=True."""
    run_ = subject.forward(truth.point, training=False)
    outputs = subject.by_array(run_.outputs)
    return judge_forward(
        truth, "training=False", subject.where, outputs, run_.states, subject.dtype
    )


def check_taylor(
    subject: Subject, truth: Truth, kinks: Sequence[Kink], seed: tuple[int, ...]
) -> list[Row]:
    """f(p + eps v) - f(p) - eps <g, v> is of second order in eps."""
    label = subject.where
    best: Row | None = None
    for attempt in range(3):
        random = Random(*seed, attempt)
        direction = {n: random.uniform(np.shape(a)) for n, a in truth.point.given().items()}
        row = _taylor(subject, truth, kinks, direction, label)
        if best is None or (row.observed or 0.0) < (best.observed or 0.0):
            best = row
        if row.ok:
            break
    assert best is not None
    return [best]


def _taylor(
    subject: Subject, truth: Truth, kinks: Sequence[Kink], direction: dict[str, Any], label: str
) -> Row:
    point, step = truth.point, subject.step

    def loss(at: Point) -> float:
        run_ = subject.forward(at, training=False)
        outputs = subject.by_array(run_.outputs)
        total = sum(float(np.sum(point.d_outputs[n] * outputs[n])) for n in step.outputs)
        return total + sum(float(np.sum(point.d_states[n] * run_.states[n])) for n in step.states)

    bounded = truth.found.bounded
    noise = sum(
        float(np.sum(abs(weights[n]) * (results[n].error + abs(results[n].value))))
        for weights, results in (
            (point.d_outputs, bounded.outputs),
            (point.d_states, bounded.states),
        )
        for n in weights
    )
    noise *= SAFETY * ROUNDOFF[subject.dtype]
    start = loss(point)
    gradient = everything(subject.backward(subject.forward(point), point))
    slope = sum(float(np.sum(direction[n] * gradient[n])) for n in direction)
    here = branches(kinks, step, point)
    epsilons = [2.0**-k for k in range(6, 22)]
    remainders: dict[float, float] = {}
    for epsilon in epsilons:
        at = point.moved({n: epsilon * v for n, v in direction.items()})
        sides = branches(kinks, step, at)
        if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(here, sides, strict=True)):
            remainders[epsilon] = abs(loss(at) - start - epsilon * slope)
    rate = 2.0
    for epsilon, remainder in remainders.items():
        half = remainders.get(epsilon / 2, 0.0)
        if half > 1e3 * noise or np.isnan(half) or np.isnan(remainder):
            rate = float(np.log2(remainder / half)) if half == half else np.nan
    off = abs(rate - 2.0) if remainders else np.inf
    return measured("Taylor rate", label, off, 0.1, OF_TAYLOR)
