"""Truth: what every result at one point must be, and how far rounding may take it.

In: a point.  Out: outputs, last states and slopes from reference.py, each with its running
error bound; `judge` compares anything that claims to be a forward pass or a gradient.
Not here: who makes the claim (gradient.py: the derived Program; kernels.py: a kernel).

At a small point the gradient is a complex step for each element. At a large one that would take
minutes: there the derived Program gives the elements, after it has been checked against complex
steps along random directions at this very point. One wrong element changes such a slope almost
surely, by far more than the 1e-11 or so that rounding may, so what passes is the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.verification.points import Found, Random
from derive.verification.reference import Arrays, Point, Result, gradient, run, slope
from derive.verification.report import Row, compared
from derive.verification.rounding import BOUNDED
from derive.verification.through_time import Backward, backpropagate

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}

OF_FORWARD = "4 u * running error bound of the forward pass"
OF_GRADIENT = "4 u * running error bound of the backward pass; the complex step itself is exact"


@dataclass(frozen=True, slots=True)
class Probe:
    """The slope of the loss along one direction: {name: array}."""

    label: str
    direction: Arrays
    slope: float


@dataclass(frozen=True, slots=True)
class Truth:
    """`elements`: the gradient, {name: array}; `probes`: slopes that it must reproduce.

    Where `probes` is empty every element is a complex step of its own.
    """

    point: Point
    found: Found
    plain: Result
    errors: Arrays
    elements: Arrays
    probes: tuple[Probe, ...]


def establish(
    found: Found, backward: Backward, seed: tuple[int, ...], *, how: str = "elements"
) -> Truth:
    """how: "elements"; "arrays", one probe for each array; "groups", one for each kind; "none".

    In all but the first `elements` is the derived Program's own gradient, and worth nothing before
    `judge_slopes` has compared it with the probes.
    """
    step, point = backward.gradient.step, found.point
    with np.errstate(all="ignore"):
        bounded = backpropagate(backward, point, found.bounded, BOUNDED)
        errors = {name: array.error for name, array in bounded.items()}
        plain = run(step, point)
        given = point.given()
        if how == "elements":
            elements = {name: gradient(step, point, name) for name in given}
            return Truth(point, found, plain, errors, elements, ())
        groups: Mapping[str, tuple[str, ...]] = {name: (name,) for name in given}
        if how == "none":
            groups = {}
        if how == "groups":
            groups = {"parameters": step.params, "inputs": step.inputs, "states": step.states}
        random, probes = Random(*seed), []
        for label, names in groups.items():
            if names:
                along = {name: random.uniform(np.shape(given[name])) for name in names}
                probes.append(Probe(label, along, float(slope(step, point, along).sum())))
        elements = backpropagate(backward, point, plain)
        return Truth(point, found, plain, errors, elements, tuple(probes))


def judge_slopes(truth: Truth, check: str, where: str, got: Mapping[str, Any]) -> list[Row]:
    """One row for each probe: does `got`, in float64, have these slopes?"""
    rows = []
    for probe in truth.probes:
        along, error = 0.0, 0.0
        for name, direction in probe.direction.items():
            array = np.asarray(got[name])
            if array.shape != direction.shape:
                array = np.full(direction.shape, np.nan)
            along += float(np.sum(direction * array))
            # The sum over the direction is taken here, and rounds as well.
            error += float(np.sum(abs(direction) * (truth.errors[name] + abs(array))))
        label = f"{where}: {probe.label}"
        unit = ROUNDOFF["float64"]
        rows.append(compared(check, label, along, probe.slope, error, unit, OF_GRADIENT))
    return rows


def judge_gradient(
    truth: Truth, check: str, where: str, got: Mapping[str, Any], dtype: str = "float64"
) -> list[Row]:
    """One row for each array: is `got` the gradient, element by element?"""
    return [
        compared(
            check, f"{where}: {name}", got[name], wanted, truth.errors[name],
            ROUNDOFF[dtype], OF_GRADIENT,
        )
        for name, wanted in truth.elements.items()
    ]  # fmt: skip


def judge_forward(
    truth: Truth,
    check: str,
    where: str,
    outputs: Mapping[str, Any],
    states: Mapping[str, Any],
    dtype: str = "float64",
) -> list[Row]:
    """One row for each output array and last state."""
    unit, found, plain = ROUNDOFF[dtype], truth.found, truth.plain
    rows = []
    for got, wanted, bounded in (
        (outputs, plain.outputs, found.bounded.outputs),
        (states, plain.states, found.bounded.states),
    ):
        for name in wanted:
            label = f"{where}: {name}"
            error = bounded[name].error
            rows.append(compared(check, label, got[name], wanted[name], error, unit, OF_FORWARD))
    return rows
