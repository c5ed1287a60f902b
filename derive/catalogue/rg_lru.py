"""The real-gated linear recurrent unit of Griffin and Hawk.

De et al. 2024, "Griffin: mixing gated linear recurrences with local attention for efficient
language models", arXiv 2402.19427. a = sigmoid(L)^(8 r), written as exp(8 r logsigmoid(L)). The
official code (recurrentgemma) has exp(-8 r softplus(L)), the same with the sign of L turned; its
gate matrices are block-diagonal by head, and the first step of a document takes h = i x. Here the
matrices are dense, and x has the width of the state. Starts there, and here: sigmoid(L)^2 uniform
in 0.81 .. 0.998; biases 0. Equation numbers not checked.
"""

from __future__ import annotations

from sympy import Eq, sqrt

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import exp, logsigmoid, sigmoid
from derive.symbolic.heads import arrays


@family
def rg_lru() -> Draft:
    """Real-gated linear recurrent unit: h' = a h + sqrt(1 - a^2) (i x)."""
    x, h, h_next, r, i, a, L = arrays("x h h_next r i a L")
    W_r, W_i, b_r, b_i = arrays("W_r W_i b_r b_i")
    return Draft(
        doc="Real-gated linear recurrent unit. De et al. 2024, arXiv 2402.19427.",
        equations=[
            Eq(r, sigmoid(W_r @ x + b_r)),
            Eq(i, sigmoid(W_i @ x + b_i)),
            Eq(a, exp(8 * r * logsigmoid(L))),
            Eq(h_next, a * h + sqrt(1 - a**2) * (i * x)),
        ],
        inputs={"x": "H"},
        states={"h": "H"},
        params=stacked({"W": ("H", "H")}, "r i") | stacked({"b": ("H",)}, "r i") | {"L": ("H",)},
        starts={"L": "-log(expm1(-0.5 * log(uniform(0.81, 0.998))))"},
    )
