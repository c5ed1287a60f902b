"""Longhorn: the state space whose step solves a small regression in closed form.

Liu, Wang, Gu, Lin, Feng, Zhang & Liu 2024, "Longhorn: state space models are amortized online
learners", arXiv 2407.14207. The input has the width of the block's inner part, as in mamba; beta
comes from a product of rank R. The diagonal approximation of the paper, k^2 in place of k k'. skip
starts at 1. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def longhorn() -> Text:
    """Longhorn: h' = (1 - D k^2) h + (D u) k, D = beta / (1 + beta k k), y = h' q + skip u."""
    return Text(
        doc="Longhorn. Liu et al. 2024, arXiv 2407.14207.",
        text="""
input  u: D
state  h: D x K
param  W_k: K x D, W_q: K x D, W_r: R x D, W_b: D x R, b: D, skip: D = 1

k  = W_k @ u
q  = W_q @ u
e  = sigmoid(W_b @ (W_r @ u) + b)
g  = e / (1 + e * sum(k**2))
h' = (1 - outer(g, k**2)) * h + outer(g * u, k)
y  = h' @ q + skip * u

output y
""",
    )
