"""RWKV-6, Finch: RWKV-5 with a decay that follows the input.

Peng et al. 2024, "Eagle and Finch: RWKV with matrix-valued states and dynamic recurrence", arXiv
2404.05892, by the authors' kernel (wkv6_cuda): d = w_0 + tanh(x A) B, of rank R. The
data-dependent token shift, group norm and gate belong to the block. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def rwkv6() -> Text:
    """RWKV-6: y = S r + (r u k) v, S' = S diag(exp(-exp(d))) + v k, d from the input."""
    return Text(
        doc="RWKV-6. Peng et al. 2024, arXiv 2404.05892.",
        text="""
input  x: I
state  S: N x D x K
param  W_r: N x K x I, W_k: N x K x I, W_v: N x D x I, A: R x I, W_d: N x K x R
param  w_0: N x K = uniform(-6, -1), u: N x K

r  = W_r @ x
k  = W_k @ x
v  = W_v @ x
d  = w_0 + W_d @ tanh(A @ x)
y  = S @ r + sum(r * u * k) * v
S' = exp(-exp(d)) * S + outer(v, k)

output y
""",
    )
