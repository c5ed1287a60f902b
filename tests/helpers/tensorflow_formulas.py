"""What TensorFlow 1's cells compute, written down from its documentation and the papers.

An oracle for derive.rnn_cell: nothing here is imported from derive. Each function takes
{variable: array}, the inputs [B, width] and the state, and gives (output, new state). All of it
works on complex numbers too, with branches chosen by the real part, so that the complex step
gives derivatives with the conventions at kinks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def relu(v: Array) -> Array:
    return np.where(v.real > 0, v, 0)


def clip(v: Array, bound: float | None) -> Array:
    if bound is None:
        return v
    return np.where(v.real > bound, bound, np.where(v.real < -bound, -bound, v))


def norm(v: Array, gamma: Array, beta: Array) -> Array:
    mean = v.mean(-1, keepdims=True)
    var = ((v - mean) ** 2).mean(-1, keepdims=True)
    return (v - mean) / np.sqrt(var + 1e-12) * gamma + beta


def affine(v: dict[str, Array], scope: str, *parts: Array) -> Array:
    out = np.concatenate(parts, -1) @ v[f"{scope}kernel"]
    return out + v[f"{scope}bias"] if f"{scope}bias" in v else out


def basic_rnn(v: dict[str, Array], x: Array, h: Array, act: Any = np.tanh) -> tuple[Array, Array]:
    y = act(affine(v, "", x, h))
    return y, y


def lstm(
    v: dict[str, Array],
    x: Array,
    state: Any,
    forget_bias: float = 1.0,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    act: Any = np.tanh,
) -> tuple[Array, Any]:
    c, h = state
    i, j, f, o = np.split(affine(v, "", x, h), 4, -1)
    p_i, p_f, p_o = (v.get(f"w_{k}_diag", 0) for k in "ifo")
    c = sigmoid(f + forget_bias + p_f * c) * c + sigmoid(i + p_i * c) * act(j)
    c = clip(c, cell_clip)
    m = sigmoid(o + p_o * c) * act(c)
    if "projection/kernel" in v:
        m = clip(m @ v["projection/kernel"], proj_clip)
    return m, (c, m)


def gru(v: dict[str, Array], x: Array, h: Array, act: Any = np.tanh) -> tuple[Array, Array]:
    r, u = np.split(sigmoid(affine(v, "gates/", x, h)), 2, -1)
    c = act(affine(v, "candidate/", x, r * h))
    h = u * h + (1 - u) * c
    return h, h


def cudnn_gru(v: dict[str, Array], x: Array, h: Array) -> tuple[Array, Array]:
    r, u = np.split(sigmoid(affine(v, "gates/", x, h)), 2, -1)
    hidden = affine(v, "candidate/hidden_projection/", h)
    c = np.tanh(r * hidden + affine(v, "candidate/input_projection/", x))
    h = (1 - u) * c + u * h
    return h, h


def ugrnn(v: dict[str, Array], x: Array, h: Array) -> tuple[Array, Array]:
    g, c = np.split(affine(v, "", x, h), 2, -1)
    g = sigmoid(g + 1.0)
    h = g * h + (1 - g) * np.tanh(c)
    return h, h


def coupled(
    v: dict[str, Array], x: Array, state: Any, proj_clip: float | None = None
) -> tuple[Array, Any]:
    c, h = state
    matrix = np.concatenate([x, h], -1) @ v["W_0"]
    normed = "state/gamma" in v
    if not normed:
        matrix = matrix + v["B"]
    j, f, o = np.split(matrix, 3, -1)
    if normed:
        j, f, o = (
            norm(part, v[f"{scope}/gamma"], v[f"{scope}/beta"])
            for part, scope in ((j, "transform"), (f, "forget"), (o, "output"))
        )
    f = sigmoid(f + 1.0 + v.get("W_F_diag", 0) * c)
    c = f * c + (1 - f) * np.tanh(j)
    if normed:
        c = norm(c, v["state/gamma"], v["state/beta"])
    m = sigmoid(o + v.get("W_O_diag", 0) * c) * np.tanh(c)
    if "W_P_0" in v:
        m = clip(m @ v["W_P_0"], proj_clip)
    return m, (c, m)


def layer_norm_lstm(
    v: dict[str, Array], x: Array, state: Any, mask: Array = 1.0
) -> tuple[Array, Any]:
    c, h = state
    i, j, f, o = np.split(affine(v, "", x, h), 4, -1)
    if "state/gamma" in v:
        i, j, f, o = (
            norm(part, v[f"{scope}/gamma"], v[f"{scope}/beta"])
            for part, scope in ((i, "input"), (j, "transform"), (f, "forget"), (o, "output"))
        )
    c = c * sigmoid(f + 1.0) + sigmoid(i) * (np.tanh(j) * mask)
    if "state/gamma" in v:
        c = norm(c, v["state/gamma"], v["state/beta"])
    h = np.tanh(c) * sigmoid(o)
    return h, (c, h)


def phased_lstm(
    v: dict[str, Array], inputs: Any, state: Any, leak: float = 0.001, peephole: bool = False
) -> tuple[Array, Any]:
    time, x = inputs
    c_prev, h_prev = state
    seen = (x, h_prev, c_prev) if peephole else (x, h_prev)
    i, f = np.split(sigmoid(affine(v, "mask_gates/", *seen)), 2, -1)
    j = np.tanh(affine(v, "new_input/", x, h_prev))
    c = c_prev * f + i * j
    seen = (x, h_prev, c) if peephole else (x, h_prev)
    o = sigmoid(affine(v, "output_gate/", *seen))
    h = np.tanh(c) * o
    shifted = time - v["phase"]
    steps = np.mod(shifted.real, v["period"].real) - shifted.real
    ratio = (steps + shifted) / v["period"]
    up = 2 * ratio / v["ratio_on"]
    k = np.where(ratio.real < v["ratio_on"].real, 2 - up, leak * ratio)
    k = np.where(ratio.real < 0.5 * v["ratio_on"].real, up, k)
    c, h = k * c + (1 - k) * c_prev, k * h + (1 - k) * h_prev
    return h, (c, h)


def nas(v: dict[str, Array], x: Array, state: Any) -> tuple[Array, Any]:
    c, h = state
    m = h @ v["recurrent_kernel"]
    m = m + v["bias"] if "bias" in v else m
    left, right = np.split(x @ v["kernel"], 8, -1), np.split(m, 8, -1)
    s = [a + b for a, b in zip(left, right, strict=True)]
    first = [
        sigmoid(s[0]), relu(s[1]), sigmoid(s[2]), relu(left[3] * right[3]),
        np.tanh(s[4]), sigmoid(s[5]), np.tanh(s[6]), sigmoid(s[7]),
    ]  # fmt: skip
    two = np.tanh(np.tanh(first[0] * first[1]) + c)
    c = two * np.tanh(first[2] + first[3])
    m = np.tanh(c * np.tanh(np.tanh(first[4] * first[5]) + sigmoid(first[6] + first[7])))
    m = m @ v["projection_weights"] if "projection_weights" in v else m
    return m, (c, m)


def intersection(v: dict[str, Array], x: Array, h: Array) -> tuple[Array, Array]:
    if "in_projection/kernel" in v:
        x = affine(v, "in_projection/", x)
    gh, new, gy, y = np.split(affine(v, "", x, h), 4, -1)
    gh, gy = sigmoid(gh + 1.0), sigmoid(gy + 1.0)
    return gy * x + (1 - gy) * relu(y), gh * h + (1 - gh) * np.tanh(new)


def sru(v: dict[str, Array], x: Array, c: Array) -> tuple[Array, Array]:
    x_bar, f, r, x_tx = np.split(x @ v["kernel"], 4, -1)
    b_f, b_r = np.split(v["bias"], 2)
    f, r = sigmoid(f + b_f), sigmoid(r + b_r)
    c = f * c + (1 - f) * x_bar
    return r * np.tanh(c) + (1 - r) * x_tx, c


def indrnn(v: dict[str, Array], x: Array, h: Array) -> tuple[Array, Array]:
    h = np.tanh(x @ v["kernel_w"] + h * v["kernel_u"] + v["bias"])
    return h, h


def minimal_rnn(v: dict[str, Array], x: Array, h: Array) -> tuple[Array, Array]:
    width = x.shape[-1]
    z = np.tanh(x @ v["kernel"][:width])
    u = sigmoid(np.concatenate([z, h], -1) @ v["kernel"][width:] + v["bias"])
    h = u * h + (1 - u) * z
    return h, h


def cfn(v: dict[str, Array], x: Array, h: Array) -> tuple[Array, Array]:
    size = h.shape[-1]
    gates = x @ v["kernel"][:, : 2 * size] + h @ v["recurrent_kernel"] + v["bias"]
    theta, eta = np.split(sigmoid(gates), 2, -1)
    h = theta * np.tanh(h) + (1 - eta) * np.tanh(x @ v["kernel"][:, 2 * size :])
    return h, h


def janet(v: dict[str, Array], x: Array, h: Array, beta: float = 1.0) -> tuple[Array, Array]:
    s, g = np.split(affine(v, "", x, h), 2, -1)
    h = sigmoid(s) * h + (1 - sigmoid(s - beta)) * np.tanh(g)
    return h, h


# --- sequences -----------------------------------------------------------------------------------


def mapped(structure: Any, function: Callable[..., Any], *others: Any) -> Any:
    if isinstance(structure, tuple):
        parts = zip(structure, *others, strict=True)
        return tuple(mapped(part, function, *rest) for part, *rest in parts)
    return function(structure, *others)


def rnn(
    step: Callable[[Any, Any], tuple[Array, Any]],
    x: Any,
    state: Any,
    lengths: Any,
    *,
    reverse: bool = False,
    past_end: str = "zero",
    resets: Array | None = None,
) -> tuple[Array, Any]:
    """A step over x [B, T, ...], row by row: outputs [B, T, ...] and last states."""
    first = x[0] if isinstance(x, tuple) else x
    rows, steps = first.shape[:2]
    outputs, states = [], []
    for n in range(rows):
        row = mapped(state, lambda s: s[n : n + 1])  # noqa: B023 - called at once
        start = row
        times = list(range(lengths[n]))[:: -1 if reverse else 1]
        found: dict[int, Array] = {}
        latest = None
        end = row
        run_on = list(range(lengths[n], steps)) if past_end == "computed" else []
        for t in [*times, *run_on]:
            fresh = resets is not None and fresh_start(resets[n], t, lengths[n], reverse)
            row = mapped(row, lambda s: s * 0) if fresh else row
            latest, row = step(mapped(x, lambda a: a[n : n + 1, t]), row)  # noqa: B023
            found[t] = latest
            end = row if t in times else end
        width = step(mapped(x, lambda a: a[n : n + 1, 0]), start)[0] * 0  # noqa: B023
        rest = latest if past_end == "last" and latest is not None and not reverse else width
        outputs.append(np.concatenate([found.get(t, rest) for t in range(steps)]))
        states.append(end if times else start)
    joined = states[0]
    for other in states[1:]:
        joined = mapped(joined, lambda a, b: np.concatenate([a, b]), other)
    return np.stack(outputs), joined


def fresh_start(resets: Array, t: int, length: int, reverse: bool) -> bool:
    """Whether step t starts afresh: a segment begins there, or, backwards, ends there."""
    if not reverse:
        return bool(resets[t])
    return t + 1 < length and bool(resets[t + 1])
