"""Families of the catalogue written by hand in NumPy: loops of one step over rows.

In: {name: array}, weights named as the catalogue names them.  Out: the next states.
Not here: the tests (unit/project/test_cells.py).

The forms differ from the catalogue's on purpose: gates by exp, tanh by sigmoid, explicit matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def s(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def th(v: Any) -> Any:
    return 2 * s(2 * v) - 1


ACT: dict[str, Callable[[Any], Any]] = {
    "tanh": th,
    "relu": lambda v: np.where(v > 0, v, 0.0),
    "identity": lambda v: v,
}


def of(v: Arrays, matrix: str, array: Any) -> Any:
    return np.einsum("hk,bk->bh", v[matrix], array)


def gate(v: Arrays, k: str) -> Any:
    """W_k x, and b_k and U_k h where there are such parameters."""
    found = of(v, f"W_{k}", v["x"])
    found = found + v.get(f"b_{k}", 0)
    return found + (of(v, f"U_{k}", v["h"]) if f"U_{k}" in v else 0)


def ran(v: Arrays, activation: str = "tanh") -> Arrays:
    c = s(gate(v, "i")) * gate(v, "c") + s(gate(v, "f")) * v["c"]
    return {"h": ACT[activation](c), "c": c}


def atr(v: Arrays) -> Arrays:
    p = of(v, "W", v["x"]) + v["b"]
    q = of(v, "U", v["h"])
    both = np.exp(p)
    return {"h": p * both / (both + np.exp(-q)) + v["h"] * both / (both + np.exp(q))}


def star(v: Arrays, source: str = "paper") -> Arrays:
    z, a = th(gate(v, "z")), gate(v, "k")
    if source == "code":
        return {"h": th(s(a) * v["h"] + s(1 - a) * z)}
    return {"h": th(s(-a) * v["h"] + s(a) * z)}


def light_ru(v: Arrays, activation: str = "tanh") -> Arrays:
    f = s(gate(v, "f"))
    return {"h": v["h"] + f * (ACT[activation](gate(v, "n")) - v["h"])}


def mut(v: Arrays, variant: int = 1) -> Arrays:
    h = v["h"]
    z = of(v, "W_z", v["x"]) + v["b_z"]
    if variant > 1:
        z = z + of(v, "U_z", h if variant == 2 else th(h))
    r = s(gate(v, "r"))
    fresh = of(v, "W_n", v["x"])
    n = th(of(v, "U_n", r * h) + (th(fresh) if variant == 1 else fresh) + v["b_n"])
    return {"h": h + s(z) * (n - h)}


def fast_rnn(v: Arrays, activation: str = "tanh") -> Arrays:
    n = ACT[activation](of(v, "W", v["x"]) + of(v, "U", v["h"]) + v["b"])
    return {"h": n / (1 + np.exp(-v["alpha"])) + v["h"] / (1 + np.exp(-v["beta"]))}


def fast_grnn(v: Arrays, low_rank: bool = False) -> Arrays:
    W = v["W_1"] @ v["W_2"] if low_rank else v["W"]
    U = v["U_1"] @ v["U_2"] if low_rank else v["U"]
    a = v["x"] @ W.T + v["h"] @ U.T
    z = s(a + v["b_z"])
    return {"h": (s(v["zeta"]) * s(-a - v["b_z"]) + s(v["nu"])) * th(a + v["b_n"]) + z * v["h"]}


def brc(v: Arrays, neuromodulated: bool = False) -> Arrays:
    h = v["h"]
    a = of(v, "W_a", v["x"]) + v["b_a"]
    c = of(v, "W_c", v["x"]) + v["b_c"]
    if neuromodulated:
        a, c = a + of(v, "U_a", h), c + of(v, "U_c", h)
    else:
        a, c = a + v["w_a"] * h, c + v["w_c"] * h
    return {"h": s(c) * h + s(-c) * th(of(v, "W_n", v["x"]) + 2 * s(2 * a) * h)}


def mi_rnn(v: Arrays, activation: str = "tanh") -> Arrays:
    p, q = of(v, "W", v["x"]), of(v, "U", v["h"])
    inner = (v["alpha"] * p + v["beta_1"]) * q + v["beta_2"] * p + v["b"]
    return {"h": ACT[activation](inner)}


def antisymmetric_rnn(
    v: Arrays, gated: bool = False, epsilon: float = 0.01, gamma: float = 0.01
) -> Arrays:
    a = v["h"] @ (v["W"] - v["W"].T - gamma * np.eye(len(v["W"]))).T
    step = epsilon * th(a + of(v, "V_h", v["x"]) + v["b_h"])
    if gated:
        step = step * s(a + of(v, "V_z", v["x"]) + v["b_z"])
    return {"h": v["h"] + step}


def cornn(
    v: Arrays, implicit: bool = False, dt: float = 0.1, gamma: float = 1.0, epsilon: float = 1.0
) -> Arrays:
    joined = np.concatenate([v["x"], v["h"], v["z"]], axis=1)
    matrix = np.concatenate([v["V"], v["U"], v["U_z"]], axis=1)
    force = th(joined @ matrix.T + v["b"]) - gamma * v["h"]
    if implicit:
        z = np.linalg.solve((1 + dt * epsilon) * np.eye(v["z"].shape[1]), (v["z"] + dt * force).T).T
    else:
        z = (1 - dt * epsilon) * v["z"] + dt * force
    return {"h": v["h"] + dt * z, "z": z}


def unicornn(v: Arrays, dt: float = 0.1, alpha: float = 1.0) -> Arrays:
    step = dt / (1 + np.exp(-v["c"]))
    z = v["z"] - step * (th(of(v, "V", v["x"]) + v["w"] * v["h"] + v["b"]) + alpha * v["h"])
    return {"h": v["h"] + step * z, "z": z}


def lem(v: Arrays, dt: float = 1.0) -> Arrays:
    one = {k: of(v, f"V_{k}", v["x"]) + v[f"b_{k}"] for k in "12zh"}
    d_1 = dt * s(one["1"] + of(v, "U_1", v["h"]))
    d_2 = dt * s(one["2"] + of(v, "U_2", v["h"]))
    z = v["z"] + d_1 * (th(one["z"] + of(v, "U_z", v["h"])) - v["z"])
    return {"h": v["h"] + d_2 * (th(one["h"] + of(v, "U_h", z)) - v["h"]), "z": z}


def multiplicative_lstm(v: Arrays) -> Arrays:
    m = of(v, "W_m", v["x"]) * of(v, "U_m", v["h"])
    a = {k: of(v, f"W_{k}", v["x"]) + of(v, f"U_{k}", m) + v[f"b_{k}"] for k in "ifgo"}
    c = s(a["f"]) * v["c"] + s(a["i"]) * th(a["g"])
    return {"h": s(a["o"]) * th(c), "c": c}


def indy_lstm(v: Arrays, forget_bias: float = 0.0) -> Arrays:
    wide = {**v, **{f"U_{k}": np.diag(v[f"u_{k}"]) for k in "ifgo"}}
    c = s(gate(wide, "f") + forget_bias) * v["c"] + s(gate(wide, "i")) * th(gate(wide, "g"))
    return {"h": s(gate(wide, "o")) * th(c), "c": c}


def rg_lru(v: Arrays) -> Arrays:
    a = s(v["L"]) ** (8 * s(gate(v, "r")))
    return {"h": a * v["h"] + np.sqrt((1 - a) * (1 + a)) * s(gate(v, "i")) * v["x"]}


def cfc(v: Arrays, form: str = "gate") -> Arrays:
    y = 1.7159 * th(0.666 * (of(v, "W", v["x"]) + of(v, "U", v["h"]) + v["b"]))
    a = of(v, "W_a", y) + v["b_a"]
    if form == "pure":
        decay = np.exp(-v["elapsed"] * (np.abs(v["w"]) + np.abs(a)))
        return {"h": v["A"] * (1 - decay * a)}
    d = th(of(v, "W_d", y) + v["b_d"])
    t = s((of(v, "W_s", y) + v["b_s"]) * v["elapsed"] + of(v, "W_t", y) + v["b_t"])
    a = th(a)
    return {"h": a + t * (d - a) if form == "gate" else a + t * d}


#: Family -> its options and values of them that are tried besides the defaults.
TRIED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "ran": {"activation": ("identity",)},
    "atr": {},
    "star": {"source": ("code",)},
    "light_ru": {"activation": ("relu",)},
    "mut": {"variant": (2, 3)},
    "fast_rnn": {"activation": ("relu",)},
    "fast_grnn": {"low_rank": (True,)},
    "brc": {"neuromodulated": (True,)},
    "mi_rnn": {"activation": ("relu",)},
    "antisymmetric_rnn": {"gated": (True,), "epsilon": (1.0,), "gamma": (0.0, 0.5)},
    "cornn": {"implicit": (True,), "dt": (0.5,), "gamma": (2.0,), "epsilon": (0.0, 3.0)},
    "unicornn": {"dt": (1.0,), "alpha": (0.5,)},
    "lem": {"dt": (0.5,)},
    "multiplicative_lstm": {},
    "indy_lstm": {"forget_bias": (1.0,)},
    "rg_lru": {},
    "cfc": {"form": ("no_gate", "pure")},
}
BY_HAND: Mapping[str, Callable[..., Arrays]] = {name: globals()[name] for name in TRIED}
