"""derive.layers.RNN of cells with axes, learned starts, inputs given once and fixed arrays."""

from __future__ import annotations

from typing import Any

import axes_cells
import numpy as np
import pytest
import torch
from numpy_engine import numpy_engine

import derive
import derive.torch as dt
from derive.layers import RNN
from derive.layers.compose import masked, shortened, stacked
from derive.layers.sequence import run_sequence
from derive.layers.sizes import dims_of

SIZES = {"I": 5, "H": 6, "N": 2, "D": 3, "M": 7, "K": 4}
LENGTHS = [4, 0, 2]


def cell_of(name: str) -> derive.Cell:
    return derive.Cell.parse(axes_cells.CELLS[name][0])


def make(name: str, **options: Any) -> RNN:
    cell = cell_of(name)
    sizes = {dim: SIZES[dim] for dim in dims_of([*cell.params.values(), *cell.states.values()])}
    return RNN(cell, dtype="float64", target="numpy", seed=1, **options, **sizes)


def torch_of(rnn: RNN, hidden: Any, **options: Any) -> dt.RNN:
    """The module of derive.torch with the same parameters."""
    fixed = {name: rnn.params[f"{name}_l0"] for name in rnn.cell.checked.fixed}
    sizes = {n: v for n, v in SIZES.items() if n in "MK" and n in rnn._sizes[0]}
    module = dt.RNN(rnn.cell, 5, hidden, dtype=torch.float64, fixed=fixed, **options, **sizes)
    with torch.no_grad():
        for name, array in rnn.params.items():
            getattr(module, name).copy_(torch.from_numpy(array))
    return module


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "block_gru": ((2, 3), {}, {"bidirectional": True}),
    "tf_lstm": (6, {}, {"num_layers": 2, "bidirectional": True}),
    "lmu": (6, {"A": np.eye(7) / 2, "B": np.ones(7)}, {"num_layers": 2}),
    "slstm": ((2, 3), {}, {}),
}


@pytest.fixture
def numpy_only(monkeypatch: pytest.MonkeyPatch) -> Any:
    with numpy_engine(monkeypatch):
        yield


