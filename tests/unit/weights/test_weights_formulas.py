"""Weights loaded from TensorFlow, Keras, ONNX and Flax, against each system's own formulas.

The formulas are written here by hand, from the systems' documentation, on their own arrays;
nothing of derive.weights is used for them.
"""

from __future__ import annotations

import numpy as np
import pytest

import derive
from derive import cells, weights

T, B, I, H, P = 5, 2, 3, 4, 2  # noqa: E741
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(T, B, I))


def rand(*shape):
    return RANDOM.normal(size=shape)


def s(v):
    return 1 / (1 + np.exp(-v))


def compare(cell, params, wanted):
    kernel = derive.compile(cell, target="numpy", dtype="float64")
    np.testing.assert_allclose(kernel.forward(params, X).output, wanted, rtol=0, atol=1e-13)


def scan(step, *states):
    found = []
    for x in X:
        *states, y = step(x, *states)
        found.append(y)
    return np.array(found)


def zeros(width=H):
    return np.zeros((B, width))


# --- TensorFlow ---------------------------------------------------------------------------------


def tf_lstm(a, forget_bias=1.0, cell_clip=None, proj_clip=None):
    p = a.get("projection/kernel")
    peephole = [a.get(f"w_{k}_diag", 0) for k in "ifo"]

    def step(x, c, h):
        i, j, f, o = np.split(np.concatenate([x, h], 1) @ a["kernel"] + a["bias"], 4, axis=1)
        c = s(f + forget_bias + peephole[1] * c) * c + s(i + peephole[0] * c) * np.tanh(j)
        c = c if cell_clip is None else np.clip(c, -cell_clip, cell_clip)
        m = s(o + peephole[2] * c) * np.tanh(c)
        m = m if p is None else m @ p
        m = m if proj_clip is None else np.clip(m, -proj_clip, proj_clip)
        return c, m, m

    return scan(step, zeros(), zeros(H if p is None else P))


def tf_arrays(width=H, **more):
    return {"kernel": rand(I + width, 4 * H), "bias": rand(4 * H), **more}


def test_tensorflow_basic_lstm():
    a = tf_arrays()
    cell = cells.lstm(forget_bias=1.0)
    compare(cell, weights.load(cell, "tensorflow", a), tf_lstm(a))


def test_tensorflow_forget_bias_goes_into_the_bias_of_a_cell_that_adds_none():
    a = tf_arrays()
    cell = cells.lstm()
    compare(cell, weights.load(cell, "tensorflow", a, forget_bias=1.0), tf_lstm(a))
    compare(cell, weights.load(cell, "tensorflow", a), tf_lstm(a, forget_bias=0.0))


def test_tensorflow_lstm_with_peepholes_projection_and_clips():
    diagonals = {f"w_{k}_diag": rand(H) for k in "fio"}
    a = tf_arrays(P, **diagonals, **{"projection/kernel": rand(H, P)})
    cell = cells.lstm(forget_bias=0.5, peephole=True, projection=True, cell_clip=0.4, proj_clip=0.3)
    params = weights.load(cell, "tensorflow", a)
    compare(cell, params, tf_lstm(a, 0.5, cell_clip=0.4, proj_clip=0.3))


def test_tensorflow_coupled_lstm():
    a = {"W_0": rand(I + H, 3 * H), "B": rand(3 * H), "W_F_diag": rand(H), "W_O_diag": rand(H)}

    def step(x, c, h):
        j, f, o = np.split(np.concatenate([x, h], 1) @ a["W_0"] + a["B"], 3, axis=1)
        f = s(f + 1 + a["W_F_diag"] * c)
        c = f * c + (1 - f) * np.tanh(j)
        h = s(o + a["W_O_diag"] * c) * np.tanh(c)
        return c, h, h

    cell = cells.lstm(coupled=True, peephole=True, forget_bias=1.0)
    compare(cell, weights.load(cell, "tensorflow", a), scan(step, zeros(), zeros()))
    by_alias = {"kernel": a["W_0"], "bias": a["B"], "w_f_diag": a["W_F_diag"],
                "w_o_diag": a["W_O_diag"]}  # fmt: skip
    compare(cell, weights.load(cell, "tensorflow", by_alias), scan(step, zeros(), zeros()))


def tf_gru_arrays():
    return {
        "gates/kernel": rand(I + H, 2 * H),
        "gates/bias": rand(2 * H),
        "candidate/kernel": rand(I + H, H),
        "candidate/bias": rand(H),
    }


