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
