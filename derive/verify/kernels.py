"""A kernel against the truth: forward, gradient, and every promise of the array contract.

In: a Kernel and Truths.  Out: rows.
Not here: which points (sizes.py), whether the derived Program is right (gradient.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mpmath
import numpy as np

from derive.algebra import MPMATH
from derive.kernel import Gradients, Kernel, Run
from derive.program import Step
from derive.verify.kinks import Kink, branches
from derive.verify.points import Random
from derive.verify.reference import Point, run
from derive.verify.report import SAFETY, Row, compared, measured
from derive.verify.truth import OF_FORWARD, ROUNDOFF, Truth, judge_forward, judge_gradient

EXACT = "0: the contract promises the same bits"
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
        cast = self._cast
        inputs: Any = cast(point.inputs)
        if not self.step.inputs:
            inputs = np.zeros((point.steps, point.rows, 0))
        states = cast(point.states) if self.step.states else None
        return self.kernel.forward(
            cast(point.params), inputs, states, point.lengths, point.reverse, **options
        )

    def backward(self, run_: Run, point: Point) -> Gradients:
        d_states = self._cast(point.d_states) if self.step.states else None
        return self.kernel.backward(run_, self._cast(self.by_key(point.d_outputs)), d_states)

    def _cast(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
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


def check_bits(subject: Subject, truth: Truth) -> list[Row]:
    """What must not change anything: calling again, other strides; and nothing is written into."""
    point, where = truth.point, subject.where
    first = subject.forward(point)
    gradients = everything(subject.backward(first, point))
    before = [np.copy(array) for array in _arrays_of(point)]
    second = subject.forward(point)
    strided = subject.forward(_strided(point))
    results = {
        "backward again": (gradients, everything(subject.backward(first, point))),
        "forward again": (_all_of(first), _all_of(second)),
        "backward of a later run": (gradients, everything(subject.backward(second, point))),
        "strided arrays": (_all_of(first), _all_of(strided)),
        "strided cotangents": (
            gradients, everything(subject.backward(first, _strided(point)))
        ),
        "arguments unchanged": (dict(enumerate(before)), dict(enumerate(_arrays_of(point)))),
    }  # fmt: skip
    rows = []
    for label, (one, other) in results.items():
        changed = sum(one[name].tobytes() != other[name].tobytes() for name in one)
        rows.append(measured("same bits", f"{where}: {label}", changed, 0, EXACT))
    return rows


def _arrays_of(point: Point) -> list[Any]:
    return [*point.given().values(), *point.d_outputs.values(), *point.d_states.values()]


def _all_of(run_: Run) -> dict[Any, Any]:
    return {**{("output", n): a for n, a in run_.outputs.items()}, **run_.states}


def _strided(point: Point) -> Point:
    """The same numbers in arrays whose elements do not lie side by side."""

    def spread(arrays: Mapping[str, Any]) -> dict[str, Any]:
        result = {}
        for name, array in arrays.items():
            wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan)
            wide[..., ::2] = array
            result[name] = wide[..., ::2] if array.ndim == 1 else _fortran(wide[..., ::2])
        return result

    return replace(
        point,
        params=spread(point.params),
        inputs=spread(point.inputs),
        states=spread(point.states),
        d_outputs=spread(point.d_outputs),
        d_states=spread(point.d_states),
    )


def _fortran(array: Any) -> Any:
    return np.asarray(array, order="F") if array.shape[0] % 2 else array[::-1].copy()[::-1]


def check_omitted(subject: Subject, truth: Truth) -> list[Row]:
    """A cotangent that is left out is zero, and so is an initial state."""
    point, step = truth.point, subject.step
    run_ = subject.forward(point)
    d_outputs, d_states = subject.by_key(point.d_outputs), dict(point.d_states)
    no_outputs = {name: np.zeros_like(array) for name, array in d_outputs.items()}
    no_states = {name: np.zeros_like(array) for name, array in d_states.items()}
    backward = subject.kernel.backward
    cases = {
        "d_states": (backward(run_, d_outputs), backward(run_, d_outputs, no_states or None)),
        "d_outputs": (
            backward(run_, None, d_states or None), backward(run_, no_outputs, d_states or None)
        ),
    }  # fmt: skip
    rows = []
    bound = "twice the bound of the gradient"
    for label, (left_out, zeros) in cases.items():
        rows.append(_worst("omitted", f"{subject.where}: {label}", left_out, zeros, truth, bound))
    if step.states and _widths_known(subject):
        given = subject.forward(replace(point, states=_zeros(point.states)))
        inputs: Any = point.inputs if step.inputs else np.zeros((point.steps, point.rows, 0))
        args = (None, point.lengths, point.reverse)
        bare = subject.kernel.forward(point.params, inputs, *args)
        changed = sum(a.tobytes() != b.tobytes() for a, b in _pairs(_all_of(given), _all_of(bare)))
        rows.append(measured("omitted", f"{subject.where}: state", changed, 0, EXACT))
    return rows


def check_empty(subject: Subject, truth: Truth) -> list[Row]:
    """T = 0 and B = 0: nothing runs, states stay, gradients of parameters are zero."""
    rows = []
    for steps, count in ((0, truth.point.rows), (2, 0), (0, 0)):
        point = _cut(truth.point, steps, count)
        run_ = subject.forward(point)
        got = everything(subject.backward(run_, point))
        outputs = subject.by_array(run_.outputs)
        wanted = [
            *((got[n], np.zeros_like(point.params[n])) for n in subject.step.params),
            *((got[n], np.zeros_like(point.inputs[n])) for n in subject.step.inputs),
            *((got[n], point.d_states[n]) for n in subject.step.states),
            *((run_.states[n], point.states[n]) for n in subject.step.states),
            *((outputs[n], np.zeros_like(point.d_outputs[n])) for n in subject.step.outputs),
        ]
        wrong = sum(not np.array_equal(a, np.asarray(b, a.dtype)) for a, b in wanted)
        label = f"{subject.where}: T={steps} B={count}"
        rows.append(measured("empty", label, wrong, 0, "0: nothing is computed"))
    return rows


def _cut(point: Point, steps: int, rows: int) -> Point:
    def per_step(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: array[:steps, :rows] for name, array in arrays.items()}

    def per_row(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: array[:rows] for name, array in arrays.items()}

    return replace(
        point, steps=steps, rows=rows, inputs=per_step(point.inputs),
        states=per_row(point.states), d_outputs=per_step(point.d_outputs),
        d_states=per_row(point.d_states),
    )  # fmt: skip


def _zeros(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.zeros_like(array) for name, array in arrays.items()}


def _pairs(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return [(one[name], other[name]) for name in one]


def _widths_known(subject: Subject) -> bool:
    signature = subject.kernel.signature
    axes = [axis for shape in signature.params.values() for axis in shape]
    axes += list(signature.inputs.values())
    return all(isinstance(w, int) or w in axes for w in signature.states.values())


def _worst(
    check: str, where: str, one: Gradients, other: Gradients, truth: Truth, bound: str
) -> Row:
    """The worst row over all arrays of two gradients of one kernel."""
    a, b = everything(one), everything(other)
    dtype = next((array.dtype.name for array in a.values()), "float64")
    rows = [
        compared(check, where, a[n], b[n], 2 * truth.errors[n], ROUNDOFF[dtype], bound) for n in a
    ]
    return max(rows, key=lambda row: (not row.ok, row.observed or 0.0))


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


#: What every kernel is asked at an ordinary point.
OF_CONTRACT = (
    check_point, check_ulp, check_step, check_inference, check_bits, check_omitted, check_empty,
)  # fmt: skip
