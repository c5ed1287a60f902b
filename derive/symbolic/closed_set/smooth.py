"""Exponential, logarithm, root, circular and hyperbolic functions, erf.

In: nothing.  Out: their records.
Not here: functions made of them (logistic.py, normal.py).
"""

from __future__ import annotations

import math

import sympy

from derive.symbolic.closed_set.normal import gaussian
from derive.symbolic.closed_set.record import (
    INFINITY,
    LANES,
    LEFT,
    ONE,
    OSCILLATES,
    RIGHT,
    SATURATED,
    ZERO,
    Function,
    Looser,
    Range,
    declare,
)

tanh = sympy.tanh
exp = sympy.exp
log = sympy.log
sin = sympy.sin
cos = sympy.cos
erf = sympy.erf
log1p = declare("log1p", 1)
expm1 = declare("expm1", 1)

RECORDS = (
    Function(
        "tanh",
        tanh,
        (lambda u, y: 1 - y**2,),
        limits=(-ONE, ONE),
        rises=True,
        range=Range(-ONE, ONE, reached=False),
        parity=-1,
        slope=1.0,
        looser=(
            Looser("slope", 0.5, RIGHT, 3, SATURATED),
            Looser("slope", LEFT, -0.5, 3, SATURATED),
        ),
        numpy="tanh",
        latex=r"\tanh",
        torch="tanh",
        onnx=("Tanh", {}),
    ),
    Function(
        "exp",
        exp,
        (lambda u, y: y,),
        limits=(ZERO, INFINITY),
        rises=True,
        range=Range(ZERO, None, reached=False),
        explodes=True,
        numpy="exp",
        latex=r"\exp",
        torch="exp",
        onnx=("Exp", {}),
    ),
    Function(
        "log",
        log,
        (lambda u, y: 1 / u,),
        limits=(None, INFINITY),
        rises=True,
        above=ZERO,
        explodes=True,
        numpy="log",
        latex=r"\log",
        aliases=("ln",),
        torch="log",
        onnx=("Log", {}),
    ),
    Function(
        "log1p",
        log1p,
        (lambda u, y: 1 / (1 + u),),
        limits=(None, INFINITY),
        rises=True,
        above=-ONE,
        explodes=True,
        numpy="log1p",
        torch="log1p",
    ),
    Function(
        "expm1",
        expm1,
        (lambda u, y: exp(u),),
        limits=(-ONE, INFINITY),
        rises=True,
        explodes=True,
        numpy="expm1",
        torch="expm1",
    ),
    Function(
        "sqrt",
        None,
        (lambda u, y: 1 / (2 * y),),
        limits=(None, INFINITY),
        rises=True,
        plain=True,
        numpy="sqrt",
        c=LANES,
        torch="sqrt",
        onnx=("Sqrt", {}),
    ),
    Function(
        "sin",
        sin,
        (lambda u, y: cos(u),),
        limits=(OSCILLATES, OSCILLATES),
        range=Range(-ONE, ONE),
        parity=-1,
        slope=1.0,
        cancels=True,
        rounding=lambda f, v: abs(v),
        numpy="sin",
        c=LANES,
        latex=r"\sin",
        torch="sin",
        onnx=("Sin", {}),
    ),
    Function(
        "cos",
        cos,
        (lambda u, y: -sin(u),),
        limits=(OSCILLATES, OSCILLATES),
        range=Range(-ONE, ONE),
        parity=1,
        slope=1.0,
        cancels=True,
        rounding=lambda f, v: abs(v) + 1,
        numpy="cos",
        c=LANES,
        latex=r"\cos",
        torch="cos",
        onnx=("Cos", {}),
    ),
    Function(
        "erf",
        erf,
        (lambda u, y: 2 * gaussian(u) ** 2 / sympy.sqrt(sympy.pi),),
        limits=(-ONE, ONE),
        rises=True,
        range=Range(-ONE, ONE, reached=False),
        parity=-1,
        slope=2 / math.sqrt(math.pi) + 1e-9,
        c=LANES,
        torch="erf",
        jax="lax.erf",
        onnx=("Erf", {}),
    ),
)