def tf_gru(a):
    def step(x, h):
        gates = s(np.concatenate([x, h], 1) @ a["gates/kernel"] + a["gates/bias"])
        r, u = np.split(gates, 2, axis=1)
        mixed = np.concatenate([x, r * h], 1)
        h = u * h + (1 - u) * np.tanh(mixed @ a["candidate/kernel"] + a["candidate/bias"])
        return h, h

    return scan(step, zeros())


@pytest.mark.parametrize("keeps", ["previous", "candidate"])
def test_tensorflow_gru(keeps):
    a = tf_gru_arrays()
    cell = cells.gru(reset="before", keeps=keeps)
    compare(cell, weights.load(cell, "tensorflow", a), tf_gru(a))


def test_tensorflow_cudnn_compatible_gru():
    a = {
        "gates/kernel": rand(I + H, 2 * H),
        "gates/bias": rand(2 * H),
        "candidate/input_projection/kernel": rand(I, H),
        "candidate/input_projection/bias": rand(H),
        "candidate/hidden_projection/kernel": rand(H, H),
        "candidate/hidden_projection/bias": rand(H),
    }

    def step(x, h):
        gates = s(np.concatenate([x, h], 1) @ a["gates/kernel"] + a["gates/bias"])
        r, u = np.split(gates, 2, axis=1)
        n = x @ a["candidate/input_projection/kernel"] + a["candidate/input_projection/bias"]
        hidden = a["candidate/hidden_projection/kernel"], a["candidate/hidden_projection/bias"]
        h = u * h + (1 - u) * np.tanh(n + r * (h @ hidden[0] + hidden[1]))
        return h, h

    cell = cells.gru(reset="after", biases=2)
    compare(cell, weights.load(cell, "tensorflow", a), scan(step, zeros()))


def test_tensorflow_basic_rnn():
    a = {"rnn/basic_rnn_cell/kernel:0": rand(I + H, H), "rnn/basic_rnn_cell/bias:0": rand(H)}
    kernel, bias = a.values()

    def step(x, h):
        h = np.tanh(np.concatenate([x, h], 1) @ kernel + bias)
        return h, h

    compare(cells.rnn(), weights.load(cells.rnn(), "tensorflow", a), scan(step, zeros()))


def test_tensorflow_layer_norm_basic_lstm():
    scopes = ("input", "transform", "forget", "output", "state")
    a = {"kernel": rand(I + H, 4 * H)}
    a |= {f"{k}/{w}": rand(H) for k in scopes for w in ("gamma", "beta")}

    def norm(v, scope):
        centred = v - v.mean(1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)  # the catalogue's epsilon
        return centred / deviation * a[f"{scope}/gamma"] + a[f"{scope}/beta"]

    def step(x, c, h):
        gates = np.split(np.concatenate([x, h], 1) @ a["kernel"], 4, axis=1)
        i, j, f, o = (norm(v, scope) for v, scope in zip(gates, scopes, strict=False))
        c = norm(c * s(f + 1) + s(i) * np.tanh(j), "state")
        h = np.tanh(c) * s(o)
        return c, h, h

    cell = cells.lstm(forget_bias=1.0, layer_norm="tensorflow")
    compare(cell, weights.load(cell, "tensorflow", a), scan(step, zeros(), zeros()))
    with pytest.raises(derive.DeriveError, match="layer normalisation of that form"):
        weights.load(cells.lstm(layer_norm="supercell"), "tensorflow", a)


# --- Keras --------------------------------------------------------------------------------------


def keras_arrays(gates, *bias):
    a = {"kernel": rand(I, gates * H), "recurrent_kernel": rand(H, gates * H)}
    return a | ({"bias": rand(*bias)} if bias else {})


@pytest.mark.parametrize("bias", [(4 * H,), ()])
def test_keras_lstm(bias):
    a = keras_arrays(4, *bias)

    def step(x, c, h):
        z = x @ a["kernel"] + h @ a["recurrent_kernel"] + a.get("bias", 0)
        i, f, g, o = np.split(z, 4, axis=1)
        c = s(f) * c + s(i) * np.tanh(g)
        h = s(o) * np.tanh(c)
        return c, h, h

    wanted = scan(step, zeros(), zeros())
    compare(cells.lstm(), weights.load(cells.lstm(), "keras", a), wanted)
    compare(cells.lstm(), weights.load(cells.lstm(), "keras", list(a.values())), wanted)
    shifted = cells.lstm(forget_bias=1.0)  # Keras adds nothing at run time
    compare(shifted, weights.load(shifted, "keras", a), wanted)


