"""Gated cells of the catalogue by hand in PyTorch: relatives of LSTM and GRU.

Not here: the loop over time and the comparison (torch_by_hand.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import softplus
from torch_by_hand import Tensors, family

Both = tuple[Tensors, Tensors]


def gate(p: Tensors, k: str, x: Any, h: Any) -> Any:
    """W_k x + U_k h + b_k, by one matrix of [x; h]."""
    joined = torch.cat([p[f"W_{k}"], p[f"U_{k}"]], dim=1)
    return torch.cat([x, h], dim=1) @ joined.T + p[f"b_{k}"]


def lstm(p: Tensors, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
    i, f, g, o = (gate(p, k, x, h) for k in "ifgo")
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(p: Tensors, x: Any, h: Any) -> Any:
    """Reset before the product, z keeps."""
    n = torch.tanh(gate(p, "n", x, torch.sigmoid(gate(p, "r", x, h)) * h))
    return torch.lerp(n, h, torch.sigmoid(gate(p, "z", x, h)))


@family(squashing=("tanh",), truncated=(True,))
def lstm97(
    p: Tensors, x: Tensors, s: Tensors, squashing: str = "paper", truncated: bool = False
) -> Both:
    h = s["h"].detach() if truncated else s["h"]
    i, g, o = (gate(p, k, x["x"], h) for k in "igo")
    half = 2 if squashing == "paper" else 1  # 2 sigmoid(v) - 1 is tanh(v / 2)
    c = s["c"] + torch.sigmoid(i) * half * torch.tanh(g / half)
    after = torch.sigmoid(o) * torch.tanh(c / half)
    return {"h_next": after}, {"h": after, "c": c}


@family(candidate=("input",))
def wmc_lstm(p: Tensors, x: Tensors, s: Tensors, candidate: str = "both") -> Both:
    i, f, o = (gate(p, k, x["x"], s["h"]) for k in "ifo")
    g = gate(p, "g", x["x"], s["h"]) if candidate == "both" else x["x"] @ p["W_g"].T + p["b_g"]
    i, f = (a + torch.tanh(s["c"] @ p[f"V_{k}"].T) for a, k in ((i, "i"), (f, "f")))
    c = torch.sigmoid(f) * s["c"] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o + torch.tanh(c @ p["V_o"].T)) * torch.tanh(c)
    return {"h_next": h}, {"h": h, "c": c}


@family()
def mc_lstm(p: Tensors, x: Tensors, s: Tensors) -> Both:
    h, c = lstm(p, x["x"], s["v"], s["c"])
    v = torch.sigmoid(gate(p, "m", x["x"], s["v"])) * torch.tanh(c)
    return {"h": h}, {"v": v, "c": c}


@family()
def res_lstm(p: Tensors, x: Tensors, s: Tensors) -> Both:
    a = {k: gate(p, k, x["x"], s["h"]) for k in "ifgo"}
    f, i = (torch.sigmoid(a[k] + p[f"p_{k}"] * s["c"]) for k in "fi")
    c = f * s["c"] + i * torch.tanh(a["g"])
    both = torch.cat([torch.tanh(c), x["x"]], dim=1) @ torch.cat([p["P"], p["R"]], dim=1).T
    h = torch.sigmoid(a["o"] + p["p_o"] * c) * both
    return {"h_next": h}, {"h": h, "c": c}


@family()
def indy_gru(p: Tensors, x: Tensors, s: Tensors) -> Both:
    wide = {**p, **{f"U_{k}": torch.diag(p[f"u_{k}"]) for k in "rzn"}}
    h = gru(wide, x["x"], s["h"])
    return {"h_next": h}, {"h": h}


def _from_stacked(a: Any, c: Any) -> tuple[Any, Any]:
    i, f, z, o = a.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(z)
    return torch.sigmoid(o) * torch.tanh(c), c


@family(rows=("joined",))
def weight_norm_lstm(p: Tensors, x: Tensors, s: Tensors, rows: str = "apart") -> Both:
    unit = torch.nn.functional.normalize
    if rows == "apart":
        joined = torch.cat([p["g"][:, None] * unit(p["V"]), p["r"][:, None] * unit(p["U"])], dim=1)
    else:
        joined = p["g"][:, None] * unit(torch.cat([p["V"], p["U"]], dim=1))
    h, c = _from_stacked(torch.cat([x["x"], s["h"]], dim=1) @ joined.T + p["b"], s["c"])
    return {"h_next": h}, {"h": h, "c": c}


@family(within={name: lambda v: v / (v**2).sum() ** 0.5 for name in ("u_W", "v_W", "u_U", "v_U")})
def spectral_lstm(p: Tensors, x: Tensors, s: Tensors) -> Both:
    W = p["W"] / torch.einsum("i,ij,j->", p["u_W"], p["W"], p["v_W"])
    U = p["U"] / torch.einsum("i,ij,j->", p["u_U"], p["U"], p["v_U"])
    h, c = _from_stacked(x["x"] @ W.T + s["h"] @ U.T + p["b"], s["c"])
    return {"h_next": h}, {"h": h, "c": c}


@family(rounds=(0, 1, 2, 3, 4, 6), low_rank=(True,), cap_input_gate=(True,))
def mogrifier_lstm(
    p: Tensors,
    x: Tensors,
    s: Tensors,
    rounds: int = 5,
    low_rank: bool = False,
    cap_input_gate: bool = False,
) -> Both:
    pair = [s["h"], x["x"]]
    for k in range(1, rounds + 1):
        M = p[f"{'QR'[1 - k % 2]}_{k}"]
        M = M @ p[f"S_{k}"] if low_rank else M
        scale = 1 + torch.tanh((pair[1 - k % 2] @ M.T + p[f"b_{k}"]) / 2)
        pair[k % 2] = scale * pair[k % 2]
    h, v = pair
    i, f, g, o = (gate(p, k, v, h) for k in "ifgo")
    i, f = torch.sigmoid(i), torch.sigmoid(f)
    if cap_input_gate:
        i = torch.where(i < 1 - f, i, 1 - f)
    c = f * s["c"] + i * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return {"h_next": h}, {"h": h, "c": c}


@family(depth=(1, 2, 4, 5, 6, 8, 10), coupled=(False,))
def rhn(p: Tensors, x: Tensors, s: Tensors, depth: int = 3, coupled: bool = True) -> Both:
    h = s["h"]
    for k in range(1, depth + 1):
        a = {y: h @ p[f"R_{y}{k}"].T + p[f"b_{y}{k}"] for y in ("nt" if coupled else "ntc")}
        if k == 1:
            a = {y: v + x["x"] @ p[f"W_{y}"].T for y, v in a.items()}
        keep = torch.sigmoid(-a["t"] if coupled else a["c"])
        h = torch.tanh(a["n"]) * torch.sigmoid(a["t"]) + h * keep
    return {"h_next": h}, {"h": h}


@family()
def zoneout_lstm(p: Tensors, x: Tensors, s: Tensors) -> Both:
    h, c = lstm(p, x["x"], s["h"], s["c"])
    h, c = torch.lerp(s["h"], h, x["m_h"]), torch.lerp(s["c"], c, x["m_c"])
    return {"h_next": h}, {"h": h, "c": c}


@family(masks_of=("untied",))
def variational_lstm(p: Tensors, x: Tensors, s: Tensors, masks_of: str = "tied") -> Both:
    """The masks on the columns of each row's matrices."""
    a = []
    for k in "ifgo":
        end = "" if masks_of == "tied" else f"_{k}"
        W = p[f"W_{k}"] * x[f"m_x{end}"][:, None]
        U = p[f"U_{k}"] * x[f"m_h{end}"][:, None]
        a.append((W @ x["x"][..., None] + U @ s["h"][..., None])[..., 0] + p[f"b_{k}"])
    h, c = _from_stacked(torch.cat([a[0], a[1], a[2], a[3]], dim=-1), s["c"])
    return {"h_next": h}, {"h": h, "c": c}


