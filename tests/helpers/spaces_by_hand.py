"""Linear recurrences and state spaces of the catalogue by hand in PyTorch, complex where they are.

Not here: the loop over time and the comparison (torch_by_hand.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import silu
from torch_by_hand import Tensors, family


def affine(p: Tensors, k: str, x: Any) -> Any:
    return x @ p[f"W_{k}"].T + p[f"b_{k}"]


@family(lower_bound=(0.25,))
def hgrn(p: Tensors, x: Tensors, s: Tensors, lower_bound: float = 0.0) -> tuple[Tensors, Tensors]:
    let_in = (1 - lower_bound) * torch.sigmoid(-affine(p, "f", x["x"]))
    h = torch.lerp(s["h"], silu(affine(p, "i", x["x"])), let_in)
    return {"h_next": h}, {"h": h}


@family(discretisation=("bilinear",))
def s4d(p: Tensors, x: Tensors, s: Tensors, discretisation: str = "zoh") -> tuple[Tensors, Tensors]:
    A = torch.complex(-p["A_log"].exp(), p["w"])
    dt = p["log_dt"].exp()[:, None]
    if discretisation == "zoh":
        a, b = torch.exp(dt * A), (torch.exp(dt * A) - 1) / A
    else:
        a, b = (1 + dt * A / 2) / (1 - dt * A / 2), dt / (1 - dt * A / 2)
    h = a * torch.complex(s["h"], s["g"]) + x["u"][..., None]
    y = 2 * (torch.complex(p["C"], p["E"]) * b * h).sum(-1).real
    return {"y": y + p["skip"] * x["u"]}, {"h": h.real, "g": h.imag}


@family(within={"theta": lambda v: v / 4})
def lru(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    a = torch.polar(torch.exp(-p["nu"].exp()), p["theta"].exp())
    B = torch.complex(p["B"], p["E"]) * p["gamma"].exp()[:, None]
    h = a * torch.complex(s["h"], s["g"]) + torch.complex(x["x"], 0 * x["x"]) @ B.T
    y = (h @ torch.complex(p["C"], p["F"]).T).real
    return {"y": y + p["skip"] * x["x"]}, {"h": h.real, "g": h.imag}


@family(pooling=("f", "ifo"), window=(1,))
def qrnn(
    p: Tensors, x: Tensors, s: Tensors, pooling: str = "fo", window: int = 2
) -> tuple[Tensors, Tensors]:
    def seen(k: str) -> Any:
        before = s["l"] @ p[f"V_{k}"].T if window == 2 else 0
        return affine(p, k, x["x"]) + before

    f = torch.sigmoid(seen("f"))
    i = torch.sigmoid(seen("i")) if pooling == "ifo" else 1 - f
    c = f * s["c"] + i * torch.tanh(seen("z"))
    after = {"c": c} | ({"l": x["x"]} if window == 2 else {})
    if pooling == "f":
        return {"c_next": c}, after
    return {"h": torch.sigmoid(seen("o")) * c}, after


@family()
def t_rnn(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    h = torch.lerp(affine(p, "z", x["x"]), s["h"], torch.sigmoid(affine(p, "f", x["x"])))
    return {"h_next": h}, {"h": h}


def _typed(p: Tensors, x: Tensors, s: Tensors, activation: str) -> tuple[Any, Any, Any]:
    z, f, o = (affine(p, k, x["x"]) + s["l"] @ p[f"V_{k}"].T for k in "zfo")
    return z, torch.sigmoid(f), torch.tanh(o) if activation == "tanh" else torch.relu(o)


@family(activation=("relu",))
def t_gru(p: Tensors, x: Tensors, s: Tensors, activation: str = "tanh") -> tuple[Tensors, Tensors]:
    z, f, o = _typed(p, x, s, activation)
    h = f * s["h"] + z * o
    return {"h_next": h}, {"h": h, "l": x["x"]}


@family(activation=("relu",))
def t_lstm(p: Tensors, x: Tensors, s: Tensors, activation: str = "tanh") -> tuple[Tensors, Tensors]:
    z, f, o = _typed(p, x, s, activation)
    c = torch.lerp(z, s["c"], f)
    return {"h": c * o}, {"c": c, "l": x["x"]}


@family(activation=("tanh",), scale=(1.7320508,))
def sru_v2(
    p: Tensors, x: Tensors, s: Tensors, activation: str = "identity", scale: float = 1.0
) -> tuple[Tensors, Tensors]:
    """The form of the authors' code: differences, one gate each."""
    u = x["x"] @ p["W"].T
    f, r = (torch.sigmoid(affine(p, k, x["x"]) + p[f"v_{k}"] * s["c"]) for k in "fr")
    c = u + (s["c"] - u) * f
    seen = torch.tanh(c) if activation == "tanh" else c
    return {"h": (seen - scale * x["x"]) * r + scale * x["x"]}, {"c": c}


@family(activation=("relu",))
def lmu(p: Tensors, x: Tensors, s: Tensors, activation: str = "tanh") -> tuple[Tensors, Tensors]:
    u = torch.cat([x["x"], s["h"], s["m"]], dim=1)
    u = u @ torch.cat([p["e_x"], p["e_h"], p["e_m"]], dim=1).T
    m = torch.cat([s["m"], u], dim=1) @ torch.cat([p["A"], p["B"][:, None]], dim=1).T
    W = torch.cat([p["W"], p["U"], p["V"]], dim=1)
    h = torch.cat([x["x"], s["h"], m], dim=1) @ W.T
    h = torch.tanh(h) if activation == "tanh" else torch.relu(h)
    return {"h_next": h}, {"h": h, "m": m}


@family(within={"t": lambda t: abs(t) * 0 + 3})
def hippo_legs(p: Tensors, x: Tensors, s: Tensors) -> tuple[Tensors, Tensors]:
    t = s["t"] + 1
    step = torch.cat([s["m"], x["u"]], dim=1) @ torch.cat([p["A"], p["B"][:, None]], dim=1).T
    m = s["m"] + step / t
    return {"m_next": m}, {"m": m, "t": t}
