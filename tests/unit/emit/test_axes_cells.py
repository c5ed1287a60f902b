"""Twelve published cells that need arrays with axes, against formulas by hand in PyTorch."""

from __future__ import annotations

from typing import Any

import axes_cells
import numpy as np
import pytest
import torch
from axes_by_hand import by_hand, point

import derive

LENGTHS = (None, np.array([4, 0, 2]))


def _kernel(text: str, target: str) -> Any:
    return derive.compile(derive.Cell.parse(text), target=target, dtype="float64")


#: Compiled in every run: heads, a matrix for each row, parts, matrices of parameters.
COMPILED = ("mlstm", "tf_lstm", "block_gru", "weight_norm_lstm")
CASES = [
    *((name, "numpy") for name in axes_cells.CELLS),
    *(
        pytest.param(name, "c", marks=[] if name in COMPILED else [pytest.mark.slow])
        for name in axes_cells.CELLS
    ),
]


@pytest.mark.parametrize("lengths", LENGTHS, ids=["whole", "ragged"])
@pytest.mark.parametrize(("name", "target"), CASES)
def test_values_and_gradients_are_those_of_a_formula_by_hand(
    name: str, target: str, lengths: Any
) -> None:
    text, step = axes_cells.CELLS[name]
    kernel = _kernel(text, target)
    params, x, state = point(kernel)
    run = kernel.forward(params, x, state, lengths=lengths)
    outputs, last, leaves = by_hand(step, kernel.signature, params, x, state, lengths)
    random = np.random.default_rng(5)
    d_outputs = {n: random.normal(size=a.shape) for n, a in run.outputs.items()}
    d_states = {n: random.normal(size=a.shape) for n, a in run.states.items()}
    for found, want in ((run.outputs, outputs), (run.states, last)):
        assert found.keys() == want.keys()
        for key, array in found.items():
            np.testing.assert_allclose(array, want[key].detach(), rtol=1e-11, atol=1e-12)

    loss = sum((torch.tensor(d_outputs[n]) * a).sum() for n, a in outputs.items())
    loss = loss + sum((torch.tensor(d_states[n]) * a).sum() for n, a in last.items())
    loss.backward()
    grads = kernel.backward(run, d_outputs, d_states)
    fixed = set(kernel.signature.fixed)
    assert grads.params.keys() == leaves["params"].keys() - fixed
    for group in ("params", "inputs", "states"):
        for key, array in getattr(grads, group).items():
            if key in leaves[group]:
                want = leaves[group][key].grad
                want = torch.zeros_like(leaves[group][key]) if want is None else want
                np.testing.assert_allclose(array, want, rtol=1e-9, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("name", axes_cells.CELLS)
def test_its_text_comes_back(name: str) -> None:
    cell = derive.Cell.parse(axes_cells.CELLS[name][0])
    again = derive.Cell.parse(cell.to_text())
    assert again == cell
    assert again.to_text() == cell.to_text()


@pytest.mark.parametrize("name", ["block_gru", "tf_lstm"])
def test_pytorch_differentiates_through_it(name: str) -> None:
    import derive.torch

    text, step = axes_cells.CELLS[name]
    kernel = _kernel(text, "numpy")
    params, x, state = point(kernel)
    given = [
        {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
        for arrays in (params, x, state)
    ]
    outputs, last = derive.torch.run(derive.Cell.parse(text), *given)
    wanted, after, leaves = by_hand(step, kernel.signature, params, x, state, None)
    sum((a * a).sum() for a in (*outputs.values(), *last.values())).backward()
    sum((a * a).sum() for a in (*wanted.values(), *after.values())).backward()
    for own, group in zip(given, ("params", "inputs", "states"), strict=True):
        for key, tensor in own.items():
            np.testing.assert_allclose(tensor.grad, leaves[group][key].grad, rtol=1e-9, atol=1e-10)