@family(within={"m": lambda m: (m > 0) * 1.0, "delta": abs})
def gru_d(p: Tensors, x: Tensors, s: Tensors) -> Both:
    m = x["m"]
    e = torch.exp(-torch.clamp(p["w_x"] * x["delta"] + p["a_x"], min=0))
    fade = torch.exp(-torch.clamp(x["delta"] @ p["W_d"].T + p["a_h"], min=0))
    seen = torch.lerp(torch.lerp(p["mean_x"].expand_as(e), s["l"], e), x["x"], m)
    h = fade * s["h"]
    wide = {**p, **{f"W_{k}": torch.cat([p[f"W_{k}"], p[f"V_{k}"]], dim=1) for k in "rzn"}}
    both = torch.cat([seen, m], dim=1)
    r, z = torch.sigmoid(gate(wide, "r", both, h)), torch.sigmoid(gate(wide, "z", both, h))
    n = torch.tanh(gate(wide, "n", both, r * h))
    h = torch.lerp(h, n, z)
    return {"h_next": h}, {"h": h, "l": torch.lerp(s["l"], x["x"], m)}


@family(score=("agru", "aigru"))
def augru(p: Tensors, x: Tensors, s: Tensors, score: str = "augru") -> Both:
    v = x["a"] * x["x"] if score == "aigru" else x["x"]
    r = torch.sigmoid(gate(p, "r", v, s["h"]))
    n = torch.tanh(gate(p, "n", v, r * s["h"]))
    z = x["a"] if score == "agru" else torch.sigmoid(gate(p, "z", v, s["h"]))
    z = z * x["a"] if score == "augru" else z
    h = torch.lerp(s["h"], n, z.expand_as(n))
    return {"h_next": h}, {"h": h}


