"""Matrix memories of the catalogue by hand in PyTorch: linear attention, delta rules, xLSTM.

Not here: the loop over time and the comparison (torch_by_hand.py).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import layer_norm, logsigmoid, normalize, silu, softplus
from torch_by_hand import Tensors, family


def head(W: Any, x: Any) -> Any:
    """W[n] x for every head n: [B, N, width]."""
    return torch.stack([x @ M.T for M in W], dim=1)


def blocks(R: Any, h: Any) -> Any:
    """R[n] h[n] for every head n, by one block-diagonal matrix."""
    return (h.flatten(1) @ torch.block_diag(*R).T).unflatten(1, h.shape[1:])


def column(v: Any) -> Any:
    return v[..., :, None]


def line(v: Any) -> Any:
    return v[..., None, :]


def read(S: Any, q: Any) -> Any:
    return (S @ column(q))[..., 0]


def unit(v: Any) -> Any:
    return v * (v.square().sum(-1, keepdim=True) + 1e-6).rsqrt()


@family(normalised=(False,), feature_map=("identity",))
def linear_attention(
    p: Tensors, x: Tensors, s: Tensors, normalised: bool = True, feature_map: str = "elu"
) -> tuple[Tensors, Tensors]:
    def phi(v: Any) -> Any:
        return torch.where(v > 0, v + 1, v.clamp(max=0).exp()) if feature_map == "elu" else v

    q, k, v = phi(head(p["W_q"], x["x"])), phi(head(p["W_k"], x["x"])), head(p["W_v"], x["x"])
    S = s["S"] + column(v) @ line(k)
    if not normalised:
        return {"y": read(S, q)}, {"S": S}
    z = s["z"] + k
    return {"y": read(S, q) / ((z * q).sum(-1, keepdim=True) + 1e-6)}, {"S": S, "z": z}


@family(rotation=(False,))
def retnet(p: Tensors, x: Tensors, s: Tensors, rotation: bool = True) -> tuple[Tensors, Tensors]:
    g, v = p["g"][:, None, None], head(p["W_v"], x["x"])
    if not rotation:
        S = g * s["S"] + column(v) @ line(head(p["W_k"], x["x"]))
        return {"y": read(S, head(p["W_q"], x["x"]))}, {"S": S}
    turn = torch.exp(1j * s["t"] * p["angle"])[:, None]
    q = turn * torch.complex(head(p["W_q"], x["x"]), head(p["V_q"], x["x"]))
    k = turn * torch.complex(head(p["W_k"], x["x"]), head(p["V_k"], x["x"]))
    S = g * torch.complex(s["S"], s["Z"]) + column(v) * line(k)
    y = (S * line(q.conj())).sum(-1).real
    return {"y": y}, {"S": S.real, "Z": S.imag, "t": s["t"] + 1}


@family()
def gla(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    low = x["x"] @ p["A"].T
    a = torch.sigmoid(head(p["W_a"], low) + p["b_a"]) ** 0.0625
    k, v = head(p["W_k"], x["x"]), head(p["W_v"], x["x"])
    S = s["S"] @ torch.diag_embed(a) + column(v) @ line(k)
    return {"y": read(S, head(p["W_q"], x["x"]))}, {"S": S}


def _keys(p: Tensors, x: Tensors) -> tuple[Any, Any, Any]:
    q, k, v = (silu(head(p[f"W_{n}"], x["x"])) for n in "qkv")
    return unit(q), unit(k), v


def _householder(k: Any, b: Any) -> Any:
    """I - b k k', for every head."""
    return torch.eye(k.shape[-1], dtype=k.dtype) - column(b[..., None] * k) @ line(k)


@family(negative=(True,))
def deltanet(p: Tensors, x: Tensors, s: Tensors, negative: bool = False) -> tuple[Tensors, Tensors]:
    q, k, v = _keys(p, x)
    b = torch.sigmoid(x["x"] @ p["w_b"].T) * (2 if negative else 1)
    S = s["S"] @ _householder(k, b) + column(b[..., None] * v) @ line(k)
    return {"y": read(S, q)}, {"S": S}


