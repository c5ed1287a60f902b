"""Neurons, clocks and reflections of the catalogue by hand in PyTorch.

Not here: the loop over time and the comparison (torch_by_hand.py).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch_by_hand import Tensors, family

Both = tuple[Tensors, Tensors]


@family(
    within={
        "t": lambda t: np.round(abs(t)),
        "period": lambda v: np.array([1.0, 1, 2, 2, 3, 4]),
        "M": lambda v: np.triu(np.ones_like(v)),
    }
)
def clockwork(p: Tensors, x: Tensors, s: Tensors) -> Both:
    """Unit by unit and row by row."""
    new = torch.tanh(x["x"] @ p["W"].T + s["h"] @ (p["U"] * p["M"]).T + p["b"])
    rows = []
    for n in range(len(new)):
        clock = int(s["t"][n])
        steps = [clock % int(period) == 0 for period in p["period"]]
        units = [new[n, j] if step else s["h"][n, j] for j, step in enumerate(steps)]
        rows.append(torch.stack(units))
    h = torch.stack(rows)
    return {"h_next": h}, {"h": h, "t": s["t"] + 1}


@family(reflections=(1, 2, 3, 6, 8), activation=("tanh",))
def householder_rnn(
    p: Tensors, x: Tensors, s: Tensors, reflections: int = 4, activation: str = "leaky_relu"
) -> Both:
    Q = torch.eye(s["h"].shape[1], dtype=torch.float64)
    for k in range(1, reflections + 1):
        v = p[f"v_{k}"] / p[f"v_{k}"].norm()
        Q = Q @ (torch.eye(len(v), dtype=torch.float64) - 2 * torch.outer(v, v))
    a = x["x"] @ p["W"].T + s["h"] @ Q.T + p["b"]
    h = torch.tanh(a) if activation == "tanh" else torch.nn.functional.leaky_relu(a)
    return {"h_next": h}, {"h": h}


@family(unfolds=(1, 2, 3, 4), within={"elapsed": lambda v: abs(v) + 0.5})
def ltc(p: Tensors, x: Tensors, s: Tensors, unfolds: int = 6) -> Both:
    """Synapse by synapse, [B, target, source]."""
    sensory = p["w_x"] * torch.sigmoid(p["sigma_x"] * (x["x"][:, None] - p["mu_x"]))
    c = p["cm"] / (x["elapsed"] / unfolds)
    v = s["v"]
    for _ in range(unfolds):
        synapses = p["w"] * torch.sigmoid(p["sigma"] * (v[:, None] - p["mu"]))
        drive = (synapses * p["e"]).sum(-1) + (sensory * p["e_x"]).sum(-1)
        leak = synapses.sum(-1) + sensory.sum(-1)
        v = (c * v + p["g"] * p["v_l"] + drive) / (c + p["g"] + leak + 1e-8)
    return {"v_next": v}, {"v": v}


class _Spike(torch.autograd.Function):
    """1 where u > 0, with the derivative of a surrogate."""

    @staticmethod
    def forward(ctx: Any, u: Any, surrogate: str) -> Any:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        (u,) = ctx.saved_tensors
        if ctx.surrogate == "atan":
            return d / (1 + (math.pi * u) ** 2), None
        if ctx.surrogate == "fast_sigmoid":
            return d / (25 * u.abs() + 1) ** 2, None
        soft = torch.sigmoid(25 * u)
        return d * 25 * soft * (1 - soft), None


@family(
    reset=("zero", "none"), surrogate=("fast_sigmoid", "sigmoid"), threshold=(0.25,),
    recurrent=(True,),
)  # fmt: skip
def lif(
    p: Tensors,
    x: Tensors,
    s: Tensors,
    reset: str = "subtract",
    surrogate: str = "atan",
    threshold: float = 1.0,
    recurrent: bool = False,
) -> Both:
    current = x["x"] + (s["z"] @ p["V"].T + p["b"] if recurrent else 0)
    fired = (s["U"] > threshold).to(torch.float64)
    kept = p["beta"].clamp(0, 1) * s["U"]
    if reset == "zero":
        kept = torch.where(fired > 0, torch.zeros_like(kept), kept)
    U = kept + current - (fired * threshold if reset == "subtract" else 0)
    z = _Spike.apply(U - threshold, surrogate)
    return {"z_next" if recurrent else "z": z}, {"U": U} | ({"z": z} if recurrent else {})
