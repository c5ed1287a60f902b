"""Packed parameters and streams: the same numbers as the calls they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from derive import cells, pipeline
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel import Kernel


@pytest.fixture(scope="module", params=["numpy", "c"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return pipeline.compile(cells.from_spec("lstm"), request.param, "float32")


def test_packed_parameters_give_the_same_bits(kernel: Kernel) -> None:
    params = kernel.init(I=5, H=20)
    packed = kernel.pack(params)
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    plain, quick = kernel.forward(params, x), kernel.forward(packed, x)
    assert np.array_equal(plain.output, quick.output)
    slow, fast = (kernel.backward(run, plain.output) for run in (plain, quick))
    assert all(np.array_equal(slow.params[name], fast.params[name]) for name in params)
    assert np.array_equal(slow.inputs["x"], fast.inputs["x"])


def test_packing_copies(kernel: Kernel) -> None:
    params = kernel.init(I=5, H=20)
    packed = kernel.pack(params)
    x = np.ones((2, 1, 5), np.float32)
    before = kernel.forward(packed, x).output
    for array in params.values():
        array[...] = 7
    assert np.array_equal(kernel.forward(packed, x).output, before)


def test_parameters_packed_by_another_kernel_are_refused(kernel: Kernel) -> None:
    other = pipeline.compile(cells.from_spec("lstm"), "numpy", "float64")
    with pytest.raises(ArgumentError, match="packed by another kernel"):
        kernel.forward(other.pack(other.init(I=5, H=4)), np.ones((1, 1, 5)))


def test_packed_parameters_still_check_the_input(kernel: Kernel) -> None:
    packed = kernel.pack(kernel.init(I=5, H=4))
    with pytest.raises(ArgumentError, match="wrong shape"):
        kernel.forward(packed, np.ones((2, 1, 6)))


def test_a_stream_is_the_sequence_step_by_step(kernel: Kernel) -> None:
    params = kernel.init(I=5, H=20)
    x = np.random.default_rng(1).standard_normal((6, 2, 5)).astype(np.float32)
    run = kernel.forward(params, x)
    stream = kernel.stream(params, rows=2)
    found = [stream(x_t) for x_t in x]
    bound = 8 * 20 * 2.0**-24
    assert np.max(np.abs(np.stack(found) - run.output)) < bound  # type: ignore[arg-type]
    assert np.max(np.abs(stream.state["c"] - run.states["c"])) < bound
    stream.reset()
    assert np.array_equal(stream(x[0]), found[0])
    assert not np.shares_memory(stream(x[1]), stream(x[1]))  # type: ignore[arg-type]


def test_a_stream_starts_from_a_given_state(kernel: Kernel) -> None:
    params = kernel.init(I=5, H=4)
    state = {"h": np.full((1, 4), 0.5), "c": np.full((1, 4), -0.5)}
    x = np.ones((1, 5), np.float32)
    output, after = kernel.step(params, x, state)
    stream = kernel.stream(params, state=state)
    assert np.allclose(stream(x), output, rtol=0, atol=1e-6)  # type: ignore[arg-type]
    assert np.allclose(stream.state["c"], after["c"], rtol=0, atol=1e-6)


def test_wrong_input_leaves_a_stream_as_it_was(kernel: Kernel) -> None:
    stream = kernel.stream(kernel.init(I=5, H=4))
    first = stream(np.ones((1, 5)))
    state = stream.state
    for wrong in (np.ones((1, 6)), np.ones(5), {"y": np.ones((1, 5))}, np.array([["a"] * 5])):
        with pytest.raises((ArgumentError, ArgumentTypeError)):
            stream(wrong)
    assert np.array_equal(stream.state["h"], state["h"])
    assert first.shape == (1, 4)  # type: ignore[union-attr]


def test_a_stream_of_several_inputs_and_outputs() -> None:
    cell = Cell.parse(
        "cell two\ninput x: I, u: 2\nstate h: H\nh' = tanh(W @ x + V @ u + U @ h)\n"
        "y = h' * 2\noutput h', y"
    )
    for target in ("numpy", "c"):
        kernel = pipeline.compile(cell, target, "float64")
        params = kernel.init(I=3, H=4)
        stream = kernel.stream(params)
        given = {"x": np.ones((1, 3)), "u": np.ones((1, 2))}
        output = stream(given)
        assert set(output) == {"h_next", "y"}
        assert np.array_equal(output["y"], 2 * output["h_next"])  # type: ignore[call-overload, index]


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_a_stream_that_is_reset_starts_from_what_the_cell_has_learned(target: str) -> None:
    kernel = pipeline.compile(
        Cell.parse(
            "cell c\ninput x: I\nstate h: H = h0, c: H\nparam h0: H\n"
            "h' = tanh(W @ x + h + c)\nc' = c + h'\noutput h'\n"
        ),
        target,
        "float32",
    )
    params = kernel.init(I=2, H=3)
    x = np.ones((4, 2, 2), np.float32)
    for given in (None, {"h": np.ones((2, 3))}, {"c": np.ones((2, 3))}):
        stream = kernel.stream(params, rows=2, state={"h": np.zeros((2, 3))})
        stream(x[0])
        stream.reset(given)
        found = np.stack([stream(x_t) for x_t in x])
        np.testing.assert_allclose(found, kernel.forward(params, x, given).output, rtol=1e-6)