@family(variant=(2,), keep=(0.25,), theta=(0.75,))
def miru(
    p: Tensors, x: Tensors, s: Tensors, variant: int = 1, keep: float = 0.5, theta: float = 0.5
) -> Both:
    r = torch.sigmoid(gate(p, "r", x["x"], s["h"])) if variant == 1 else theta
    n = torch.tanh(gate(p, "n", x["x"], r * s["h"]))
    h = torch.lerp(n, s["h"], keep)
    return {"h_next": h}, {"h": h}


@family()
def sgrn(p: Tensors, x: Tensors, s: Tensors) -> Both:
    a = x["x"] @ p["W"].T + p["b"]
    h = torch.tanh(torch.lerp(a, s["h"], torch.sigmoid(a + s["h"] @ p["U"].T + p["c"])))
    return {"h_next": h}, {"h": h}


@family(deep=(True,))
def sgu(p: Tensors, x: Tensors, s: Tensors, deep: bool = False) -> Both:
    g = torch.tanh(((x["x"] @ p["W_g"].T + p["b_g"]) * s["h"]) @ p["U_g"].T + p["c_g"])
    n = torch.sigmoid((g * s["h"]) @ p["W_o"].T) if deep else softplus(g * s["h"])
    h = torch.lerp(s["h"], n, (gate(p, "z", x["x"], s["h"]) / 6 + 0.5).clamp(0, 1))
    return {"h_next": h}, {"h": h}


@family(delay=(2, 3, 4, 5))
def tau_gru(p: Tensors, x: Tensors, s: Tensors, delay: int = 1) -> Both:
    past = [s["h"], *(s[f"h_{k}"] for k in range(1, delay + 1))]
    u, g, a = (gate(p, k, x["x"], s["h"]) for k in "uga")
    fresh = torch.tanh(u) + torch.sigmoid(a) * torch.tanh(gate(p, "z", x["x"], past[-1]))
    h = torch.lerp(s["h"], fresh, torch.sigmoid(g))
    return {"h_next": h}, {"h": h, **{f"h_{k}": past[k - 1] for k in range(1, delay + 1)}}


@family(alpha=(0.5,), context=("previous",))
def scrn(p: Tensors, x: Tensors, s: Tensors, alpha: float = 0.95, context: str = "new") -> Both:
    after = torch.lerp(x["x"] @ p["B"].T, s["s"], alpha)
    seen = torch.cat([x["x"], s["h"], after if context == "new" else s["s"]], dim=1)
    h = torch.sigmoid(seen @ torch.cat([p["A"], p["R"], p["P"]], dim=1).T)
    return {"h_next": h}, {"h": h, "s": after}


