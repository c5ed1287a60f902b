"""The light recurrent unit: the candidate sees the input alone and has no bias.

Ye, Zhang, Liu, Li & Chang 2024, "Light recurrent unit: towards an interpretable recurrent neural
network for modeling long-range dependency", Electronics 13(16) 3204. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def light_ru(
    *,
    activation: Annotated[Activation, "of the candidate n"] = "tanh",
) -> Draft:
    """Light recurrent unit: h' = (1 - f) h + f activation(W_n x)."""
    act = function_of(activation)
    x, h, h_next, f, n = arrays("x h h_next f n")
    W_n, W_f, U_f, b_f = arrays("W_n W_f U_f b_f")
    return Draft(
        doc="Light recurrent unit. Ye et al. 2024, Electronics 13(16) 3204.",
        equations=[
            Eq(n, act(W_n @ x)),
            Eq(f, sigmoid(W_f @ x + U_f @ h + b_f)),
            Eq(h_next, (1 - f) * h + f * n),
        ],
        states={"h": "H"},
        params={"W_n": ("H", "I"), "W_f": ("H", "I"), "U_f": ("H", "H"), "b_f": ("H",)},
    )