@family(negative=(True,))
def gated_deltanet(
    p: Tensors, x: Tensors, s: Tensors, negative: bool = False
) -> tuple[Tensors, Tensors]:
    q, k, v = _keys(p, x)
    a = torch.exp(-p["A_log"].exp() * softplus(x["x"] @ p["w_a"].T + p["b_a"]))
    b = torch.sigmoid(x["x"] @ p["w_b"].T) * (2 if negative else 1)
    S = a[..., None, None] * s["S"] @ _householder(k, b) + column(b[..., None] * v) @ line(k)
    return {"y": read(S, q)}, {"S": S}


@family(safe_gate=(True,))
def kda(p: Tensors, x: Tensors, s: Tensors, safe_gate: bool = False) -> tuple[Tensors, Tensors]:
    q, k, v = _keys(p, x)
    g, rate = head(p["W_a"], x["x"] @ p["A"].T) + p["b_a"], p["A_log"].exp()[:, None]
    a = torch.exp(-5 * torch.sigmoid(rate * g) if safe_gate else -rate * softplus(g))
    b = torch.sigmoid(x["x"] @ p["w_b"].T)
    S = s["S"] @ torch.diag_embed(a) @ _householder(k, b) + column(b[..., None] * v) @ line(k)
    return {"y": read(S, q)}, {"S": S}


@family(forget_gate=("exp",))
def mlstm(
    p: Tensors, x: Tensors, s: Tensors, forget_gate: str = "sigmoid"
) -> tuple[Tensors, Tensors]:
    q, k, v = (head(p[f"W_{n}"], x["x"]) + p[f"b_{n}"] for n in "qkv")
    o = torch.sigmoid(head(p["W_o"], x["x"]) + p["b_o"])
    log_i, log_f = x["x"] @ p["w_i"].T + p["b_i"], x["x"] @ p["w_f"].T + p["b_f"]
    if forget_gate == "sigmoid":
        log_f = -softplus(-log_f)
    m = torch.maximum(log_f + s["m"], log_i)
    f, i = torch.exp(log_f + s["m"] - m)[..., None], torch.exp(log_i - m)[..., None]
    C = f[..., None] * s["C"] + column(i * v) @ line(k)
    n = f * s["n"] + i * k
    size = torch.maximum(torch.einsum("bnk,bnk->bn", n, q).abs(), torch.exp(-m))
    return {"h": o * read(C, q) / size[..., None]}, {"C": C, "n": n, "m": m}


@family(forget_gate=("exp",), normaliser=("bounded",), within={"n": lambda n: abs(n) + 0.5})
def slstm(
    p: Tensors, x: Tensors, s: Tensors, forget_gate: str = "sigmoid", normaliser: str = "sum"
) -> tuple[Tensors, Tensors]:
    def gate(k: str) -> Any:
        return head(p[f"W_{k}"], x["x"]) + blocks(p[f"R_{k}"], s["h"]) + p[f"b_{k}"]

    log_f = (logsigmoid(gate("f")) if forget_gate == "sigmoid" else gate("f")) + s["m"]
    m = torch.maximum(log_f, gate("i"))
    i, f = torch.exp(gate("i") - m), torch.exp(log_f - m)
    c = f * s["c"] + i * torch.tanh(gate("z"))
    n = f * s["n"] + i
    if normaliser == "bounded":
        n = n.clamp(min=1)
    h = torch.sigmoid(gate("o")) * c / n
    return {"h_next": h}, {"h": h, "c": c, "n": n, "m": m}


