"""The promises of the array contract that need no reference: bits, strides, what is left out.

In: a kernel as a Subject, and a Truth.  Out: rows.
Not here: whether the numbers are right (kernels.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.kernel import Gradients, Run
from derive.verification.kernels import Subject, everything
from derive.verification.points import zeros_like
from derive.verification.reference import Point
from derive.verification.report import Row, compared, measured
from derive.verification.truth import ROUNDOFF, Truth

EXACT = "0: the contract promises the same bits"


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
        given = subject.forward(replace(point, states=zeros_like(point.states)))
        inputs: Any = np.zeros((point.steps, point.rows, 0))
        if step.inputs:
            inputs = subject.cast(point.inputs)
        args = (None, point.lengths, point.reverse)
        bare = subject.kernel.forward(subject.cast(point.params), inputs, *args)
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


def _pairs(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return [(one[name], other[name]) for name in one]


def _widths_known(subject: Subject) -> bool:
    signature = subject.kernel.signature
    return set(signature.optional_states()) == set(signature.states)


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
