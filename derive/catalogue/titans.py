"""Titans' neural memory, linear: gradient descent with momentum and decay, a step for each input.

Behrouz, Zhong & Mirrokni 2025, "Titans: learning to memorize at test time", arXiv 2501.00663:
momentum is eq. 10, the loss |M k - v|^2 eq. 12, the decay eq. 13, by the comments in lucidrains'
titans_pytorch. The gradient is taken at the previous memory; the programs take it at the start of
a chunk. lucidrains' titans_pytorch has the mean over D in place of the sum, and a memory of two
layers; the gradient through a layer norm in flash-linear-attention's naive form is scaled
otherwise. k and q of length 1, as the paper says, by silu and 1e-6 under the root. Other
equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def titans() -> Text:
    """Titans, linear memory: Z' = e Z - t grad, M' = (1 - a) M + Z', y = M' q."""
    return Text(
        doc="Titans, linear memory. Behrouz et al. 2025, arXiv 2501.00663, eqs. 10, 12 and 13.",
        text="""
input  x: I
state  M: N x D x K, Z: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I
param  w_a: N x I, w_e: N x I, w_t: N x I, b_a: N, b_e: N, b_t: N

q_s = silu(W_q @ x)
k_s = silu(W_k @ x)
q   = q_s / sqrt(sum(q_s**2) + 1e-6)
k   = k_s / sqrt(sum(k_s**2) + 1e-6)
v   = silu(W_v @ x)
a   = sigmoid(w_a @ x + b_a)
e   = sigmoid(w_e @ x + b_e)
t   = sigmoid(w_t @ x + b_t)
Z'  = e * Z - t * outer(2 * (M @ k - v), k)
M'  = (1 - a) * M + Z'
y   = M' @ q

output y
""",
    )
