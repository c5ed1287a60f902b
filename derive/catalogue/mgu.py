"""The minimal gated unit: one gate both resets and updates.

Zhou, Wu, Zhang & Zhou 2016, "Minimal gated unit for recurrent neural networks", arXiv 1603.09420.
It is the GRU with the reset gate before the product, z writing, and r and z tied. Equation numbers
not checked.
"""

from __future__ import annotations

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def mgu() -> Draft:
    """Minimal gated unit: h' = (1 - f) h + f n."""
    x, h, h_next, f, n, b_f, b_n = arrays("x h h_next f n b_f b_n")
    W_f, W_n, U_f, U_n = arrays("W_f W_n U_f U_n")
    return Draft(
        doc="Minimal gated unit. Zhou et al. 2016, arXiv 1603.09420.",
        equations=[
            Eq(f, sigmoid(W_f @ x + U_f @ h + b_f)),
            Eq(n, tanh(W_n @ x + U_n @ (f * h) + b_n)),
            Eq(h_next, (1 - f) * h + f * n),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "f n"),
    )
