"""Gated DeltaNet-2: what is erased and what is written have gates of their own, element by element.

Hatamizadeh, Choi & Kautz 2026, "Gated DeltaNet-2: decoupling erase and write in linear attention",
arXiv 2605.22791, by flash-linear-attention. With e = w = b it is KDA. The decay is that of KDA, of
a product of rank R, and starts as there. Convolutions, norm and gate belong to the block. Equation
numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def gdn2() -> Text:
    """Gated DeltaNet-2: T = S diag(a), S' = T + (w v - T (e k)) k."""
    return Text(
        doc="Gated DeltaNet-2. Hatamizadeh et al. 2026, arXiv 2605.22791.",
        text="""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, W_e: N x K x I, W_w: N x D x I
param  A: R x I, W_a: N x K x R, A_log: N = log(uniform(1, 16))
param  b_a: N x K = log(expm1(exp(uniform(-6.9078, -2.3026))))

q_s = silu(W_q @ x)
k_s = silu(W_k @ x)
q   = q_s / sqrt(sum(q_s**2) + 1e-6)
k   = k_s / sqrt(sum(k_s**2) + 1e-6)
v   = silu(W_v @ x)
a   = exp(-exp(A_log) * softplus(W_a @ (A @ x) + b_a))
e   = sigmoid(W_e @ x)
w   = sigmoid(W_w @ x)
T   = a * S
S'  = T + outer(w * v - T @ (e * k), k)
y   = S' @ q

output y
""",
    )
