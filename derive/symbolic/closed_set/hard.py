"""Functions that are made of pieces of polynomials, with a kink at either end of the middle one.

In: nothing.  Out: the records of hard_sigmoid, hard_tanh and hard_swish.
Not here: clip (choice.py).
"""

from __future__ import annotations

from typing import cast

from sympy import Integer, Rational

from derive.symbolic.closed_set.record import (
    COMPOSED,
    INFINITY,
    ONE,
    ZERO,
    Expr,
    Function,
    Looser,
    Range,
    at,
    declare,
    inside,
    less,
    pick,
)

hard_sigmoid = declare("hard_sigmoid", 1)
hard_tanh = declare("hard_tanh", 1)
hard_swish = declare("hard_swish", 1)

_SIXTH = Rational(1, 6)
_THREE = Integer(3)


def _swish_slope(u: Expr, _: Expr) -> Expr:
    """As of u * clip(u / 6 + 1 / 2, 0, 1); the branches keep infinity from becoming a NaN."""
    middle = pick(less(-_THREE, u), pick(less(u, _THREE), u / 6, ZERO), ZERO)
    return cast(Expr, hard_sigmoid(u) + middle)


RECORDS = (
    Function(
        "hard_sigmoid",
        hard_sigmoid,
        (lambda u, y: _SIXTH * inside(u, -_THREE, _THREE),),
        composed=lambda f, v: f["clip"](v / 6.0 + 0.5, 0.0, 1.0),
        analytic=False,
        kinks=(at(3), at(-3)),
        limits=(ZERO, ONE),
        rises=True,
        range=Range(ZERO, ONE),
        slope=1 / 6 + 1e-9,
        plain=True,
        cancels=True,
        rounding=lambda f, v: abs(v) / 6 + 0.5,
        needs=("clip",),
        aliases=("hardsigmoid",),
        onnx=("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ),
    Function(
        "hard_tanh",
        hard_tanh,
        (lambda u, y: inside(u, Integer(-1), ONE),),
        composed=lambda f, v: f["clip"](v, -1.0, 1.0),
        analytic=False,
        kinks=(at(1), at(-1)),
        limits=(-ONE, ONE),
        rises=True,
        range=Range(-ONE, ONE),
        parity=-1,
        slope=1.0,
        plain=True,
        exact=True,
        needs=("clip",),
        aliases=("hardtanh",),
        torch="nn.functional.hardtanh",
    ),
    Function(
        "hard_swish",
        hard_swish,
        (_swish_slope,),
        # The bound keeps minus infinity from becoming a NaN.
        composed=lambda f, v: f["maximum"](v, -3) * f["hard_sigmoid"](v),
        analytic=False,
        kinks=(at(3), at(-3)),
        limits=(ZERO, INFINITY),
        range=Range(Rational(-3, 8), None),
        slope=1.5 + 1e-9,
        plain=True,
        cancels=True,
        rounding=lambda f, v: abs(v) * (abs(v) / 6 + 0.5),
        looser=(Looser("slope", -3, 0, 2, "computed as a sum, which is 0 at -1.5"),),
        numpy=COMPOSED,
        needs=("hard_sigmoid",),
        c=COMPOSED,
        aliases=("hardswish", "hswish", "h_swish"),
        onnx=("HardSwish", {}),
    ),
)
