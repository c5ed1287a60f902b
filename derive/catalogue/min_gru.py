"""minGRU: no gate sees the state, so the step is linear in it and a parallel scan is legal.

Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201,
section 3.1; with log_space the candidate of the appendix, positive, so that a scan may work
with logarithms. The layers of the paper are affine, so there are biases.
"""

from __future__ import annotations

from typing import Annotated, Any

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import HALF, less, sigmoid, where
from derive.symbolic.heads import arrays


def positive(v: Any) -> Any:
    """g of the paper: v + 1/2 where v >= 0, sigmoid(v) below."""
    return where(less(v, 0), sigmoid(v), v + HALF)


@family
def min_gru(
    *,
    log_space: Annotated[bool, "the positive candidate of the paper's log-space form"] = False,
) -> Draft:
    """minGRU: h' = (1 - z) h + z n, where z and n see the input alone."""
    x, h, h_next, z, n, a = arrays("x h h_next z n a")
    W_z, W_n, b_z, b_n = arrays("W_z W_n b_z b_n")
    affine = W_n @ x + b_n
    return Draft(
        doc="minGRU. Feng et al. 2024, arXiv 2410.01201, section 3.1.",
        equations=[
            Eq(z, sigmoid(W_z @ x + b_z)),
            *([Eq(a, affine), Eq(n, positive(a))] if log_space else [Eq(n, affine)]),
            Eq(h_next, (1 - z) * h + z * n),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "b": ("H",)}, "z n"),
    )
