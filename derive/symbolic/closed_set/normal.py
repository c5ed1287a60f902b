"""The normal distribution: gelu, its slope, and the bell curve.

In: nothing.  Out: their records.
Not here: the coefficients of its tail (emit/normal_tail.py).
"""

from __future__ import annotations

import math

import sympy
from sympy import Rational

from derive.symbolic.closed_set.record import (
    INFINITY,
    ONE,
    ROOT,
    ZERO,
    Expr,
    Function,
    Looser,
    Range,
    declare,
)

gelu = declare("gelu", 1)
gaussian = declare(
    "gaussian", 1, "gaussian(u) = exp(-u^2 / 2), whose argument would be rounded where it is large."
)
gelu_slope = declare(
    "gelu_slope", 1, "gelu'(u) = Phi(u) + u phi(u), normal distribution and density."
)


def _bend(u: Expr, _: Expr) -> Expr:
    return (2 - u**2) * gaussian(u) / sympy.sqrt(2 * sympy.pi)


RECORDS = (
    Function(
        "gelu",
        gelu,
        (lambda u, y: gelu_slope(u),),
        composed=lambda f, v: 0.5 * v * (1.0 + f["erf"](v / math.sqrt(2))),
        limits=(ZERO, INFINITY),
        range=Range(Rational("-0.169971207479904"), None, reached=False),
        slope=1.13,
        cancels=True,
        rounding=lambda f, v: abs(f["gelu"](v)) * (1 + v * v / 4),
        ulp=4.0,
        looser=(Looser("slope", -1, -0.6, 2, ROOT),),
        needs=("gaussian", "normal_tail"),
        torch="nn.functional.gelu",
    ),
    Function(
        "gaussian",
        gaussian,
        (lambda u, y: -u * y,),
        composed=lambda f, v: f["exp"](-0.5 * v * v),
        public=False,
        limits=(ZERO, ZERO),
        range=Range(ZERO, ONE),
        parity=1,
        slope=0.607,
        cancels=True,
        rounding=lambda f, v: f["gaussian"](v) * (1 + v * v / 4),
    ),
    Function(
        "gelu_slope",
        gelu_slope,
        (_bend,),
        composed=lambda f, v: (
            0.5 * (1.0 + f["erf"](v / math.sqrt(2))) + v * f["gaussian"](v) / math.sqrt(2 * math.pi)
        ),
        public=False,
        limits=(ZERO, ONE),
        slope=0.8,
        cancels=True,
        rounding=lambda f, v: (
            (f["gelu_slope"](v) + 2 * abs(v) * f["gaussian"](v)) * (1 + v * v / 4)
        ),
        needs=("gaussian", "normal_tail"),
    ),
)