@family()
def mamba(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    u = x["u"]
    dt = softplus(u @ p["W_r"].T @ p["W_dt"].T + p["b_dt"])
    decay = torch.exp(torch.einsum("bd,dk->bdk", dt, -p["A_log"].exp()))
    h = decay * s["h"] + torch.einsum("bd,bk->bdk", dt * u, u @ p["W_B"].T)
    y = torch.einsum("bdk,bk->bd", h, u @ p["W_C"].T)
    return {"y": y + p["skip"] * u}, {"h": h}


@family()
def mamba2(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    v, B, C = head(p["W_v"], x["x"]), x["x"] @ p["W_B"].T, x["x"] @ p["W_C"].T
    dt = softplus(x["x"] @ p["w_dt"].T + p["b_dt"])
    heads = []
    for n in range(v.shape[1]):
        step = dt[:, n, None, None]
        decay = torch.exp(step * -torch.exp(p["A_log"][n]))
        heads.append(decay * s["S"][:, n] + step * column(v[:, n]) @ line(B))
    S = torch.stack(heads, dim=1)
    y = torch.stack([read(one, C) for one in heads], dim=1)
    return {"y": y + p["skip"][:, None] * v}, {"S": S}


@family(lower_bound=(0.25,))
def hgrn2(p: Tensors, x: Tensors, s: Tensors, lower_bound: float = 0.0) -> tuple[Tensors, Tensors]:
    forget = torch.sigmoid(head(p["W_f"], x["x"]))
    k = (1 - lower_bound) * (1 - forget)
    S = s["S"] @ torch.diag_embed(1 - k) + column(head(p["W_v"], x["x"])) @ line(k)
    return {"y": read(S, silu(head(p["W_q"], x["x"])))}, {"S": S}


@family(transition=("cartesian",))
def gateloop(
    p: Tensors, x: Tensors, s: Tensors, transition: str = "polar"
) -> tuple[Tensors, Tensors]:
    q, k, v, u, w = (head(p[f"W_{n}"], x["x"]) for n in "qkvuw")
    if transition == "polar":
        a = torch.polar(torch.sigmoid(u), w)
    else:
        z = torch.complex(u, w)
        a = torch.polar(torch.sigmoid(z.abs()), z.angle())
    S = torch.complex(s["S"], s["Z"]) * line(a) + column(v) * line(k)
    return {"y": read(S.real, q)}, {"S": S.real, "Z": S.imag}


@family(erase=("decayed",))
def comba(p: Tensors, x: Tensors, s: Tensors, erase: str = "previous") -> tuple[Tensors, Tensors]:
    q, k, v = _keys(p, x)
    a = torch.exp(-p["A_log"].exp() * softplus(x["x"] @ p["w_a"].T + p["b_a"]))[..., None, None]
    b = torch.sigmoid(x["x"] @ p["w_b"].T)[..., None]
    erasing = torch.sigmoid(p["d"])[:, None] * k
    before = s["S"] if erase == "previous" else a * s["S"]
    S = a * s["S"] - column(b * read(before, erasing)) @ line(k) + column(b * v) @ line(k)
    return {"y": read(S, q - p["D_q"][:, None] * erasing)}, {"S": S}


@family()
def gdn2(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    q, k, v = _keys(p, x)
    g = head(p["W_a"], x["x"] @ p["A"].T) + p["b_a"]
    decay = torch.diag_embed(torch.exp(-p["A_log"].exp()[:, None] * softplus(g)))
    e, w = torch.sigmoid(head(p["W_e"], x["x"])), torch.sigmoid(head(p["W_w"], x["x"]))
    erase = torch.eye(k.shape[-1], dtype=k.dtype) - column(e * k) @ line(k)
    S = s["S"] @ decay @ erase + column(w * v) @ line(k)
    return {"y": read(S, q)}, {"S": S}


@family()
def longhorn(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    u = x["u"]
    k, q = u @ p["W_k"].T, u @ p["W_q"].T
    beta = torch.sigmoid(u @ p["W_r"].T @ p["W_b"].T + p["b"])
    rate = 1 / (1 / beta + k.square().sum(-1, keepdim=True))
    h = s["h"] * (1 - column(rate) @ line(k.square())) + column(rate * u) @ line(k)
    return {"y": read(h, q) + p["skip"] * u}, {"h": h}


@family(token_shift=(False,), within={"b": lambda b: abs(b) + 0.5})
def rwkv4(p: Tensors, x: Tensors, s: Tensors, token_shift: bool = True) -> tuple[Tensors, Tensors]:
    """Without the stabiliser: sums that are what they say."""

    def seen(k: str) -> Any:
        mixed = torch.lerp(s["l"], x["x"], p[f"m_{k}"]) if token_shift else x["x"]
        return mixed @ p[f"W_{k}"].T

    r, k, v = seen("r"), seen("k"), seen("v")
    a, b = s["a"] * s["o"].exp(), s["b"] * s["o"].exp()
    now = torch.exp(p["u"] + k)
    y = torch.sigmoid(r) * (a + now * v) / (b + now)
    fade = torch.exp(-torch.exp(p["decay"]))
    a, b = fade * a + k.exp() * v, fade * b + k.exp()
    o = torch.maximum(s["o"] - torch.exp(p["decay"]), k)
    after = {"a": a / o.exp(), "b": b / o.exp(), "o": o}
    return {"y": y}, after | ({"l": x["x"]} if token_shift else {})


def _rwkv(p: Tensors, x: Tensors, s: Tensors, d: Any) -> tuple[Tensors, Tensors]:
    """The bonus as a second memory, which holds the present step alone."""
    r, k, v = (head(p[f"W_{n}"], x["x"]) for n in "rkv")
    now = column(v) @ line(k)
    y = read(s["S"] + now @ torch.diag_embed(p["u"]), r)
    return {"y": y}, {"S": s["S"] @ torch.diag_embed(torch.exp(-torch.exp(d))) + now}


@family()
def rwkv5(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    return _rwkv(p, x, s, p["d"])


@family()
def rwkv6(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    return _rwkv(p, x, s, p["w_0"] + head(p["W_d"], torch.tanh(x["x"] @ p["A"].T)))


@family()
def rwkv7(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    r, v, k = head(p["W_r"], x["x"]), head(p["W_v"], x["x"]), head(p["W_k"], x["x"])
    inner = p["w_0"] + head(p["W_w"], torch.tanh(x["x"] @ p["A_w"].T))
    w = torch.exp(-torch.sigmoid(inner) / math.sqrt(math.e))
    a = torch.sigmoid(p["a_0"] + head(p["W_a"], x["x"] @ p["A_a"].T))
    z = normalize(k * p["k_k"], dim=-1)
    k = k * (1 + (a - 1) * p["k_a"])
    change = torch.diag_embed(w) - column(z) @ line(z * a)
    S = s["S"] @ change + column(v) @ line(k)
    return {"y": read(S, r) + (r * k * p["r_k"]).sum(-1, keepdim=True) * v}, {"S": S}


@family(rate=(0.25,), output=("own",))
def ttt_linear(
    p: Tensors, x: Tensors, s: Tensors, rate: float = 1.0, output: str = "query"
) -> tuple[Tensors, Tensors]:
    """The inner gradient by autograd."""
    q, k, v = (head(p[f"W_{n}"], x["x"]) for n in "qkv")

    def normed(z: Any) -> Any:
        return layer_norm(z, z.shape[-1:], eps=1e-6) * p["gain"] + p["shift"]

    z = read(s["W"], k) + s["b"]
    loss = 0.5 * (normed(z) - (v - k)).square().sum()
    (G,) = torch.autograd.grad(loss, z, create_graph=True)
    e = rate * torch.sigmoid(x["x"] @ p["w_l"].T + p["b_l"])[..., None]
    W, b = s["W"] - column(e * G) @ line(k), s["b"] - e * G
    o = read(W, q) + b
    return {"y": (q if output == "query" else o) + normed(o)}, {"W": W, "b": b}


@family()
def titans(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    """The inner gradient by autograd."""
    q, k, v = _keys(p, x)
    a, e, t = (torch.sigmoid(x["x"] @ p[f"w_{n}"].T + p[f"b_{n}"])[..., None, None] for n in "aet")
    loss = (read(s["M"], k) - v).square().sum()
    (G,) = torch.autograd.grad(loss, s["M"], create_graph=True)
    Z = e * s["Z"] - t * G
    M = (1 - a) * s["M"] + Z
    return {"y": read(M, q)}, {"M": M, "Z": Z}
