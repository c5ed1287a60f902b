"""The update gate recurrent network.

Collins, Sohl-Dickstein & Sussillo 2017, "Capacity and trainability in recurrent neural networks",
arXiv 1611.09913, UGRNN. The forget bias is added at run time, as in TensorFlow 1. Equation numbers
not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def ugrnn(
    *,
    forget_bias: Annotated[float, "added to the gate's pre-activation at run time"] = 1.0,
    activation: Annotated[Activation, "of the candidate c"] = "tanh",
) -> Draft:
    """Update gate recurrent network: h' = g h + (1 - g) c."""
    act = function_of(activation)
    x, h, h_next, g, c, b_g, b_c = arrays("x h h_next g c b_g b_c")
    W_g, W_c, U_g, U_c, bias = arrays("W_g W_c U_g U_c forget_bias")
    return Draft(
        doc="Update gate recurrent network. Collins et al. 2017, arXiv 1611.09913.",
        equations=[
            Eq(g, sigmoid(W_g @ x + U_g @ h + b_g + (bias if forget_bias else 0))),
            Eq(c, act(W_c @ x + U_c @ h + b_c)),
            Eq(h_next, g * h + (1 - g) * c),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "g c"),
        consts={"forget_bias": forget_bias} if forget_bias else {},
    )
