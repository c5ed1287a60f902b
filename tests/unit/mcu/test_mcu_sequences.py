"""`run` of cells for a device: what a caller may give, against kernels; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import derive
from derive.errors import ArgumentError, DeriveError

#: An input given once, a learned start, a state without one, an output that all rows share.
TEXT = """\
cell several
input x: I, m: H once
state h: H = h0, c: H
param W: H x I, U: H x H, h0: H, b: H
c' = 0.5 * c + 0.1 * h
h' = tanh(W @ x + m * (U @ h) + c)
y = b
output h', y
"""
RANDOM = np.random.default_rng(0)
X, M = RANDOM.uniform(-1, 1, (5, 2, 3)), RANDOM.uniform(-1, 1, (2, 4))


def made(text: str = TEXT, **sizes: int) -> tuple[derive.Cell, dict[str, Any]]:
    cell = derive.Cell.parse(text)
    params = derive.compile(cell, "numpy").init(seed=0, **(sizes or {"I": 3, "H": 4}))
    return cell, {n: a + 0.25 if n in ("h0", "b") else a for n, a in params.items()}


def runs(text: str = TEXT, **sizes: int) -> dict[str, Callable[..., Any]]:
    """{numbers: run over numbers in float}, of both kinds of cells for a device."""
    cell, params = made(text, **sizes)
    narrow = derive.mcu.quantize_weights(cell, params, sizes=sizes or None)
    ranges: dict[str, Any] = dict.fromkeys((*cell.inputs, *cell.states), 2.0)
    fixed = derive.mcu.quantize(cell, params, ranges=ranges, sizes=sizes or None)

    def integers(values: Any) -> Any:
        if not isinstance(values, dict):
            (name, *_) = cell.inputs or cell.states
            return fixed.to_integers({name: values})[name] if np.size(values) else values
        return fixed.to_integers(values)

    def run(inputs: Any, states: Any = None, *more: Any) -> Any:
        begin = None if states is None else integers(states)
        outputs, last = fixed.run(integers(inputs), begin, *more)
        assert all(array.dtype == np.int64 for array in (*outputs.values(), *last.values()))
        return fixed.to_floats(outputs), fixed.to_floats(last)

    return {"float32": narrow.run, "q15": run}


def alike(found: tuple[Any, Any], wanted: Any) -> None:
    outputs, states = found
    assert set(outputs) == set(wanted.outputs) and set(states) == set(wanted.states)
    for got, these in ((outputs, wanted.outputs), (states, wanted.states)):
        for name, array in these.items():
            assert got[name].shape == array.shape, name
            assert np.allclose(got[name], array, atol=2e-2), name


@pytest.mark.parametrize("numbers", ["float32", "q15"])
def test_inputs_and_states_are_those_of_kernels(numbers: str) -> None:
    cell, params = made()
    run, kernel = runs()[numbers], derive.compile(cell, "numpy")
    states = {"h": RANDOM.uniform(-1, 1, (2, 4)), "c": RANDOM.uniform(-1, 1, (2, 4))}
    for given in (states, {}, None, {"c": states["c"]}, {"h": states["h"], "c": None}):
        plain = {n: a for n, a in (given or {}).items() if a is not None}
        alike(run({"m": M, "x": X}, plain), kernel.forward(params, {"x": X, "m": M}, given))
    alike(run({"x": X.tolist(), "m": M.tolist()}), kernel.forward(params, {"x": X, "m": M}))
    every = np.repeat(M[np.newaxis], 5, axis=0)
    alike(run({"x": X, "m": every}), kernel.forward(params, {"x": X, "m": M}))
    alike(run({"x": X[:0], "m": M}), kernel.forward(params, {"x": X[:0], "m": M}))
    before = {name: array.copy() for name, array in states.items()}
    _, last = run({"x": X[:0], "m": M}, states)
    for name in last:  # the caller's arrays are the caller's
        last[name][...] = 9
        assert np.array_equal(states[name], before[name])


@pytest.mark.parametrize("numbers", ["float32", "q15"])
def test_a_bare_array_stands_for_the_only_input(numbers: str) -> None:
    text = "cell one\ninput x: I\nstate h: H\nh' = tanh(W @ x + U @ h)\noutput h'\n"
    cell, params = made(text)
    alike(runs(text)[numbers](X), derive.compile(cell, "numpy").forward(params, X))


@pytest.mark.parametrize("numbers", ["float32", "q15"])
def test_steps_are_said_where_no_input_tells_them(numbers: str) -> None:
    text = "cell none\nstate h: H\nparam U: H x H\nh' = tanh(U @ h) + 0.01\noutput h'\n"
    cell, params = made(text, H=4)
    run, kernel = runs(text, H=4)[numbers], derive.compile(cell, "numpy")
    wanted = kernel.forward(params, np.empty((3, 2, 0)), {"h": M})
    alike(run({}, {"h": M}, 3), wanted)
    alike(run(np.empty((3, 2, 0)), {"h": M}), wanted)
    alike(run({}, None, 3), kernel.forward(params, np.empty((3, 1, 0))))
    with pytest.raises(ArgumentError, match="nothing determines the number of time steps"):
        run({}, {"h": M})
    with pytest.raises(ArgumentError, match="steps = 2, and the inputs have 3"):
        run(np.empty((3, 2, 0)), {"h": M}, 2)


@pytest.mark.parametrize("numbers", ["float32", "q15"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({},), "input x is missing"),
        ((X,), "x must be a mapping from names to arrays"),
        (({"x": X},), "input m is missing"),
        (({"x": X[..., :2], "m": M},), "input x has the wrong shape"),
        (({"x": X[0], "m": M},), "input x"),
        (({"x": X, "m": M[:1]},), "input m has the wrong shape"),
        (({"x": X, "m": M}, {"h": M[:1]}), "state h has the wrong shape"),
        (({"x": X, "m": M}, None, 4), "steps = 4, and the inputs have 5"),
        (({"x": X, "m": M}, None, -1), "steps = -1 is negative"),
        (({"x": X, "m": M}, None, "a"), "steps"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_does_not_fit_is_refused(arguments: tuple[Any, ...], said: str, numbers: str) -> None:
    with pytest.raises(DeriveError, match=said):
        runs()[numbers](*arguments)


def test_a_name_that_is_none_is_told() -> None:
    cell, params = made()
    narrow = derive.mcu.quantize_weights(cell, params)
    fixed = derive.mcu.quantize(cell, params, ranges=dict.fromkeys(("x", "m", "h", "c"), 2.0))
    with pytest.raises(ArgumentError, match="has an entry 'z'"):
        narrow.run({"x": X, "m": M}, {"z": M})
    for convert in (fixed.to_integers, fixed.to_floats):
        with pytest.raises(ArgumentError, match="has no input, state or output 'z'"):
            convert({"z": M})


def test_numbers_that_are_no_integers_of_16_bits_are_refused() -> None:
    cell, params = made()
    fixed = derive.mcu.quantize(cell, params, ranges=dict.fromkeys(("x", "m", "h", "c"), 2.0))
    x = fixed.to_integers({"x": X, "m": M})
    for inputs, states in (
        ({"x": X, "m": x["m"]}, {}),
        ({**x, "m": x["m"] + 40_000}, {}),
        (x, {"h": M}),
    ):
        with pytest.raises(ArgumentError, match="no integer from -32768 to 32767") as told:
            fixed.run(inputs, states)
        assert "quantized.to_integers({" in str(told.value)
