"""RWKV-5, Eagle: a matrix memory with a decay for each row and a bonus for the present step.

Peng et al. 2024, "Eagle and Finch: RWKV with matrix-valued states and dynamic recurrence", arXiv
2404.05892, by the authors' kernel (wkv5_cuda). The decay is exp(-exp(d)). Token shift, group norm
(of y / 8) and gate belong to the block. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def rwkv5() -> Text:
    """RWKV-5: y = S r + (r u k) v, S' = S diag(w) + v k."""
    return Text(
        doc="RWKV-5. Peng et al. 2024, arXiv 2404.05892.",
        text="""
input  x: I
state  S: N x D x K
param  W_r: N x K x I, W_k: N x K x I, W_v: N x D x I, d: N x K = uniform(-6, -1), u: N x K

r  = W_r @ x
k  = W_k @ x
v  = W_v @ x
y  = S @ r + sum(r * u * k) * v
S' = exp(-exp(d)) * S + outer(v, k)

output y
""",
    )
