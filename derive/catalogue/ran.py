"""The recurrent additive network: the candidate sees the input alone.

Lee, Levy & Zettlemoyer 2017, "Recurrent additive networks", arXiv 1705.07393. The paper gives h as
g(c), g the identity or tanh; a bias b_c in the candidate, as libraries have it. Equation numbers
not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def ran(
    *,
    activation: Annotated[Activation, "of the state where the output sees it"] = "tanh",
) -> Draft:
    """Recurrent additive network: c' = i (W_c x + b_c) + f c, h' = activation(c')."""
    act = function_of(activation)
    x, h, c, h_next, c_next, i, f = arrays("x h c h_next c_next i f")
    W_c, W_i, W_f, U_i, U_f, b_c, b_i, b_f = arrays("W_c W_i W_f U_i U_f b_c b_i b_f")
    return Draft(
        doc="Recurrent additive network. Lee, Levy & Zettlemoyer 2017, arXiv 1705.07393.",
        equations=[
            Eq(i, sigmoid(W_i @ x + U_i @ h + b_i)),
            Eq(f, sigmoid(W_f @ x + U_f @ h + b_f)),
            Eq(c_next, i * (W_c @ x + b_c) + f * c),
            Eq(h_next, act(c_next)),
        ],
        states={"h": "H", "c": "H"},
        params=stacked({"W": ("H", "I")}, "c i f")
        | stacked({"U": ("H", "H")}, "i f")
        | stacked({"b": ("H",)}, "c i f"),
    )