@pytest.mark.usefixtures("numpy_only")
@pytest.mark.parametrize("past_end", ["zero", "last", "computed"])
@pytest.mark.parametrize("name", CASES)
def test_layers_and_directions_are_those_of_the_torch_module(name: str, past_end: str) -> None:
    hidden, fixed, options = CASES[name]
    rnn = make(name, past_end=past_end, fixed=fixed or None, **options)
    module = torch_of(rnn, hidden, past_end=past_end, **options)
    random = np.random.default_rng(0)
    x = random.normal(size=(4, 3, 5))
    once = {"m": random.normal(size=(3, 7))} if name == "block_gru" else None
    resets = np.zeros((4, 3), bool)
    resets[2, 0] = True
    run = rnn.forward(x, lengths=LENGTHS, resets=resets, once=once)
    given = torch.tensor(x, requires_grad=True)
    m = {n: torch.tensor(a, requires_grad=True) for n, a in (once or {}).items()}
    y, state = module(
        given, lengths=LENGTHS, resets=torch.tensor(resets), **({"once": m} if m else {})
    )
    np.testing.assert_allclose(run.output, y.detach(), rtol=1e-12, atol=1e-13)
    states = (state,) if isinstance(state, torch.Tensor) else state
    for array, tensor in zip(run.states.values(), states, strict=True):
        np.testing.assert_allclose(array, tensor.detach(), rtol=1e-12, atol=1e-13)
    d = random.normal(size=run.output.shape)
    d_states = {n: random.normal(size=a.shape) for n, a in run.states.items()}
    grads = rnn.backward(run, d, d_states)
    loss = (y * torch.tensor(d)).sum()
    loss = loss + sum((s * torch.tensor(t)).sum() for s, t in zip(states, d_states.values(),
                                                                   strict=True))  # fmt: skip
    loss.backward()
    for key, array in grads.params.items():
        np.testing.assert_allclose(array, getattr(module, key).grad, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(grads.inputs["x"], given.grad, rtol=1e-9, atol=1e-10)
    for key, tensor in m.items():
        np.testing.assert_allclose(grads.inputs[key], tensor.grad, rtol=1e-9, atol=1e-10)


def test_steps_go_on_from_a_learned_start() -> None:
    rnn = make("block_gru")
    random = np.random.default_rng(0)
    x, m = random.normal(size=(3, 2, 5)), random.normal(size=(2, 7))
    whole = rnn.forward(x, once={"m": m}).output
    parts = np.stack([rnn.step(x_t, once={"m": m}) for x_t in x])
    np.testing.assert_allclose(parts, whole, rtol=1e-13)
    rnn.params["h0_l0"][...] += 1
    rnn.reset_state()
    afresh = rnn.step(x[0], once={"m": m})
    assert not np.allclose(afresh, whole[0])
    rnn.step(x[1], once={"m": m})
    rnn.reset_state([1])
    np.testing.assert_allclose(rnn.step(x[0], once={"m": m})[1], afresh[1], rtol=1e-13)


def test_parameters_and_fixed_arrays_are_saved_together(tmp_path: Any) -> None:
    fixed = {"A": np.eye(7), "B": np.ones(7)}
    rnn, other = make("lmu", fixed=fixed), make("lmu", fixed={n: 0 * a for n, a in fixed.items()})
    rnn.save(tmp_path / "a.npz")
    other.load(tmp_path / "a.npz")
    assert np.array_equal(other.params["A_l0"], np.eye(7))


def test_dropout_between_layers_of_joined_gates() -> None:
    rnn = make("tf_lstm", num_layers=2, dropout=1.0)
    run = rnn.forward(np.ones((2, 3, 5)))
    grads = rnn.backward(run, np.ones_like(run.output))
    assert not grads.params["K_l0"].any()
    assert grads.params["b_l1"].any()


def test_cells_with_axes_can_be_masked_and_stacked() -> None:
    heads = cell_of("block_gru")
    made = masked(heads, ["h_next", "m"], outputs=["h_next"]).cell
    assert made.inputs["mask_h"] == ("N", "D")
    assert made.inputs["mask_output"] == ("N", "D")
    assert made.checked.once == ("m",)
    assert made.checked.learned == {"h": "h0"}
    both, names, _ = stacked([cell_of("tf_lstm"), cell_of("lmu")], [("x", "h_next")], "both")
    assert both.cell.params["K_0"] == ("4*H_0", "I_0 + H_0")
    assert both.cell.params["W_x_1"] == ("H_1", "H_0")
    assert both.cell.checked.fixed == ("A_1", "B_1")
    assert names[1]["A"] == "A_1"
    axis = derive.Cell.parse(
        "cell axis\ninput x: N x D\nstate h: N x D\nh' = h * sum(x, N) + eye(D) @ x\noutput h'"
    )
    _, _, dims = stacked([axis, axis], [("x", "h_next")], "two")
    assert dims[1]["N"] == "N_0"
    assert shortened(axis, "x", "h_next").cell.outputs["shortcut"] == ("N", "D")


def test_a_shortcut_between_other_axes_is_refused() -> None:
    with pytest.raises(derive.DeriveError, match="x has width I, the output N x D"):
        shortened(cell_of("slstm"), "x", "h_next")


WRONG: dict[str, tuple[Any, str]] = {
    "layers": (lambda: make("slstm", num_layers=2),
               r"each reads \[I\] = \[5\], the one below puts out \[N, D\] = \[2, 3\]"),
    "fixed": (lambda: make("lmu"), "A of lmu is fixed, and no values were given"),
    "once": (lambda: make("block_gru").forward(np.ones((2, 1, 5))), "input m of block_gru"),
    "x": (lambda: make("slstm").forward(np.ones((2, 1, 4))), r"it is \[T, B, 5\]"),
    "state": (lambda: make("slstm").forward(np.ones((2, 1, 5)), {"h": np.ones((1, 1, 6))}),
              "state h has the wrong shape"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_told_with_shapes(what: str) -> None:
    wrong, message = WRONG[what]
    with pytest.raises(derive.DeriveError, match=message):
        wrong()


def test_files_of_cells_that_start_elsewhere_are_told_apart() -> None:
    from derive.layers.checkpoint import digest

    text = axes_cells.CELLS["block_gru"][0]
    other = text.replace("h: N x D = h0", "h: N x D").replace("param U_r", "param h0: N x D, U_r")
    assert digest(derive.Cell.parse(text)) != digest(derive.Cell.parse(other))


def test_a_sequence_runs_on_with_what_is_given_once() -> None:
    cell = cell_of("block_gru")
    kernel = derive.compile(cell, "numpy", "float64")
    params = kernel.init({dim: SIZES[dim] for dim in "INDM"})
    x = {"x": np.ones((3, 2, 5)), "m": np.ones((2, 7))}
    found = run_sequence(cell, params, x, dtype="float64", lengths=[3, 1], reverse=True,
                         past_end="computed")  # fmt: skip
    assert found.backward({"h_next": np.ones((3, 2, 2, 3))}).inputs["m"].shape == (2, 7)
