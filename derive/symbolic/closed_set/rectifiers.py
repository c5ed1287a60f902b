"""relu and its relatives: another formula to the left of 0 than to the right.

In: nothing.  Out: their records.
Not here: functions with two kinks (hard.py).
"""

from __future__ import annotations

from sympy import Rational

from derive.symbolic.closed_set.choice import absolute
from derive.symbolic.closed_set.record import (
    INFINITY,
    ONE,
    ZERO,
    Function,
    Range,
    at_zero,
    declare,
    less,
    pick,
)
from derive.symbolic.closed_set.smooth import exp

SELU_SCALE = Rational("1.0507009873554804934193349852946")
SELU_ALPHA = Rational("1.6732632423543772848170429916717")
LEAKY_SLOPE = Rational("0.01")

relu = declare("relu", 1)
softsign = declare("softsign", 1)
elu = declare("elu", 1)
leaky_relu = declare("leaky_relu", 1)
selu = declare("selu", 1)

_SCALE, _ALPHA = float(SELU_SCALE), float(SELU_ALPHA)

RECORDS = (
    Function(
        "relu",
        relu,
        (lambda u, y: pick(less(0, u), ONE, ZERO),),
        composed=lambda f, v: f["where"](v <= 0, 0.0, v),  # NaN stays NaN
        analytic=False,
        kinks=(at_zero,),
        limits=(ZERO, INFINITY),
        rises=True,
        range=Range(ZERO, None),
        slope=1.0,
        plain=True,
        exact=True,
        torch="relu",
        jax="nn.relu",
        onnx=("Relu", {}),
    ),
    Function(
        "softsign",
        softsign,
        (lambda u, y: (1 + absolute(u)) ** -2,),
        composed=lambda f, v: v / (1.0 + f["abs"](v)),
        analytic=False,
        kinks=(at_zero,),
        limits=(-ONE, ONE),
        rises=True,
        range=Range(-ONE, ONE, reached=False),
        parity=-1,
        slope=1.0,
        plain=True,
        torch="nn.functional.softsign",
        onnx=("Softsign", {}),
    ),
    Function(
        "elu",
        elu,
        (lambda u, y: pick(less(0, u), ONE, exp(u)),),
        composed=lambda f, v: f["where"](v > 0, v, f["expm1"](v - f["relu"](v))),
        analytic=False,
        kinks=(at_zero,),
        limits=(-ONE, INFINITY),
        rises=True,
        range=Range(-ONE, None, reached=False),
        slope=1.0,
        cancels=True,
        torch="nn.functional.elu",
        onnx=("Elu", {}),
    ),
    Function(
        "leaky_relu",
        leaky_relu,
        (lambda u, y: pick(less(0, u), ONE, LEAKY_SLOPE),),
        composed=lambda f, v: f["where"](v > 0, v, 0.01 * v),
        analytic=False,
        kinks=(at_zero,),
        limits=(-INFINITY, INFINITY),
        rises=True,
        slope=1.0,
        plain=True,
        aliases=("leakyrelu", "lrelu"),
        torch="nn.functional.leaky_relu",
        onnx=("LeakyRelu", {"alpha": 0.01}),
    ),
    Function(
        "selu",
        selu,
        (lambda u, y: pick(less(0, u), SELU_SCALE, SELU_SCALE * SELU_ALPHA * exp(u)),),
        composed=lambda f, v: _SCALE * f["where"](v > 0, v, _ALPHA * f["expm1"](v - f["relu"](v))),
        analytic=False,
        kinks=(at_zero,),
        limits=(-SELU_SCALE * SELU_ALPHA, INFINITY),
        rises=True,
        slope=1.76,
        cancels=True,
        torch="nn.functional.selu",
        onnx=("Selu", {}),
    ),
)
