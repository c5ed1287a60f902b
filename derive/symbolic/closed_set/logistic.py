"""The logistic function and what is made of it.

In: nothing.  Out: the records of sigmoid, softplus, logsigmoid and silu.
Not here: their piecewise linear likenesses (hard.py).
"""

from __future__ import annotations

import sympy
from sympy import Rational

from derive.symbolic.closed_set.record import (
    INFINITY,
    LEFT,
    ONE,
    RIGHT,
    ROOT,
    SATURATED,
    ZERO,
    Expr,
    Function,
    Looser,
    Range,
    declare,
)

sigmoid = declare("sigmoid", 1)
softplus = declare("softplus", 1)
logsigmoid = declare("logsigmoid", 1)
silu = declare("silu", 1)
silu_slope = declare("silu_slope", 1, "silu'(u) = sigmoid(u) (1 + u sigmoid(-u)).")


def _bend(u: Expr, _: Expr) -> Expr:
    return sigmoid(u) * sigmoid(-u) * (2 - u * sympy.tanh(u / 2))


def _overflow(kind: str, low: float, high: float) -> Looser:
    why = "exp(-v) overflows, and 0 stands for a subnormal number"
    return Looser(kind, low, high, 0, why, subnormal=True, numpy_functions=True)


RECORDS = (
    Function(
        "sigmoid",
        sigmoid,
        (lambda u, y: y * (1 - y),),
        composed=lambda f, v: 1.0 / (1.0 + f["exp"](-v)),
        limits=(ZERO, ONE),
        rises=True,
        range=Range(ZERO, ONE, reached=False),
        slope=0.25,
        looser=(
            _overflow("value", LEFT, -88),
            Looser("slope", 1, RIGHT, 2, SATURATED),
            _overflow("slope", LEFT, -88),
        ),
        latex=r"\sigma",
        symbol="σ",
        aliases=("logistic", "sigm", "sigma"),
        torch="sigmoid",
        jax="nn.sigmoid",
        onnx=("Sigmoid", {}),
    ),
    Function(
        "softplus",
        softplus,
        (lambda u, y: sigmoid(u),),
        composed=lambda f, v: f["relu"](v) + f["log1p"](f["exp"](-f["abs"](v))),
        limits=(ZERO, INFINITY),
        rises=True,
        range=Range(ZERO, None, reached=False),
        slope=1.0,
        cancels=True,
        looser=(_overflow("slope", LEFT, -88),),
        torch="nn.functional.softplus",
        jax="nn.softplus",
        onnx=("Softplus", {}),
    ),
    Function(
        "logsigmoid",
        logsigmoid,
        (lambda u, y: sigmoid(-u),),
        composed=lambda f, v: -f["softplus"](-v),
        limits=(-INFINITY, ZERO),
        rises=True,
        range=Range(None, ZERO, reached=False),
        slope=1.0,
        cancels=True,
        looser=(_overflow("slope", 88, RIGHT),),
        torch="nn.functional.logsigmoid",
    ),
    Function(
        "silu",
        silu,
        (lambda u, y: silu_slope(u),),
        composed=lambda f, v: v * f["sigmoid"](v),
        limits=(ZERO, INFINITY),
        range=Range(Rational("-0.278464542761074"), None, reached=False),
        slope=1.1,
        looser=(Looser("slope", -1.5, -1.1, 2, ROOT),),
        aliases=("swish",),
        torch="nn.functional.silu",
    ),
    Function(
        "silu_slope",
        silu_slope,
        (_bend,),
        composed=lambda f, v: f["sigmoid"](v) * (1.0 + v * f["sigmoid"](-v)),
        public=False,
        limits=(ZERO, ONE),
        slope=0.501,
        cancels=True,
        rounding=lambda f, v: f["sigmoid"](v) * (1 + abs(v)),
    ),
)
