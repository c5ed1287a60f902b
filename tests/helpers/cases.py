"""Calls of a kernel with their right answers, for tests of every target.

In: a cell.  Out: a `Case`, and `check_agreement` of a kernel with the plain interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import reference

from derive.cell import Cell
from derive.kernel import Kernel

SIZES = {"I": 3, "H": 4, "P": 2, "T": 3, "B": 4, "np": 2}
STEPS, ROWS = 5, 3
LENGTHS = np.array([3, 0, 5])

# Products and sums of fewer than 20 terms of order 1, 5 steps: some hundred roundings.
BOUND = {"float64": 200 * 2.0**-53, "float32": 200 * 2.0**-24}


@dataclass
class Case:
    """One call and its answer by `reference`. Padding is NaN in `inputs` and `d_outputs`."""

    cell: Cell
    params: dict[str, Any]
    inputs: dict[str, Any]
    states: dict[str, Any]
    d_outputs: dict[str, Any]
    d_states: dict[str, Any]
    clean: tuple[dict[str, Any], dict[str, Any]]
    how: dict[str, Any]


def make(
    cell: Cell,
    lengths: Any,
    reverse: bool,
    seed: int = 0,
    sizes: Mapping[str, int] = SIZES,
    spread: float = 1.0,
) -> Case:
    random = np.random.default_rng(seed)

    def draw(shape: tuple[Any, ...], *before: int) -> Any:
        axes = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in shape)
        # Rounded to float32, so that both dtypes are given the same numbers.
        single = random.uniform(-spread, spread, (*before, *axes)).astype(np.float32)
        return single.astype(np.float64)

    inputs = {name: draw(shape, STEPS, ROWS) for name, shape in cell.inputs.items()}
    d_outputs = {name: draw(shape, STEPS, ROWS) for name, shape in cell.outputs.items()}
    return Case(
        cell=cell,
        params={name: draw(shape) for name, shape in cell.params.items()},
        inputs=padded(inputs, lengths),
        states={name: draw(shape, ROWS) for name, shape in cell.states.items()},
        d_outputs=padded(d_outputs, lengths),
        d_states={name: draw(shape, ROWS) for name, shape in cell.states.items()},
        clean=(inputs, d_outputs),
        how={"steps": STEPS, "rows": ROWS, "lengths": lengths, "reverse": reverse},
    )


def padded(arrays: dict[str, Any], lengths: Any) -> dict[str, Any]:
    """Copies, with NaN past the end of each row."""
    copies = {name: array.copy() for name, array in arrays.items()}
    for row, length in enumerate([] if lengths is None else lengths):
        for array in copies.values():
            array[length:, row] = np.nan
    return copies


def by_array(case: Case, d_outputs: dict[str, Any]) -> dict[str, Any]:
    names = zip(case.cell.output_keys, case.cell.step.outputs, strict=True)
    return {name: d_outputs[key] for key, name in names}


def forward(kernel: Kernel, case: Case, **options: Any) -> Any:
    x = case.inputs or np.zeros((STEPS, ROWS, 0))
    lengths, reverse = case.how["lengths"], case.how["reverse"]
    return kernel.forward(case.params, x, case.states, lengths, reverse=reverse, **options)


def worst(found: dict[str, Any], wanted: dict[str, Any]) -> float:
    """The largest error of any array, relative to the array's largest element or 1."""
    assert set(found) <= set(wanted)
    errors = [0.0]
    for name, array in found.items():
        assert array.shape == wanted[name].shape
        scale = max(1.0, float(np.max(np.abs(wanted[name]), initial=0)))
        errors.append(float(np.max(np.abs(array - wanted[name]), initial=0)) / scale)
        assert not np.isnan(errors[-1])
    return max(errors)


def check_agreement(kernel: Kernel, case: Case, slack: float = 1.0) -> None:
    """Outputs, last states and every gradient against `reference`, in the kernel's dtype.

    slack: how many times longer than in the standard sizes the longest sum is.
    """
    inputs, d_outputs = case.clean
    wanted = reference.run(case.cell.step, case.params, inputs, case.states, **case.how)
    slopes = reference.gradients(
        case.cell.step, case.params, inputs, case.states,
        by_array(case, d_outputs), case.d_states, **case.how,
    )  # fmt: skip
    run = forward(kernel, case)
    grads = kernel.backward(run, case.d_outputs, case.d_states)
    keys = dict(zip(case.cell.output_keys, case.cell.step.outputs, strict=True))
    outputs = {key: wanted.outputs[name] for key, name in keys.items()}
    bound = slack * BOUND[kernel.dtype.name]
    assert worst(run.outputs, outputs) < bound
    assert worst(run.states, wanted.states) < bound
    assert worst({**grads.params, **grads.inputs, **grads.states}, slopes) < bound
    arrays = [*run.outputs.values(), *run.states.values(), *grads.params.values()]
    assert {array.dtype for array in arrays} <= {kernel.dtype}
