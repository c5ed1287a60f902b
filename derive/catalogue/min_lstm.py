"""minLSTM: no gate sees the state, and the two gates share one unit of weight.

Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201: f
and i are divided by their sum. With log_space the form of the appendix: the quotient f / (f + i)
from logarithms, the same number without a division, which holds up where both gates underflow; and
the positive candidate of minGRU. The layers of the paper are affine, so there are biases. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.min_gru import positive
from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import exp, sigmoid, softplus
from derive.symbolic.heads import arrays


@family
def min_lstm(
    *,
    log_space: Annotated[bool, "the paper's log-space form, with its positive candidate"] = False,
) -> Draft:
    """minLSTM: h' = f/(f+i) h + i/(f+i) n, where f, i and n see the input alone."""
    x, h, h_next, f, i, n, a, d = arrays("x h h_next f i n a d")
    W_f, W_i, W_n, b_f, b_i, b_n = arrays("W_f W_i W_n b_f b_i b_n")
    a_f, a_i, a_n = W_f @ x + b_f, W_i @ x + b_i, W_n @ x + b_n
    if log_space:
        equations = [
            Eq(d, softplus(-a_f) - softplus(-a_i)),  # log(i / f)
            Eq(a, a_n),
            Eq(n, positive(a)),
            Eq(h_next, exp(-softplus(d)) * h + exp(-softplus(-d)) * n),
        ]
    else:
        equations = [
            Eq(f, sigmoid(a_f)),
            Eq(i, sigmoid(a_i)),
            Eq(n, a_n),
            Eq(h_next, f / (f + i) * h + i / (f + i) * n),
        ]
    return Draft(
        doc="minLSTM. Feng et al. 2024, arXiv 2410.01201.",
        equations=equations,
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "b": ("H",)}, "f i n"),
    )
