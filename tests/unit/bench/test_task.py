"""The piece of work that contestants do: arrays of every cell of the catalogue fit it."""

from __future__ import annotations

import pytest

import derive
from derive.bench.shapes import Shape
from derive.bench.task import task_of


@pytest.mark.parametrize(
    ("spec", "name", "shape"),
    [
        ("lstm_joined", "K", (20, 12)),  # 4*H x I + H
        ("variational_lstm", "m_x", (2, 7)),  # given once
        ("weight_norm_lstm", "g", (20,)),
    ],
)
def test_widths_that_are_sums_and_inputs_that_are_given_once_fit(
    spec: str, name: str, shape: tuple[int, ...]
) -> None:
    cell = derive.cells.from_spec(spec)
    task = task_of(cell, Shape(3, 2, 7, 5), 1)
    assert {**task.params, **task.inputs}[name].shape == shape
    kernel = derive.compile(cell, target="numpy")
    run = kernel.forward(task.params, task.inputs, task.states)
    assert run.output.shape[:2] == (3, 2)
