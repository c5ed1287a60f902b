"""derive.rnn_cell against PyTorch, float64, for what both have; torch is in the test extra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from derive import rnn_cell

B, T, I, H, P = 3, 5, 4, 3, 2  # noqa: E741
LENGTHS = [5, 2, 3]
EXACT = 1e-13
DERIVED = 1e-12

#: PyTorch's class and options, ours, and where each gate of PyTorch's stands in TensorFlow's.
CASES: dict[str, tuple[Any, Any]] = {
    "tanh": (lambda: torch.nn.RNN(I, H, dtype=torch.float64), lambda: rnn_cell.BasicRNNCell(H)),
    "relu": (
        lambda: torch.nn.RNN(I, H, nonlinearity="relu", dtype=torch.float64),
        lambda: rnn_cell.BasicRNNCell(H, activation="relu"),
    ),
    "lstm": (
        lambda: torch.nn.LSTM(I, H, dtype=torch.float64),
        lambda: rnn_cell.BasicLSTMCell(H, forget_bias=0.0),
    ),
    "lstm_run_time_bias": (
        lambda: torch.nn.LSTM(I, H, dtype=torch.float64),
        lambda: rnn_cell.LSTMCell(H, forget_bias=1.5),
    ),
    "lstm_projection": (
        lambda: torch.nn.LSTM(I, H, proj_size=P, dtype=torch.float64),
        lambda: rnn_cell.LSTMCell(H, num_proj=P, forget_bias=0.0),
    ),
    "cudnn_lstm": (
        lambda: torch.nn.LSTM(I, H, dtype=torch.float64),
        lambda: rnn_cell.CudnnCompatibleLSTMCell(H),
    ),
    "cudnn_gru": (
        lambda: torch.nn.GRU(I, H, dtype=torch.float64),
        lambda: rnn_cell.CudnnCompatibleGRUCell(H),
    ),
}


def regrouped(matrix: np.ndarray, order: list[int]) -> np.ndarray:
    """The gates along the last axis in another order."""
    parts = np.split(matrix, len(order), -1)
    return np.concatenate([parts[k] for k in order], -1)


def variables_of(peer: Any, name: str, shift: float) -> dict[str, Any]:
    """PyTorch's arrays, or their gradients, in TensorFlow's layout. PyTorch's LSTM: i f g o."""
    values = {key.removesuffix("_l0"): p for key, p in peer.items()}
    kernel = np.concatenate([values["weight_ih"].T, values["weight_hh"].T])
    bias = values["bias_ih"]
    if "gru" in name:
        half = 2 * H
        return {
            "gates/kernel": kernel[:, :half], "gates/bias": bias[:half],
            "candidate/input_projection/kernel": kernel[:I, half:],
            "candidate/hidden_projection/kernel": kernel[I:, half:],
            "candidate/input_projection/bias": bias[half:],
            "candidate/hidden_projection/bias": values["bias_hh"][half:],
        }  # fmt: skip
    if "lstm" in name:
        kernel, bias = (regrouped(a, [0, 2, 1, 3]) for a in (kernel, bias))
        bias = bias - shift * np.repeat([0, 0, 1, 0], H)
    found = {"kernel": kernel, "bias": bias}
    if "weight_hr" in values:
        found["projection/kernel"] = values["weight_hr"].T
    return found


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(name: str, ragged: bool, direction: str) -> None:
    make_peer, make_cell = CASES[name]
    torch.manual_seed(0)
    peer, cell = make_peer(), make_cell()
    with torch.no_grad():
        for key, parameter in peer.named_parameters():
            if key.startswith("bias_hh"):
                parameter[: 2 * H if "gru" in name else None] = 0
    shift = 1.5 if "run_time" in name else 0.0
    weights = {key: p.detach().numpy() for key, p in peer.named_parameters()}
    cell.set_variables(variables_of(weights, name, shift))

    random = np.random.default_rng(0)
    x = random.normal(size=(B, T, I))
    h = random.normal(size=(B, P if "projection" in name else H))
    c = random.normal(size=(B, H))
    lengths = LENGTHS if ragged else [T] * B
    backward = direction == "backward"

    def turned(array: Any) -> Any:
        """Each row's own steps last to first."""
        if not backward:
            return array
        index = [[n - 1 - t if t < n else t for t in range(T)] for n in lengths]
        return torch.stack([array[b, torch.tensor(row)] for b, row in enumerate(index)])

    leaves = [torch.from_numpy(a).requires_grad_() for a in (x, h, c)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        turned(leaves[0]), torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    start = leaves[1][None], leaves[2][None]
    out_t, last_t = peer(packed, start if "lstm" in name else start[0])
    out_t, _ = torch.nn.utils.rnn.pad_packed_sequence(out_t, batch_first=True, total_length=T)
    out_t = turned(out_t)
    last_c, last_h = (last_t[1][0], last_t[0][0]) if "lstm" in name else (None, last_t[0])

    state: Any = rnn_cell.LSTMStateTuple(c, h) if "lstm" in name else h
    with rnn_cell.using("numpy"):
        if backward:
            idle = rnn_cell.GRUCell(1)
            outputs, states, both = rnn_cell.bidirectional_dynamic_rnn(
                idle, cell, x, lengths if ragged else None, None, state, return_pullback=True
            )
            output, last = outputs[1], states[1]
        else:
            output, last, pullback = rnn_cell.dynamic_rnn(
                cell, x, lengths if ragged else None, state, return_pullback=True
            )
    assert np.abs(output - out_t.detach().numpy()).max() < EXACT
    d, d_c = random.normal(size=output.shape), random.normal(size=c.shape)
    d_h = random.normal(size=h.shape)
    loss = (out_t * torch.from_numpy(d)).sum() + (last_h * torch.from_numpy(d_h)).sum()
    d_state: Any = d_h
    if last_c is not None:
        assert np.abs(last.c - last_c.detach().numpy()).max() < EXACT
        loss = loss + (last_c * torch.from_numpy(d_c)).sum()
        d_state = rnn_cell.LSTMStateTuple(d_c, d_h)
    loss.backward()

    if backward:
        pulled = both((None, d), (None, d_state))
        start_gradient, gradients = pulled.initial_state[1], pulled.variables[1]
    else:
        pulled = pullback(d, d_state)
        start_gradient, gradients = pulled.initial_state, pulled.variables
    assert np.abs(pulled.inputs - leaves[0].grad.numpy()).max() < DERIVED
    if last_c is not None:
        assert np.abs(start_gradient.c - leaves[2].grad.numpy()).max() < DERIVED
        start_gradient = start_gradient.h
    assert np.abs(start_gradient - leaves[1].grad.numpy()).max() < DERIVED
    wanted = variables_of({k: p.grad.numpy() for k, p in peer.named_parameters()}, name, 0.0)
    assert list(gradients) == list(wanted)
    for n, gradient in gradients.items():
        assert np.abs(gradient - wanted[n]).max() < 10 * DERIVED
