"""derive.flow of cells whose arrays have axes."""

from __future__ import annotations

import axes_cells
import numpy as np
import pytest

import derive

SIZES = {"I": 5, "H": 6, "N": 2, "D": 3, "K": 4, "M": 7, "R": 2}


def cell_of(name: str) -> derive.Cell:
    return derive.Cell.parse(axes_cells.CELLS[name][0])


@pytest.mark.parametrize("name", ["mlstm", "weight_norm_lstm", "block_gru", "lmu", "on_lstm"])
def test_norms_are_those_of_differences_of_a_kernel(name: str) -> None:
    cell = cell_of(name)
    params, x = derive.flow.draw(cell, SIZES, 3, seed=1)
    kernel = derive.compile(cell, "numpy", "float64")
    once = cell.checked.once
    rows = {n: v[np.newaxis] if n in once else v[:, np.newaxis] for n, v in x.items()}
    first = kernel.forward(params, {n: v if n in once else v[:1] for n, v in rows.items()}).states
    second = {n: v if n in once else v[1:] for n, v in rows.items()}
    units = [(n, at) for n, a in first.items() for at in np.ndindex(a.shape[1:])]
    columns = []
    for state, at in units:
        ends = []
        for sign in (1, -1):
            moved = {n: a.copy() for n, a in first.items()}
            moved[state][(0, *at)] += sign * 1e-6
            last = kernel.forward(params, second, moved).states
            ends.append(np.concatenate([a.ravel() for a in last.values()]))
        columns.append((ends[0] - ends[1]) / 2e-6)
    matrix = np.stack(columns, axis=1)
    state = {n: a[0] for n, a in first.items()}
    later = {n: v if n in once else v[1:] for n, v in x.items()}
    flow = derive.flow.measure(cell, params, later, state)
    assert flow.product[1] == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-6)
    assert {key.partition("_D_")[0] for key in flow.blocks} == set(cell.states)
    from_start = derive.flow.measure(cell, params, x)
    assert from_start.step[1] == pytest.approx(flow.step[0], rel=1e-9)


BLOCKS = {
    "block_gru": {"h_D_h": "block diagonal"},
    "mamba": {"h_D_h": "diagonal"},
    "mlstm": {"C_D_C": "diagonal", "C_D_n": "zero", "C_D_m": "dense", "m_D_m": "diagonal"},
    "gated_delta": {"S_D_S": "dense"},
    "slstm": {"c_D_c": "diagonal", "h_D_h": "block diagonal", "c_D_n": "zero"},
    "lmu": {"m_D_h": "low rank", "m_D_m": "dense"},
    "tf_lstm": {"c_D_c": "diagonal", "h_D_h": "dense"},
}


@pytest.mark.parametrize("name", BLOCKS)
def test_kinds_of_blocks_follow_the_axes(name: str) -> None:
    found = {block.name: block.kind for block in derive.flow.jacobian(cell_of(name))}
    assert {key: found[key] for key in BLOCKS[name]} == BLOCKS[name]


def test_terms_say_what_moves() -> None:
    (block,) = derive.flow.jacobian(cell_of("gated_delta"))
    assert block.text() == "S_D_S = diag(a) + outer(·, k) @ diag(-b) @ (· @ k) @ diag(a)"
    blocks = {block.name: block for block in derive.flow.jacobian(cell_of("block_gru"))}
    assert "diag(z * (1 - z) * (h - n)) @ U_z" in blocks["h_D_h"].terms
    turned = derive.Cell.parse(
        "cell t\ninput x: N\nstate h: N x D, s: 1\nh' = tanh(h.T).T + s * x\n"
        "s' = s + max(max(h))\noutput h'\nparam W: D x N\nw = W * h.T".replace("\nw = W * h.T", "")
    )
    terms = {block.name: block.terms for block in derive.flow.jacobian(turned)}
    assert terms["h_D_s"] == ("diag(x) @ along(D, N)",) or "along" in terms["h_D_s"][0]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"x": np.ones((3, 5)), "m": np.ones((3, 7))}, r"input m of one sequence has shape \[M\]"),
        ({"x": np.ones(5), "m": np.ones(7)}, r"input x of one sequence has shape \[T, I\]"),
    ],
)
def test_arrays_of_another_rank_are_refused(x: dict[str, np.ndarray], message: str) -> None:
    cell = cell_of("block_gru")
    params, _ = derive.flow.draw(cell, SIZES, 3)
    with pytest.raises(derive.DeriveError, match=message):
        derive.flow.measure(cell, params, x)
