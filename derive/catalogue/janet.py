"""JANET: just another network with a forget gate alone.

van der Westhuizen & Lasenby 2018, "The unreasonable effectiveness of the forget gate", arXiv
1804.04849; the official code has beta = 1 too. Starts there, with chrono initialisation: b_f = log
U(1, t_max), t_max the length that is to be remembered, and b_g = 0; the paper has U(1, T - 1).
Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def janet(
    *,
    beta: Annotated[float, "taken off the pre-activation where new input is let in"] = 1.0,
) -> Draft:
    """LSTM reduced to its forget gate: h' = s(a) h + (1 - s(a - beta)) g."""
    x, h, h_next, a, g, b_f, b_g = arrays("x h h_next a g b_f b_g")
    W_f, W_g, U_f, U_g, shift = arrays("W_f W_g U_f U_g beta")
    return Draft(
        doc="Forget-gate-only LSTM. van der Westhuizen & Lasenby 2018, arXiv 1804.04849.",
        equations=[
            Eq(a, W_f @ x + U_f @ h + b_f),
            Eq(g, tanh(W_g @ x + U_g @ h + b_g)),
            Eq(h_next, sigmoid(a) * h + (1 - sigmoid(a - shift)) * g),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "f g"),
        consts={"beta": beta},
    )