@family(layer_norm=(False,))
def hyper_lstm(p: Tensors, x: Tensors, s: Tensors, layer_norm: bool = True) -> Both:
    seen = torch.cat([x["x"], s["h"], s["k"]], dim=1)
    small = [
        seen @ torch.cat([p[f"A_{y}"], p[f"B_{y}"], p[f"C_{y}"]], dim=1).T + p[f"a_{y}"]
        for y in "ifgo"
    ]
    k, inner = _from_stacked(torch.cat(small, dim=1), s["l"])

    def normal(v: Any, y: str) -> Any:
        if not layer_norm:
            return v
        return torch.nn.functional.layer_norm(v, v.shape[1:], p[f"gamma_{y}"], p[f"beta_{y}"], 1e-5)

    a = []
    for y in "ifgo":
        scale_x = (k @ p[f"Z_x{y}"].T + p[f"z_x{y}"]) @ p[f"D_x{y}"].T
        scale_h = (k @ p[f"Z_h{y}"].T + p[f"z_h{y}"]) @ p[f"D_h{y}"].T
        shift = k @ (p[f"D_b{y}"] @ p[f"Z_b{y}"]).T + p[f"b_{y}"]
        products = scale_x * (x["x"] @ p[f"W_{y}"].T) + scale_h * (s["h"] @ p[f"U_{y}"].T)
        a.append(normal(products + shift, y))
    i, f, g, o = a
    c = torch.sigmoid(f) * s["c"] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(normal(c, "c"))
    return {"h_next": h}, {"h": h, "c": c, "k": k, "l": inner}


@family()
def on_lstm(p: Tensors, x: Tensors, s: Tensors) -> Both:
    a = {k: gate(p, k, x["x"], s["h"]) for k in "FJfiog"}
    F = torch.softmax(a["F"], -1).cumsum(-1)
    J = 1 - torch.softmax(a["J"], -1).cumsum(-1)
    f, i, o = (torch.sigmoid(a[k]) for k in "fio")
    w = F * J
    c = (f * w + (F - w)) * s["c"] + (i * w + (J - w)) * torch.tanh(a["g"])
    h = o * torch.tanh(c)
    return {"h_next": h}, {"h": h, "c": c}


class _Round(torch.autograd.Function):
    """round(a), whose gradient is that of a."""

    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        return (a > 0.5).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        return d


@family()
def skip_lstm(p: Tensors, x: Tensors, s: Tensors) -> Both:
    h, c = lstm(p, x["x"], s["h"], s["c"])
    a = s["A"] + torch.minimum(s["p"], 1 - s["A"])
    u = _Round.apply(a)
    following = u * torch.sigmoid(c @ p["w"].T + p["b"]) + (1 - u) * s["p"]
    h, c = u * h + (1 - u) * s["h"], u * c + (1 - u) * s["c"]
    return {"h_next": h}, {"h": h, "c": c, "A": (1 - u) * a, "p": following}


@family(discount=("inverse",), within={"elapsed": lambda v: abs(v) + 0.5})
def time_lstm(p: Tensors, x: Tensors, s: Tensors, discount: str = "log") -> Both:
    t = x["elapsed"]
    g = 1 / torch.log(torch.e + t) if discount == "log" else 1 / t
    short = torch.tanh(s["c"] @ p["W_s"].T + p["b_s"])
    h, c = lstm(p, x["x"], s["h"], s["c"] - short * (1 - g))
    return {"h_next": h}, {"h": h, "c": c}


@family(method=("rk4",), within={"elapsed": abs})
def ode_rnn(p: Tensors, x: Tensors, s: Tensors, method: str = "euler") -> Both:
    def slope(h: Any) -> Any:
        return torch.tanh(h @ p["A"].T + p["a"]) @ p["B"].T + p["b"]

    h, t = s["h"], x["elapsed"]
    if method == "euler":
        h = h + t * slope(h)
    else:
        slopes = [slope(h)]
        for share in (0.5, 0.5, 1):
            slopes.append(slope(h + share * t * slopes[-1]))
        h = h + t * sum(w * f for w, f in zip((1, 2, 2, 1), slopes, strict=True)) / 6
    h = gru(p, x["x"], h)
    return {"h_next": h}, {"h": h}