def test_keras_peephole_lstm():
    a = keras_arrays(4, 4 * H)
    a |= {f"{k}_gate_peephole_weights": rand(H) for k in ("input", "forget", "output")}

    def step(x, c, h):
        z = x @ a["kernel"] + h @ a["recurrent_kernel"] + a["bias"]
        i, f, g, o = np.split(z, 4, axis=1)
        i = s(i + a["input_gate_peephole_weights"] * c)
        f = s(f + a["forget_gate_peephole_weights"] * c)
        c = f * c + i * np.tanh(g)
        h = s(o + a["output_gate_peephole_weights"] * c) * np.tanh(c)
        return c, h, h

    cell = cells.lstm(peephole=True)
    compare(cell, weights.load(cell, "keras", a), scan(step, zeros(), zeros()))


def keras_gru(a, after):
    bias = a.get("bias", np.zeros((2, 3 * H)) if after else np.zeros(3 * H))
    first, second = bias if after else (bias, np.zeros(3 * H))
    U = np.split(a["recurrent_kernel"], 3, axis=1)

    def step(x, h):
        xz, xr, xh = np.split(x @ a["kernel"] + first, 3, axis=1)
        bz, br, bh = np.split(second, 3)
        z, r = s(xz + h @ U[0] + bz), s(xr + h @ U[1] + br)
        n = np.tanh(xh + (r * (h @ U[2] + bh) if after else (r * h) @ U[2]))
        h = z * h + (1 - z) * n
        return h, h

    return scan(step, zeros())


