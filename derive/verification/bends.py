"""Second derivatives of the functions of the language, exactly, and their bounds.

In: nothing.  Out: `BENDS`, {function: its second derivative as mpmath computes it}; `LOOSER`, what
has no bound relative to itself; `is_kink`, where there is none.
Not here: what kernels compute, and comparing (accuracy.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from mpmath import mp

from derive.symbolic.closed_set.record import SATURATED, Looser
from derive.symbolic.functions import ACTIVATIONS
from derive.symbolic.oracle import ORACLE

Real = Callable[[mp.mpf], mp.mpf]

_INF = math.inf
_BELL = "the tangent's text has exp(-v**2), whose argument is rounded"
_HUNDREDTHS = "v**-1.9 overflows, 0.09 of it would not"

#: By function; see docs/explanation/accuracy.md.
LOOSER: Mapping[str, tuple[Looser, ...]] = {
    "sigmoid": (Looser("bend", -_INF, _INF, 2, SATURATED),),
    "softplus": (Looser("bend", -_INF, _INF, 2, SATURATED),),
    "logsigmoid": (Looser("bend", -_INF, _INF, 2, SATURATED),),
    "silu": (Looser("bend", -_INF, _INF, 2, SATURATED),),
    "tanh": (
        Looser("bend", 0.5, _INF, 6, SATURATED),
        Looser("bend", -_INF, -0.5, 6, SATURATED),
    ),
    "erf": (Looser("bend", 3, _INF, 1, _BELL), Looser("bend", -_INF, -3, 1, _BELL)),
    "gelu": (Looser("bend", 1, _INF, 1, _BELL), Looser("bend", -_INF, -1, 1, _BELL)),
    "pow_tenth": (Looser("bend", 0, 9e-21, _INF, _HUNDREDTHS, reals=("f32",)),),
}


def _sigmoid(v: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-v))


def _bell(v: mp.mpf) -> mp.mpf:
    return _sigmoid(v) * _sigmoid(-v)


def _exponential(name: str) -> Real:
    """elu and selu are exponentials below 0, and so is their slope."""
    return lambda v: ORACLE[name].slope(v) if v < 0 else mp.mpf(0)  # type: ignore[misc]


BENDS: Mapping[str, Real] = {
    **{name: lambda v: mp.mpf(0) for name in ACTIVATIONS},
    **dict.fromkeys(
        ("clip", "maximum_half", "minimum_half", "where_less_one"), lambda v: mp.mpf(0)
    ),
    "sigmoid": lambda v: -_bell(v) * mp.tanh(v / 2),
    "softplus": _bell,
    "logsigmoid": lambda v: -_bell(v),
    "silu": lambda v: _bell(v) * (2 - v * mp.tanh(v / 2)),
    "tanh": lambda v: -2 * mp.tanh(v) * mp.sech(v) ** 2,
    "exp": mp.exp,
    "log": lambda v: -1 / v**2,
    "log1p": lambda v: -1 / (1 + v) ** 2,
    "expm1": mp.exp,
    "sqrt": lambda v: -1 / (4 * v * mp.sqrt(v)),
    "sin": lambda v: -mp.sin(v),
    "cos": lambda v: -mp.cos(v),
    "erf": lambda v: -4 * v * mp.exp(-v * v) / mp.sqrt(mp.pi),
    "softsign": lambda v: -2 * mp.sign(v) / (1 + abs(v)) ** 3,
    "elu": _exponential("elu"),
    "selu": _exponential("selu"),
    "gelu": lambda v: mp.exp(-v * v / 2) / mp.sqrt(2 * mp.pi) * (2 - v * v),
    "hard_swish": lambda v: mp.mpf(1) / 3 if abs(v) < 3 else mp.mpf(0),
    "pow_2": lambda v: mp.mpf(2),
    "pow_3": lambda v: 6 * v,
    "pow_m1": lambda v: 2 / v**3,
    "pow_m2": lambda v: 6 / v**4,
    "pow_half": lambda v: -1 / (4 * v * mp.sqrt(v)),
    "pow_mhalf": lambda v: 3 / (4 * v**2 * mp.sqrt(v)),
    "pow_3half": lambda v: 3 / (4 * mp.sqrt(v)),
    "pow_m3half": lambda v: 15 / (4 * v**3 * mp.sqrt(v)),
    "pow_tenth": lambda v: mp.mpf(0.1) * mp.mpf(-0.9) * v ** mp.mpf(-1.9),
    "pow_2point5": lambda v: mp.mpf(3.75) * mp.sqrt(v),
}
#: Functions without a kink anywhere: their second derivative is compared at the kinks of others.
_SMOOTH = ("sigmoid", "softplus", "logsigmoid", "silu", "tanh", "exp", "expm1", "sin", "cos", "erf",
           "gelu", "log1p", "pow_2", "pow_3")  # fmt: skip
_KINKS = (0.0, 0.5, 1.0, 2.0, 3.0)


def is_kink(name: str, v: float) -> bool:
    """Whether the slope of a function may have a kink or a jump at v."""
    return name not in _SMOOTH and abs(v) in _KINKS
