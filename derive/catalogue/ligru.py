"""The light GRU: no reset gate, and relu.

Ravanelli, Brakel, Omologo & Bengio 2018, "Light gated recurrent units for speech recognition",
arXiv 1803.10225. Without its batch normalisation of W x, whose shift the biases are. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def ligru(
    *,
    activation: Annotated[Activation, "of the candidate n"] = "relu",
) -> Draft:
    """Light GRU without batch normalisation: h' = z h + (1 - z) n."""
    act = function_of(activation)
    x, h, h_next, z, n, b_z, b_n = arrays("x h h_next z n b_z b_n")
    W_z, W_n, U_z, U_n = arrays("W_z W_n U_z U_n")
    return Draft(
        doc="Light GRU, without batch normalisation. Ravanelli et al. 2018, arXiv 1803.10225.",
        equations=[
            Eq(z, sigmoid(W_z @ x + U_z @ h + b_z)),
            Eq(n, act(W_n @ x + U_n @ h + b_n)),
            Eq(h_next, z * h + (1 - z) * n),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "z n"),
    )
