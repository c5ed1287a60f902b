"""Cells from cells: every odd cell can be rewritten, and does the same where nothing is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strange_cells import CELLS

import derive
from derive.layers import compose

SIZES = {"I": 3, "H": 4, "P": 2, "T": 3, "B": 4, "np": 2}
STEPS, ROWS = 3, 2
NAMES = [name for name, text in CELLS.items() if derive.Cell.parse(text).states]


def shape(dims: Any) -> tuple[int, ...]:
    return tuple(SIZES.get(dim, 3) if isinstance(dim, str) else dim for dim in dims)


def run(cell: derive.Cell, extra: dict[str, float], rename: Any = None) -> Any:
    """Outputs and states on inputs that depend on the names of the arrays alone."""

    def drawn(name: str, dims: tuple[int, ...]) -> Any:
        if name in extra:
            return np.full(dims, extra[name])
        old = (rename or {}).get(name, name)
        return np.random.default_rng(sum(map(ord, old))).uniform(0.2, 0.9, dims)

    kernel = derive.compile(cell, "numpy", "float64")
    params = {name: drawn(name, shape(dims)) for name, dims in cell.params.items()}
    x: Any = {n: drawn(n, (STEPS, ROWS, *shape(d))) for n, d in cell.inputs.items()}
    state = {n: drawn(n, (ROWS, *shape(d))) for n, d in cell.states.items()}
    return kernel.forward(params, x if x else np.zeros((STEPS, ROWS, 0)), state)


def same(a: Any, b: Any) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_rewritten_cell_with_nothing_to_do_is_the_cell_it_was(name: str) -> None:
    cell = derive.Cell.parse(CELLS[name])
    whole = run(cell, {})
    nexts = [f"{state}_next" for state in cell.states]
    versions = {
        "masked": (compose.masked(cell, [*cell.inputs, *nexts], outputs=cell.outputs), 1.0),
        "restarted": (compose.restarted(cell), 0.0),
        "held": (compose.held(cell), 1.0),
        "running_on": (compose.running_on(cell), 1.0),
    }
    for version, (found, neutral) in versions.items():
        extra = {n: neutral for n in found.added.values() if n in found.cell.inputs}
        again = run(found.cell, extra)
        for key, output in whole.outputs.items():
            assert same(again.outputs[found.outputs[key]], output), version
        for state, last in whole.states.items():
            assert same(again.states[found.added.get(f"end {state}", state)], last), version


@pytest.mark.parametrize("name", NAMES)
def test_a_rewritten_cell_is_still_the_same_text(name: str) -> None:
    cell = derive.Cell.parse(CELLS[name])
    for found in (compose.restarted(cell), compose.held(cell), compose.running_on(cell)):
        assert derive.Cell.parse(found.cell.to_text()) == found.cell


def links() -> dict[str, str]:
    """{cell: an input as wide as the first output}, for the cells that have one."""
    found = {}
    for name in NAMES:
        cell = derive.Cell.parse(CELLS[name])
        width = next(iter(cell.outputs.values()), None)
        for x, own in cell.inputs.items():
            if own == width:
                found[name] = x
    return found


@pytest.mark.parametrize(("name", "x"), links().items())
def test_two_of_a_cell_in_one_do_not_meet(name: str, x: str) -> None:
    cell = derive.Cell.parse(CELLS[name])
    key = next(iter(cell.outputs))
    both, arrays, _ = compose.stacked([cell, cell], [(x, key)], "both")
    assert len(both.cell.states) == 2 * len(cell.states)
    assert len(both.cell.params) == 2 * len(cell.params)
    assert x not in both.cell.inputs and not set(arrays[0].values()) & set(arrays[1].values())


def test_a_mask_acts_on_a_definition_for_all_that_read_it() -> None:
    text = "cell c\ninput x: H\nstate h: H\ng = tanh(x)\nh' = g + h\nz = 2 * g\noutput h', z"
    found = compose.masked(derive.Cell.parse(text), ["g"])
    run_ = run(found.cell, {found.added["g"]: 0.0})
    assert (run_.outputs["z"] == 0).all()
    assert found.added == {"g": "mask_g"}


def test_the_next_value_of_a_state_may_be_narrow() -> None:
    text = (
        "cell c\ninput x: I\nstate s: H, r: H\nparam a: 1\ns' = a * 2\nr' = U @ s' + W @ x + r\n"
        "output s', r'"
    )
    cell = derive.Cell.parse(text)
    whole, again = run(cell, {}), run(compose.held(cell).cell, {"alive": 1.0})
    assert all(np.abs(again.states[n] - a).max() < 1e-14 for n, a in whole.states.items())


def test_new_names_give_way() -> None:
    text = (
        "cell c\ninput reset: 1, alive: H\nstate h: H\nh_start = alive * reset\n"
        "h' = tanh(h_start + h)\noutput h'"
    )
    cell = derive.Cell.parse(text)
    assert compose.restarted(cell).added == {"reset": "reset_2"}
    assert compose.held(cell).added["alive"] == "alive_2"


def test_a_parameter_can_be_taken_out() -> None:
    cell = compose.without(derive.cells.gru(), ["b_hr", "b_hz"])
    assert "b_hr" not in cell.params and "0 +" not in cell.to_text()
    kernel = derive.compile(cell, "numpy", "float64")
    full = derive.compile(derive.cells.gru(), "numpy", "float64")
    params = kernel.init(I=3, H=4)
    zeros = {"b_hr": np.zeros(4), "b_hz": np.zeros(4)}
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    difference = kernel.forward(params, x).output - full.forward({**params, **zeros}, x).output
    assert np.abs(difference).max() < 1e-15


def test_another_epsilon_is_another_epsilon() -> None:
    cell = derive.cells.lstm(layer_norm="supercell")
    kernels = [
        derive.compile(c, "numpy", "float64")
        for c in (cell, compose.with_epsilon(cell, 1e-5), compose.with_epsilon(cell, 1e-1))
    ]
    params = kernels[0].init(I=3, H=4)
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    one, same_one, other = (k.forward(params, x).output for k in kernels)
    assert np.abs(one - same_one).max() < 1e-14 < 1e-3 < np.abs(one - other).max()


def test_an_input_of_another_fixed_width_cannot_be_added() -> None:
    cell = derive.Cell.parse("cell c\ninput x: 2\nstate h: H\nh' = W @ x + h\noutput h'")
    with pytest.raises(ValueError, match="cannot be added to its output"):
        compose.shortened(cell, "x", "h_next")
