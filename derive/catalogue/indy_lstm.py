"""The independently recurrent LSTM: every recurrent matrix is a vector.

Gonnet & Deselaers 2019, "IndyLSTMs: independently recurrent LSTMs", arXiv 1903.08023. TensorFlow 1
has it with a forget bias of 1. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Any

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def indy_lstm(
    *,
    forget_bias: Annotated[float, "added to the forget gate's pre-activation at run time"] = 0.0,
) -> Draft:
    """Independently recurrent LSTM: each unit sees its own h alone."""
    x, h, c, h_next, c_next, i, f, g, o = arrays("x h c h_next c_next i f g o")
    (bias,) = arrays("forget_bias") if forget_bias else (0,)

    def seen(k: str) -> Any:
        W, u, b = arrays(f"W_{k} u_{k} b_{k}")
        return W @ x + u * h + b

    return Draft(
        doc="Independently recurrent LSTM. Gonnet & Deselaers 2019, arXiv 1903.08023.",
        equations=[
            Eq(i, sigmoid(seen("i"))),
            Eq(f, sigmoid(seen("f") + bias)),
            Eq(g, tanh(seen("g"))),
            Eq(c_next, f * c + i * g),
            Eq(o, sigmoid(seen("o"))),
            Eq(h_next, o * tanh(c_next)),
        ],
        states={"h": "H", "c": "H"},
        params=stacked({"W": ("H", "I"), "u": ("H",), "b": ("H",)}, "i f g o"),
        consts={"forget_bias": forget_bias} if forget_bias else {},
    )
