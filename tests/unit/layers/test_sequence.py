"""derive.layers.sequence: kernels, targets and what is refused. Values are in
test_rnn_cell_sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import derive
from derive.errors import BuildError
from derive.layers import sequence
from derive.layers.sequence import kernel_for, run_sequence, using

CELL = derive.cells.gru()


def test_without_a_compiler_numpy_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_cell(cell: Any, target: str, dtype: str, threads: int = 1) -> Any:
        if target == "c":
            raise BuildError("no compiler")
        return derive.compile(cell, target, dtype)

    monkeypatch.setattr(sequence, "compile_cell", compile_cell)
    sequence.kernel_of.cache_clear()
    try:
        assert kernel_for(CELL, "float64").target == "numpy"
        with pytest.raises(BuildError), using("c"):
            kernel_for(CELL, "float64")
    finally:
        sequence.kernel_of.cache_clear()


def test_a_target_is_chosen_inside_the_with_alone() -> None:
    with using("numpy"):
        assert kernel_for(CELL, "float64").target == "numpy"
        with using("numpy", threads=1):
            assert kernel_for(CELL, "float64").target == "numpy"
    assert sequence._TARGET.get() == (None, 1)


def test_several_outputs_and_inputs_go_through_row_ends() -> None:
    cell = derive.Cell.parse(
        "cell c\ninput x: I, y: I\nstate h: H\nh' = tanh(W @ x + V @ y + h)\nz = 2 * h'\n"
        "output h', z, x"
    )
    random = np.random.default_rng(0)
    x = {n: random.normal(size=(4, 2, 3)) for n in "xy"}
    with using("numpy"):
        params = kernel_for(cell, "float64").init(I=3, H=5)
        for past_end in sequence.PAST_END:
            run = run_sequence(cell, params, x, dtype="float64", lengths=[4, 1], past_end=past_end)
            assert list(run.outputs) == ["h_next", "z", "x"]
            assert np.array_equal(run.outputs["z"][0], 2 * run.outputs["h_next"][0])
            last = run.outputs["x"][:, 1]
            wanted = {"zero": np.zeros(3), "last": x["x"][0, 1], "computed": x["x"][2, 1]}
            assert np.array_equal(last[2], wanted[past_end])
            grads = run.backward({"x": np.ones((4, 2, 3))})
            counts = {"zero": 1.0, "last": 4.0, "computed": 1.0}
            assert (grads.inputs["x"][0, 1] == counts[past_end]).all()
            assert list(grads.inputs) == ["x", "y"]


def test_an_input_without_steps_and_rows_is_refused() -> None:
    with using("numpy"), pytest.raises(ValueError, match="input x has the wrong shape"):
        params = kernel_for(CELL, "float64").init(I=3, H=4)
        run_sequence(CELL, params, {"x": np.zeros(3)}, dtype="float64", lengths=[1])


def test_resets_are_read_as_booleans_or_refused() -> None:
    with using("numpy"):
        params = kernel_for(CELL, "float64").init(I=3, H=4)
        x = {"x": np.ones((2, 2, 3))}

        def output(resets: Any) -> Any:
            return run_sequence(CELL, params, x, dtype="float64", resets=resets).outputs["h_next"]

        assert np.array_equal(output([[0, 0], [1, 0]]), output([[False, False], [True, False]]))
        for wrong in ([[2, 0], [0, 0]], [[0.0, 0.0], [0.0, 0.0]]):
            with pytest.raises(TypeError, match="resets must hold booleans"):
                output(wrong)
        with pytest.raises(ValueError, match="cannot be read"):
            output([[0, 0], [0]])
