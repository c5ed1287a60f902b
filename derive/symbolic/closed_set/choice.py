"""Functions that choose among numbers, compare them, or take a part of one.

In: nothing.  Out: their records, those that differentiation makes among them.
Not here: activations made of them (rectifiers.py, hard.py).
"""

from __future__ import annotations

import sympy

from derive.symbolic.closed_set.record import (
    HALF,
    INFINITY,
    LANES,
    ONE,
    ZERO,
    Expr,
    Function,
    Range,
    at_zero,
    declare,
    equal,
    less,
    less_equal,
    not_equal,
    nothing,
    pick,
    tie,
    where,
)

sign = sympy.sign
floor = sympy.floor
absolute = sympy.Abs
maximum = declare("maximum", 2)
minimum = declare("minimum", 2)
clip = declare("clip", 3)
stop_gradient = declare("stop_gradient", 1)
gated = declare(
    "gated",
    2,
    """gated(d, p) = d * p, and 0 wherever d is 0, for every p, infinite or NaN too.

A cotangent that comes from a branch of `where` is 0 on the rows that took the other branch;
there p may be NaN or infinite and must not count.""",
)


def _half_at_tie(a: Expr, b: Expr) -> Expr:
    """1 where a < b, one half where they are equal, 0 elsewhere."""
    return pick(less(a, b), ONE, pick(equal(a, b), HALF, ZERO))


def _inside_closed(v: Expr, low: Expr, high: Expr) -> Expr:
    """1 where low <= v <= high, 0 beyond."""
    return pick(less_equal(low, v), pick(less_equal(v, high), ONE, ZERO), ZERO)


def _comparison(head: sympy.FunctionClass) -> Function:
    """Made by `where(a < b, ...)`; a cell's text cannot call it."""
    return Function(
        head.__name__,
        head,
        (nothing, nothing),
        public=False,
        analytic=False,
        kinks=(tie,),
        range=Range(ZERO, ONE),
        plain=True,
        exact=True,
    )


RECORDS = (
    Function(
        "abs",
        absolute,
        (lambda u, y: sign(u),),
        analytic=False,
        kinks=(at_zero,),
        limits=(INFINITY, INFINITY),
        range=Range(ZERO, None),
        parity=1,
        slope=1.0,
        plain=True,
        exact=True,
        numpy="abs",
        aliases=("fabs",),
        torch="abs",
        onnx=("Abs", {}),
    ),
    Function(
        "sign",
        sign,
        (nothing,),
        analytic=False,
        kinks=(at_zero,),
        limits=(-ONE, ONE),
        rises=True,
        range=Range(-ONE, ONE),
        parity=-1,
        plain=True,
        exact=True,
        numpy="sign",
        aliases=("sgn",),
        torch="sign",
        onnx=("Sign", {}),
    ),
    Function(
        "floor",
        floor,
        (nothing,),
        analytic=False,
        kinks=(at_zero,),  # and at every other integer
        limits=(-INFINITY, INFINITY),
        rises=True,
        plain=True,
        exact=True,
        numpy="floor",
        c=LANES,
        torch="floor",
        onnx=("Floor", {}),
    ),
    Function(
        "maximum",
        maximum,
        (lambda a, b, y: _half_at_tie(b, a), lambda a, b, y: _half_at_tie(a, b)),
        analytic=False,
        kinks=(tie,),
        plain=True,
        exact=True,
        numpy="maximum",
        latex=r"\max",
        symbol="max",
        torch="maximum",
        onnx=("Max", {}),
    ),
    Function(
        "minimum",
        minimum,
        (lambda a, b, y: _half_at_tie(a, b), lambda a, b, y: _half_at_tie(b, a)),
        analytic=False,
        kinks=(tie,),
        plain=True,
        exact=True,
        numpy="minimum",
        latex=r"\min",
        symbol="min",
        torch="minimum",
        onnx=("Min", {}),
    ),
    Function(
        "clip",
        clip,
        (lambda v, low, high, y: _inside_closed(v, low, high), nothing, nothing),
        analytic=False,
        kinks=(lambda v, low, high: v - low, lambda v, low, high: v - high),
        plain=True,
        exact=True,
        torch="clamp",
        jax="numpy.clip",
        onnx=("Clip", {}),
    ),
    Function(
        "where",
        where,
        (nothing, lambda c, u, v, y: pick(c, ONE, ZERO), lambda c, u, v, y: pick(c, ZERO, ONE)),
        analytic=False,
        plain=True,
        exact=True,
        numpy="where",
        aliases=("select",),
        torch="where",
        onnx=("Where", {}),
    ),
    Function(
        "stop_gradient",
        stop_gradient,
        (nothing,),
        composed=lambda f, v: v,
        limits=(-INFINITY, INFINITY),
        rises=True,
        plain=True,
        exact=True,
        aliases=("detach", "no_grad"),
        torch="Tensor.detach",
        jax="lax.stop_gradient",
    ),
    # A cell's text cannot call the following: the language and differentiation make them.
    *map(_comparison, (less, less_equal, equal, not_equal)),
    Function(
        "gated",
        gated,
        (lambda d, p, y: p, lambda d, p, y: d),
        composed=lambda f, d, p: f["where"](d == 0, 0.0, d * p),
        public=False,
        analytic=False,
        plain=True,
    ),
)
