"""Published cells that need arrays with axes, each with a formula in PyTorch written by hand.

In: nothing.  Out: `CELLS`: {name: (text, step)}, where step(p, x, s) takes dictionaries of tensors
and returns (outputs, next states). The formulas are written in another form than the texts:
loops over heads, matrices that are built, whole vectors instead of parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensors = dict[str, Any]
Step = Callable[[Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]

CELLS: dict[str, tuple[str, Step]] = {}


def _cell(text: str) -> Callable[[Step], Step]:
    def keep(step: Step) -> Step:
        CELLS[step.__name__.strip("_")] = (text, step)
        return step

    return keep


def _heads(R: Any, h: Any) -> Any:
    """R[n] h[n] for every head n."""
    return torch.stack([h[:, n] @ R[n].T for n in range(R.shape[0])], dim=1)


@_cell("""
cell   slstm
doc    sLSTM with heads. Beck et al. 2024, arXiv 2405.04517, section 2.2.
input  x: I
state  h: N x D, c: N x D, n: N x D, m: N x D
param  W_z: N x D x I, W_i: N x D x I, W_f: N x D x I, W_o: N x D x I
param  R_z: N x D x D, R_i: N x D x D, R_f: N x D x D, R_o: N x D x D
param  b_z: N x D
z  = tanh(W_z @ x + R_z @ h + b_z)
o  = sigmoid(W_o @ x + R_o @ h)
a  = W_i @ x + R_i @ h
l  = logsigmoid(W_f @ x + R_f @ h)
m' = maximum(l + m, a)
i  = exp(a - m')
f  = exp(l + m - m')
c' = f * c + i * z
n' = f * n + i
h' = o * c' / (n' + 1)
output h'
""")
def _slstm(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    def gate(name: str) -> Any:
        return torch.einsum("ndi,bi->bnd", p[f"W_{name}"], x["x"]) + _heads(p[f"R_{name}"], s["h"])

    f = torch.nn.functional.logsigmoid(gate("f")) + s["m"]
    m = torch.maximum(f, gate("i"))
    i, f = torch.exp(gate("i") - m), torch.exp(f - m)
    c = f * s["c"] + i * torch.tanh(gate("z") + p["b_z"])
    n = f * s["n"] + i
    h = torch.sigmoid(gate("o")) * c / (1 + n)
    return {"h_next": h}, {"h": h, "c": c, "n": n, "m": m}


@_cell("""
cell   mlstm
doc    mLSTM with its stabiliser. Beck et al. 2024, arXiv 2405.04517, section 2.3.
input  x: I
state  C: N x D x K, n: N x K, m: N
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, w_i: N x I, w_f: N x I, b_f: N
param  W_o: N x D x I
q  = W_q @ x
k  = W_k @ x / 2
v  = W_v @ x
a  = w_i @ x
l  = logsigmoid(w_f @ x + b_f)
m' = maximum(l + m, a)
i  = exp(a - m')
f  = exp(l + m - m')
C' = f * C + i * outer(v, k)
n' = f * n + i * k
h  = sigmoid(W_o @ x) * (C' @ q) / maximum(abs(sum(n' * q)), exp(-m'))
output h
""")
def _mlstm(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    def per_head(name: str) -> Any:
        return torch.stack([x["x"] @ W.T for W in p[name]], dim=1)

    q, k, v = per_head("W_q"), per_head("W_k") * 0.5, per_head("W_v")
    log_f = -torch.nn.functional.softplus(-(x["x"] @ p["w_f"].T + p["b_f"]))
    log_i = x["x"] @ p["w_i"].T
    m = torch.maximum(log_f + s["m"], log_i)
    f, i = torch.exp(log_f + s["m"] - m)[..., None], torch.exp(log_i - m)[..., None]
    C = f[..., None] * s["C"] + (i * v)[..., :, None] * k[..., None, :]
    n = f * s["n"] + i * k
    size = torch.maximum(torch.einsum("bnk,bnk->bn", n, q).abs(), torch.exp(-m))
    h = torch.sigmoid(per_head("W_o")) * torch.einsum("bndk,bnk->bnd", C, q) / size[..., None]
    return {"h": h}, {"C": C, "n": n, "m": m}


@_cell("""
cell   gated_delta
doc    Gated DeltaNet. Yang et al. 2024, arXiv 2412.06464.
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I
param  w_a: N x I, w_b: N x I, A_log: N, dt: N
q  = silu(W_q @ x)
k0 = silu(W_k @ x)
k  = k0 / sqrt(sum(k0**2) + 1e-6)
v  = silu(W_v @ x)
a  = exp(-exp(A_log) * softplus(w_a @ x + dt))
b  = sigmoid(w_b @ x)
T  = a * S
S' = T + outer(b * (v - T @ k), k)
y  = S' @ q
output y
""")
def _gated_delta(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    silu, softplus = torch.nn.functional.silu, torch.nn.functional.softplus
    q, k, v = (silu(torch.einsum("nki,bi->bnk", p[f"W_{n}"], x["x"])) for n in "qkv")
    k = k / (k.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    a = torch.exp(-p["A_log"].exp() * softplus(x["x"] @ p["w_a"].T + p["dt"]))
    b = torch.sigmoid(x["x"] @ p["w_b"].T)
    eye = torch.eye(k.shape[-1], dtype=k.dtype)
    forget = eye - b[..., None, None] * k[..., :, None] * k[..., None, :]
    S = (
        a[..., None, None] * s["S"] @ forget
        + b[..., None, None] * v[..., :, None] * k[..., None, :]
    )
    return {"y": (S @ q[..., None])[..., 0]}, {"S": S}


@_cell("""
cell   mamba
doc    Selective state space. Gu & Dao 2023, arXiv 2312.00752.
input  u: D
state  h: D x N
param  A_log: D x N, W_dt: D x D, b_dt: D, W_B: N x D, W_C: N x D, skip: D
dt = softplus(W_dt @ u + b_dt)
B  = W_B @ u
C  = W_C @ u
h' = exp(-dt * exp(A_log)) * h + outer(dt * u, B)
y  = h' @ C + skip * u
output y
""")
def _mamba(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    u = x["u"]
    dt = torch.nn.functional.softplus(u @ p["W_dt"].T + p["b_dt"])
    B, C = u @ p["W_B"].T, u @ p["W_C"].T
    decay = torch.exp(dt[:, :, None] * -torch.exp(p["A_log"])[None])
    h = decay * s["h"] + (dt * u)[:, :, None] * B[:, None, :]
    return {"y": (h * C[:, None, :]).sum(-1) + p["skip"] * u}, {"h": h}


@_cell("""
cell   rwkv7
doc    RWKV-7. Peng et al. 2025, arXiv 2503.14456.
input  x: I
state  S: N x D x K
param  W_r: N x K x I, W_k: N x K x I, W_v: N x D x I, W_w: N x K x I, W_a: N x K x I
param  k_k: N x K, k_a: N x K, r_k: N x K
r  = W_r @ x
v  = W_v @ x
k0 = W_k @ x
w  = exp(-0.6 * sigmoid(W_w @ x))
a  = sigmoid(W_a @ x)
z  = k0 * k_k
kk = z / maximum(norm(z), 1e-12)
k  = k0 * (1 + (a - 1) * k_a)
S' = S @ diag(w) - outer(S @ kk, kk * a) + outer(v, k)
y  = S' @ r + sum(r * k * r_k) * v
output y
""")
def _rwkv7(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    def per_head(name: str) -> Any:
        return torch.einsum("nki,bi->bnk", p[name], x["x"])

    r, v, k = per_head("W_r"), per_head("W_v"), per_head("W_k")
    w, a = torch.exp(-0.6 * torch.sigmoid(per_head("W_w"))), torch.sigmoid(per_head("W_a"))
    kk = torch.nn.functional.normalize(k * p["k_k"], dim=-1)
    k = k * (1 + (a - 1) * p["k_a"])
    change = torch.diag_embed(w) - kk[..., :, None] * (kk * a)[..., None, :]
    S = s["S"] @ change + v[..., :, None] * k[..., None, :]
    y = torch.einsum("bndk,bnk->bnd", S, r)
    return {"y": y + (r * k * p["r_k"]).sum(-1, keepdim=True) * v}, {"S": S}


@_cell("""
cell   ttt_linear
doc    TTT-linear, one token a batch. Sun et al. 2024, arXiv 2407.04620.
input  x: I
state  W: D x K, b: D
param  W_q: K x I, W_k: K x I, W_v: D x I, w_l: 1 x I, gain: D = 1, shift: D = 0
q  = W_q @ x
k  = W_k @ x
v  = W_v @ x
z  = W @ k + b
s  = sqrt(mean((z - mean(z))**2) + 1e-6)
u  = (z - mean(z)) / s
g  = gain * (gain * u + shift - v)
G  = (g - mean(g) - u * mean(g * u)) / s
e  = sigmoid(w_l @ x) / 4
W' = W - e * outer(G, k)
b' = b - e * G
o  = W' @ q + b'
y  = gain * layer_norm(o, eps=1e-6) + shift
output y
""")
def _ttt_linear(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    q, k, v = (x["x"] @ p[f"W_{n}"].T for n in "qkv")

    def normed(z: Any) -> Any:
        width = z.shape[-1:]
        return torch.nn.functional.layer_norm(z, width, p["gain"], p["shift"], 1e-6)

    # The inner gradient by autograd, not by the formula of the text.
    z = (s["W"] @ k[..., None])[..., 0] + s["b"]
    (G,) = torch.autograd.grad(0.5 * (normed(z) - v).square().sum(), z, create_graph=True)
    e = torch.sigmoid(x["x"] @ p["w_l"].T) / 4
    W, b = s["W"] - e[..., None] * G[..., :, None] * k[..., None, :], s["b"] - e * G
    return {"y": normed((W @ q[..., None])[..., 0] + b)}, {"W": W, "b": b}


@_cell("""
cell   lmu
doc    Legendre memory unit. Voelker et al. 2019.
input  x: I
state  h: H, m: M
fixed  A: M x M, B: M
param  e_x: 1 x I, e_h: 1 x H, e_m: 1 x M
u  = e_x @ x + e_h @ h + e_m @ m
m' = A @ m + B * u
h' = tanh(W_x @ x + W_h @ h + W_m @ m')
output h'
""")
def _lmu(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    u = torch.cat([x["x"], s["h"], s["m"]], dim=1)
    u = u @ torch.cat([p["e_x"], p["e_h"], p["e_m"]], dim=1).T
    m = torch.cat([s["m"], u], dim=1) @ torch.cat([p["A"], p["B"][:, None]], dim=1).T
    W = torch.cat([p["W_x"], p["W_h"], p["W_m"]], dim=1)
    h = torch.tanh(torch.cat([x["x"], s["h"], m], dim=1) @ W.T)
    return {"h_next": h}, {"h": h, "m": m}


@_cell("""
cell   weight_norm_lstm
doc    LSTM whose matrices have rows of learned length. Salimans & Kingma 2016, arXiv 1602.07868.
input  x: I
state  h: H, c: H
param  V: 4*H x I, g: 4*H = 1, U: 4*H x H, r: 4*H = 1, b: 4*H = 0
a  = (g / norm(V, I) * V) @ x + (r / norm(U) * U) @ h + b
i, f, z, o = split(a, 4)
c' = sigmoid(f) * c + sigmoid(i) * tanh(z)
h' = sigmoid(o) * tanh(c')
output h'
""")
def _weight_norm_lstm(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    W = torch.nn.functional.normalize(p["V"], dim=1) * p["g"][:, None]
    R = torch.nn.functional.normalize(p["U"], dim=1) * p["r"][:, None]
    i, f, z, o = (x["x"] @ W.T + s["h"] @ R.T + p["b"]).chunk(4, dim=-1)
    c = torch.sigmoid(f) * s["c"] + torch.sigmoid(i) * torch.tanh(z)
    h = torch.sigmoid(o) * torch.tanh(c)
    return {"h_next": h}, {"h": h, "c": c}


@_cell("""
cell   fast_grnn
doc    FastGRNN with matrices of low rank. Kusupati et al. 2018, arXiv 1901.02358.
input  x: I
state  h: H
param  W1: R x I, W2: H x R, U1: R x H, U2: H x R, zeta: 1 = 1, nu: 1 = -4
a  = W2 @ (W1 @ x) + U2 @ (U1 @ h)
z  = sigmoid(a + b_z)
n  = tanh(a + b_h)
h' = (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * n + z * h
output h'
""")
def _fast_grnn(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    a = x["x"] @ (p["W2"] @ p["W1"]).T + s["h"] @ (p["U2"] @ p["U1"]).T
    z, n = torch.sigmoid(a + p["b_z"]), torch.tanh(a + p["b_h"])
    h = (torch.sigmoid(p["zeta"]) * (1 - z) + torch.sigmoid(p["nu"])) * n + z * s["h"]
    return {"h_next": h}, {"h": h}


@_cell("""
cell   on_lstm
doc    Ordered neurons. Shen et al. 2018, arXiv 1810.09536; chunks of one unit.
input  x: I
state  h: H, c: H
F  = cumsum(softmax(W_1 @ x + U_1 @ h + b_1))
J  = 1 - cumsum(softmax(W_2 @ x + U_2 @ h + b_2))
f  = sigmoid(W_f @ x + U_f @ h + b_f)
i  = sigmoid(W_i @ x + U_i @ h + b_i)
o  = sigmoid(W_o @ x + U_o @ h + b_o)
g  = tanh(W_g @ x + U_g @ h + b_g)
w  = F * J
c' = (f * w + F - w) * c + (i * w + J - w) * g
h' = o * tanh(c')
output h'
""")
def _on_lstm(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    def gate(n: str) -> Any:
        return x["x"] @ p[f"W_{n}"].T + s["h"] @ p[f"U_{n}"].T + p[f"b_{n}"]

    F = torch.softmax(gate("1"), -1).cumsum(-1)
    J = 1 - torch.softmax(gate("2"), -1).cumsum(-1)
    f, i, o = (torch.sigmoid(gate(n)) for n in "fio")
    w = F * J
    c = (f * w + (F - w)) * s["c"] + (i * w + (J - w)) * torch.tanh(gate("g"))
    h = o * torch.tanh(c)
    return {"h_next": h}, {"h": h, "c": c}


@_cell("""
cell   tf_lstm
doc    BasicLSTMCell of TensorFlow 1, one kernel for all gates.
input  x: I
state  h: H, c: H
param  K: 4*H x I + H, b: 4*H = 0
const  forget_bias = 1
i, j, f, o = split(K @ concat(x, h) + b, 4)
c' = c * sigmoid(f + forget_bias) + sigmoid(i) * tanh(j)
h' = tanh(c') * sigmoid(o)
output h'
""")
def _tf_lstm(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    a = torch.cat([x["x"], s["h"]], dim=1) @ p["K"].T + p["b"]
    i, j, f, o = a.chunk(4, dim=-1)
    c = s["c"] * torch.sigmoid(f + 1) + torch.sigmoid(i) * torch.tanh(j)
    h = torch.tanh(c) * torch.sigmoid(o)
    return {"h_next": h}, {"h": h, "c": c}


@_cell("""
cell   block_gru
doc    GRU with block-diagonal recurrence, learned starts and a context that is given once.
input  x: I, m: M once
state  h: N x D = h0
param  W_r: N x D x I, W_z: N x D x I, W_n: N x D x I, W_m: N x D x M
param  U_r: N x D x D = orthogonal, U_z: N x D x D, U_n: N x D x D, b_z: N x D = 1
r  = sigmoid(W_r @ x + U_r @ h)
z  = sigmoid(W_z @ x + U_z @ h + b_z)
n  = tanh(W_n @ x + r * (U_n @ h) + W_m @ m)
h' = z * h + (1 - z) * n
output h'
""")
def _block_gru(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    N, D = s["h"].shape[1:]
    flat = s["h"].flatten(1)

    def of_x(name: str, v: Any) -> Any:
        return v @ p[name].flatten(0, 1).T

    def of_h(name: str) -> Any:
        return flat @ torch.block_diag(*p[name]).T

    r = torch.sigmoid(of_x("W_r", x["x"]) + of_h("U_r"))
    z = torch.sigmoid(of_x("W_z", x["x"]) + of_h("U_z") + p["b_z"].flatten())
    n = torch.tanh(of_x("W_n", x["x"]) + r * of_h("U_n") + of_x("W_m", x["m"]))
    h = (z * flat + (1 - z) * n).unflatten(1, (N, D))
    return {"h_next": h}, {"h": h}
