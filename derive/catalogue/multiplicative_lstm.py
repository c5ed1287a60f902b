"""The multiplicative LSTM: the gates see a product of the input and the hidden state.

Krause, Lu, Murray & Renals 2016, "Multiplicative LSTM for sequence modelling", arXiv 1609.07959.
The intermediate state m has a width M of its own. The output is o tanh(c'). Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Any

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def multiplicative_lstm() -> Draft:
    """Multiplicative LSTM: gates see m = (W_m x) (U_m h) instead of h."""
    x, h, c, h_next, c_next, m, i, f, g, o = arrays("x h c h_next c_next m i f g o")
    W_m, U_m = arrays("W_m U_m")

    def seen(k: str) -> Any:
        W, U, b = arrays(f"W_{k} U_{k} b_{k}")
        return W @ x + U @ m + b

    return Draft(
        doc="Multiplicative LSTM. Krause et al. 2016, arXiv 1609.07959.",
        equations=[
            Eq(m, (W_m @ x) * (U_m @ h)),
            Eq(i, sigmoid(seen("i"))),
            Eq(f, sigmoid(seen("f"))),
            Eq(g, tanh(seen("g"))),
            Eq(c_next, f * c + i * g),
            Eq(o, sigmoid(seen("o"))),
            Eq(h_next, o * tanh(c_next)),
        ],
        states={"h": "H", "c": "H"},
        params={"W_m": ("M", "I"), "U_m": ("M", "H")}
        | stacked({"W": ("H", "I"), "U": ("H", "M"), "b": ("H",)}, "i f g o"),
    )
