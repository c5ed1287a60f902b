"""Loops of NumPy that were written by hand for LSTM, GRU and the simple RNN.

The matrices of all gates lie side by side, transposed, before the first call, since OpenBLAS is up
to four times as fast with few rows then; factors that the backward loop needs are computed for all
steps at once. `numpy_loop` does less, for any cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from derive.bench.peers.closed import Known, known
from derive.bench.task import Contestant, Results, Task, named

NAME = "NumPy by hand"

#: Outputs [T, B, H], and for training: pre-activations, what else is kept, and the states.
Kept: TypeAlias = tuple[Any, ...]


def missing() -> str | None:
    return None


def enter(task: Task) -> list[Contestant]:
    found = known(task.cell)
    if found is None or found.peepholes or found.kind not in _LOOPS:
        return []
    w = _Weights.of(found, task)
    (x,) = task.inputs.values()
    states = tuple(task.states.values())
    (d_output,) = task.d_outputs.values()
    forward, backward = _LOOPS[found.kind]

    def infer() -> Any:
        return forward(w, x, states, False)[0], None

    def train() -> Any:
        kept = forward(w, x, states, True)
        return kept[0], backward(w, x, kept, d_output)

    def read(result: Any) -> Results:
        output, gradients = result
        results = named(output=dict.fromkeys(task.cell.outputs, output))
        if gradients is None:
            return results
        d_x, d_states, (d_W, d_U, d_b, d_c) = gradients
        count = len(found.input)
        pairs = [(found.input, d_W), (found.hidden, d_U), (found.bias, d_b)]
        pairs += [(found.hidden_bias, d_c)] if found.hidden_bias else []
        parts = (zip(names, np.split(d, count), strict=True) for names, d in pairs)
        return results | named(
            d_param={name: part for each in parts for name, part in each},
            d_input=dict.fromkeys(task.inputs, d_x),
            d_state=dict(zip(task.states, d_states, strict=True)),
        )

    return [Contestant(NAME, infer, train, read)]


@dataclass(frozen=True, slots=True)
class _Weights:
    """W: [G H, I] and W_T: [I, G H], U the same; b and c: biases outside and inside the recurrent
    product."""

    W: Any
    W_T: Any
    U: Any
    U_T: Any
    b: Any
    c: Any

    @classmethod
    def of(cls, found: Known, task: Task) -> _Weights:
        groups = (found.input, found.hidden, found.bias, found.hidden_bias)
        arrays: list[Any] = [
            np.concatenate([task.params[n] for n in names]) if names else None for names in groups
        ]
        W, U, b, c = arrays
        return cls(W, np.ascontiguousarray(W.T), U, np.ascontiguousarray(U.T), b, c)

    def of_inputs(self, x: Any) -> Any:
        """W x + b of all steps."""
        T, B, I = x.shape  # noqa: E741
        a = x.reshape(T * B, I) @ self.W_T
        a += self.b
        return a.reshape(T, B, -1)

    def gradients(self, x: Any, d_a: Any, d_q: Any, h: Any) -> Any:
        """d_x, and gradients of W, U, b, c; d_a: of W x + b, d_q: of U h + c, h: states before."""
        rows = x.shape[0] * x.shape[1]
        d_a, d_q = d_a.reshape(rows, -1), d_q.reshape(rows, -1)
        d_W, d_U = d_a.T @ x.reshape(rows, -1), d_q.T @ h.reshape(rows, -1)
        return (d_a @ self.W).reshape(x.shape), (d_W, d_U, d_a.sum(0), d_q.sum(0))


def _sigmoid(v: Any) -> Any:
    y = np.exp(-v)
    y += 1
    return np.divide(1, y, out=y)


def _history(first: Any, T: int) -> Any:
    found = np.empty((T + 1, *first.shape), first.dtype)
    found[0] = first
    return found


# --- simple RNN -----------------------------------------------------------------------------


def _rnn(w: _Weights, x: Any, states: Any, training: bool) -> Kept:
    a = w.of_inputs(x)
    h = _history(states[0], len(x))
    for t in range(len(x)):
        u = h[t] @ w.U_T
        u += a[t]
        np.tanh(u, out=h[t + 1])
    return (h[1:], h)


def _rnn_back(w: _Weights, x: Any, kept: Kept, d_output: Any) -> Any:
    _, h = kept
    factor = 1 - h[1:] * h[1:]
    d_a = np.empty_like(factor)
    d_h = np.zeros_like(h[0])
    for t in range(len(x) - 1, -1, -1):
        np.multiply(d_h + d_output[t], factor[t], out=d_a[t])
        d_h = d_a[t] @ w.U
    d_x, d_params = w.gradients(x, d_a, d_a, h[:-1])
    return d_x, (d_h,), d_params


# --- LSTM: gates i, f, g, o -----------------------------------------------------------------


def _lstm(w: _Weights, x: Any, states: Any, training: bool) -> Kept:
    H = states[0].shape[1]
    a = w.of_inputs(x)
    h = _history(states[0], len(x))
    c = _history(states[1], len(x) if training else 0)
    kept: Kept = (np.empty_like(a), np.empty_like(h[1:])) if training else (None, None)
    gates, tanh_c = kept
    c_t = c[0]
    for t in range(len(x)):
        u = h[t] @ w.U_T
        u += a[t]
        s = _sigmoid(u[:, : 2 * H])
        g = np.tanh(u[:, 2 * H : 3 * H])
        o = _sigmoid(u[:, 3 * H :])
        c_t = s[:, H:] * c_t + s[:, :H] * g
        y = np.tanh(c_t)
        np.multiply(o, y, out=h[t + 1])
        if gates is not None:
            gates[t, :, : 2 * H], gates[t, :, 2 * H : 3 * H], gates[t, :, 3 * H :] = s, g, o
            c[t + 1], tanh_c[t] = c_t, y
    return h[1:], h, c, gates, tanh_c


def _lstm_back(w: _Weights, x: Any, kept: Kept, d_output: Any) -> Any:
    _, h, c, gates, tanh_c = kept
    i, f, g, o = np.split(gates, 4, axis=-1)
    of_i, of_f = g * i * (1 - i), c[:-1] * f * (1 - f)
    of_g, of_o = i * (1 - g * g), tanh_c * o * (1 - o)
    of_c = o * (1 - tanh_c * tanh_c)
    H = h.shape[-1]
    d_a = np.empty_like(gates)
    d_h, d_c = np.zeros_like(h[0]), np.zeros_like(h[0])
    for t in range(len(x) - 1, -1, -1):
        d_h = d_h + d_output[t]
        d_c = d_c + d_h * of_c[t]
        d = d_a[t]
        np.multiply(d_c, of_i[t], out=d[:, :H])
        np.multiply(d_c, of_f[t], out=d[:, H : 2 * H])
        np.multiply(d_c, of_g[t], out=d[:, 2 * H : 3 * H])
        np.multiply(d_h, of_o[t], out=d[:, 3 * H :])
        d_c = d_c * f[t]
        d_h = d @ w.U
    d_x, d_params = w.gradients(x, d_a, d_a, h[:-1])
    return d_x, (d_h, d_c), d_params


# --- GRU, reset after the product: gates r, z, n --------------------------------------------


def _gru(w: _Weights, x: Any, states: Any, training: bool) -> Kept:
    H = states[0].shape[1]
    a = w.of_inputs(x)
    h = _history(states[0], len(x))
    kept: Kept = (np.empty_like(a), np.empty_like(h[1:])) if training else (None, None)
    gates, inner = kept
    for t in range(len(x)):
        u = h[t] @ w.U_T
        u += w.c
        s = _sigmoid(u[:, : 2 * H] + a[t, :, : 2 * H])
        z, q = s[:, H:], u[:, 2 * H :]
        n = np.tanh(q * s[:, :H] + a[t, :, 2 * H :])
        h[t + 1] = n + z * (h[t] - n)
        if gates is not None:
            gates[t, :, : 2 * H], gates[t, :, 2 * H :], inner[t] = s, n, q
    return h[1:], h, gates, inner


def _gru_back(w: _Weights, x: Any, kept: Kept, d_output: Any) -> Any:
    _, h, gates, inner = kept
    r, z, n = np.split(gates, 3, axis=-1)
    of_z, of_n = (h[:-1] - n) * z * (1 - z), (1 - z) * (1 - n * n)
    of_r, of_q = of_n * inner * r * (1 - r), of_n * r
    H = h.shape[-1]
    d_a, d_q = np.empty_like(gates), np.empty_like(gates)
    d_h = np.zeros_like(h[0])
    for t in range(len(x) - 1, -1, -1):
        d_h = d_h + d_output[t]
        d = d_q[t]
        np.multiply(d_h, of_r[t], out=d[:, :H])
        np.multiply(d_h, of_z[t], out=d[:, H : 2 * H])
        np.multiply(d_h, of_q[t], out=d[:, 2 * H :])
        np.multiply(d_h, of_n[t], out=d_a[t, :, 2 * H :])
        d_h = d_h * z[t] + d @ w.U
    d_a[..., : 2 * H] = d_q[..., : 2 * H]
    d_x, d_params = w.gradients(x, d_a, d_q, h[:-1])
    return d_x, (d_h,), d_params


_LOOPS: dict[str, tuple[Callable[..., Kept], Callable[..., Any]]] = {
    "rnn": (_rnn, _rnn_back),
    "lstm": (_lstm, _lstm_back),
    "gru": (_gru, _gru_back),
}