@pytest.mark.parametrize("keeps", ["previous", "candidate"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_keras_gru(after, bias, keeps):
    a = keras_arrays(3, *(((2, 3 * H) if after else (3 * H,)) if bias else ()))
    cell = cells.gru(reset="after" if after else "before", keeps=keeps)
    compare(cell, weights.load(cell, "keras", a), keras_gru(a, after))


def test_keras_gru_merges_what_can_be_merged():
    """A cell whose candidate alone has two biases, as TensorFlow's CudnnCompatibleGRUCell."""
    from derive.layers.compose import without

    a = keras_arrays(3, 2, 3 * H)
    cell = without(cells.gru(), ["b_hr", "b_hz"])
    params = weights.load(cell, "keras", a)
    assert "b_hr" not in params
    compare(cell, params, keras_gru(a, after=True))


def test_keras_simple_rnn():
    a = keras_arrays(1, H)

    def step(x, h):
        h = np.tanh(x @ a["kernel"] + h @ a["recurrent_kernel"] + a["bias"])
        return h, h

    compare(cells.rnn(), weights.load(cells.rnn(), "keras", a), scan(step, zeros()))


# --- ONNX ---------------------------------------------------------------------------------------


def onnx_arrays(gates, directions=1, peephole=False):
    a = {"W": rand(directions, gates * H, I), "R": rand(directions, gates * H, H)}
    a["B"] = rand(directions, 2 * gates * H)
    return a | ({"P": rand(directions, 3 * H)} if peephole else {})


def onnx_lstm(a, d=0, input_forget=False):
    W, R = (np.split(a[k][d], 4) for k in "WR")
    b = np.split(a["B"][d], 8)
    p_i, p_o, p_f = np.split(a["P"][d], 3) if "P" in a else (0, 0, 0)

    def step(x, c, h):
        i, o, f, g = (x @ W[k].T + h @ R[k].T + b[k] + b[k + 4] for k in range(4))
        i = s(i + p_i * c)
        f = 1 - i if input_forget else s(f + p_f * c)
        c = f * c + i * np.tanh(g)
        h = s(o + p_o * c) * np.tanh(c)
        return c, h, h

    return scan(step, zeros(), zeros())


@pytest.mark.parametrize("peephole", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_onnx_lstm(peephole, direction):
    a = onnx_arrays(4, directions=2, peephole=peephole)
    cell = cells.lstm(peephole=peephole)
    params = weights.load(cell, "onnx", a, direction=direction)
    compare(cell, params, onnx_lstm(a, int(direction == "reverse")))


@pytest.mark.parametrize(
    "cell",
    [
        cells.cifg(gate="input"),
        cells.cifg(),
        cells.cifg(forget_bias=1.0),
        cells.lstm(coupled=True),
        cells.lstm(),
        cells.lstm(forget_bias=1.0),
    ],
    ids=lambda cell: cell.name,
)
def test_onnx_lstm_with_coupled_gates_in_every_cell_that_can_hold_it(cell):
    a = onnx_arrays(4)
    params = weights.load(cell, "onnx", a, input_forget=True)
    compare(cell, params, onnx_lstm(a, input_forget=True))


def test_onnx_coupled_gates_with_peepholes():
    a = onnx_arrays(4, peephole=True)
    for cell in (cells.lstm(peephole=True, coupled=True), cells.lstm(peephole=True)):
        params = weights.load(cell, "onnx", a, input_forget=True)
        compare(cell, params, onnx_lstm(a, input_forget=True))


@pytest.mark.parametrize("biases", [1, 2])
@pytest.mark.parametrize("after", [True, False])
def test_onnx_gru(after, biases):
    a = onnx_arrays(3)
    if after and biases == 1:
        a["B"][:, -H:] = 0  # only so is one bias enough
    W, R, b = np.split(a["W"][0], 3), np.split(a["R"][0], 3), np.split(a["B"][0], 6)

    def step(x, h):
        z = s(x @ W[0].T + h @ R[0].T + b[0] + b[3])
        r = s(x @ W[1].T + h @ R[1].T + b[1] + b[4])
        inner = r * (h @ R[2].T + b[5]) if after else (r * h) @ R[2].T + b[5]
        h = (1 - z) * np.tanh(x @ W[2].T + inner + b[2]) + z * h
        return h, h

    cell = cells.gru(reset="after" if after else "before", biases=biases)
    params = weights.load(cell, "onnx", a, linear_before_reset=int(after))
    compare(cell, params, scan(step, zeros()))


def test_onnx_rnn():
    a = onnx_arrays(1)

    def step(x, h):
        h = np.tanh(x @ a["W"][0].T + h @ a["R"][0].T + a["B"][0, :H] + a["B"][0, H:])
        return h, h

    compare(cells.rnn(), weights.load(cells.rnn(), "onnx", a), scan(step, zeros()))


# --- Flax ---------------------------------------------------------------------------------------


def flax_arrays(gates, biases):
    tree = {}
    for side, width in (("i", I), ("h", H)):
        for k in gates:
            dense = {"kernel": rand(width, H)}
            tree[f"{side}{k}"] = dense | ({"bias": rand(H)} if f"{side}{k}" in biases else {})
    return tree


def dense(a, name, v):
    return v @ a[name]["kernel"] + a[name].get("bias", 0)


def test_flax_lstm():
    a = flax_arrays("ifgo", ("hi", "hf", "hg", "ho"))

    def step(x, c, h):
        i, f, g, o = (dense(a, f"i{k}", x) + dense(a, f"h{k}", h) for k in "ifgo")
        c = s(f) * c + s(i) * np.tanh(g)
        h = s(o) * np.tanh(c)
        return c, h, h

    wanted = scan(step, zeros(), zeros())
    compare(cells.lstm(), weights.load(cells.lstm(), "flax", a), wanted)
    inside = {"params": {"RNN_0": {"cell": a}}, "batch_stats": {"mean": rand(3)}}
    compare(cells.lstm(), weights.load(cells.lstm(), "flax", inside), wanted)
    fused = {
        "dense_i": {"kernel": np.hstack([a[f"i{k}"]["kernel"] for k in "ifgo"]), "bias": None},
        "dense_h": {
            "kernel": np.hstack([a[f"h{k}"]["kernel"] for k in "ifgo"]),
            "bias": np.hstack([a[f"h{k}"]["bias"] for k in "ifgo"]),
        },
    }
    compare(cells.lstm(), weights.load(cells.lstm(), "flax", fused), wanted)


def test_flax_gru():
    a = flax_arrays("rzn", ("ir", "iz", "in", "hn"))

    def step(x, h):
        r = s(dense(a, "ir", x) + dense(a, "hr", h))
        z = s(dense(a, "iz", x) + dense(a, "hz", h))
        h = (1 - z) * np.tanh(dense(a, "in", x) + r * dense(a, "hn", h)) + z * h
        return h, h

    compare(cells.gru(), weights.load(cells.gru(), "flax", a), scan(step, zeros()))


def test_flax_simple_cell():
    a = {"i": {"kernel": rand(I, H), "bias": rand(H)}, "h": {"kernel": rand(H, H)}}

    def step(x, h):
        h = np.tanh(dense(a, "i", x) + dense(a, "h", h))
        return h, h

    compare(cells.rnn(), weights.load(cells.rnn(), "flax", a), scan(step, zeros()))
