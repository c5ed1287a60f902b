"""The piece of work that contestants do: arrays of every cell of the catalogue fit it."""

from __future__ import annotations

import pytest

import derive
from derive.bench.agree import allowed, worst
from derive.bench.bound import bound
from derive.bench.shapes import Shape, shapes_of
from derive.bench.task import named, task_of
from derive.errors import ArgumentError
from derive.layers import RNN


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


def test_the_reference_of_a_stack_computes_what_layers_do() -> None:
    shape = Shape(5, 3, 7, 4, layers=2, directions=2)
    task = task_of(derive.cells.janet(), shape, 1)
    exact, limits = allowed(task)
    rnn = RNN(task.cell, 2, True, target="numpy", dtype="float64", I=7, H=4)
    rnn.set_params(task.params)
    (x,), (d_output,) = task.inputs.values(), task.d_outputs.values()
    run = rnn.forward(x, task.states)
    grads = rnn.backward(run, d_output)
    found = named(output={"h_next": run.output}, d_param=grads.params)
    found |= named(d_input=grads.inputs, d_state=grads.states)
    assert set(found) == set(exact)
    assert worst(found, exact, {name: 1e-6 * limit for name, limit in limits.items()})[0] <= 1
    need = bound(task).operations("infer")
    assert need == 2 * 15 * 2 * (2 * 4 * (7 + 4) + 2 * 4 * (8 + 4))


def test_a_shape_says_layers_and_directions() -> None:
    (shape,) = shapes_of(["100,1,8,16,layers=4,directions=2"], False)
    assert (shape.layers, shape.directions, shape.named) == (4, 2, ())
    assert str(shape) == "100,1,8,16,layers=4,directions=2"
    assert all(shape.is_stack for shape in shapes_of((), False, stacks=True))
    with pytest.raises(ArgumentError, match="1 or 2 directions"):
        shapes_of(["100,1,8,16,directions=3"], False)
