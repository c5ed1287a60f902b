"""Comba: gated DeltaNet that erases with one key, writes with another, and corrects the query.

Hu, Pan, Li, Xu, Liang & Hu 2025, "Comba: improving bilinear RNNs with closed-loop control", arXiv
2506.02475, by flash-linear-attention. The erasing key is p = sigmoid(d) k, the query q - D_q p,
one d and one D_q for each head; D_q starts at 1, in small models at 0.02. Its kernels take the
erase term from the previous memory, as here; its naive_recurrent_comba takes it from the decayed
one, erase=decayed. Its layer normalises p in the kernel, which takes sigmoid(d) out of the update
again. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def comba(
    *,
    erase: Annotated[
        Literal["previous", "decayed"], "which memory the erase term reads"
    ] = "previous",
) -> Text:
    """Comba: S' = a S + b (v - S p) k, read by q - D_q p."""
    return Text(
        doc="Comba. Hu et al. 2025, arXiv 2506.02475.",
        text=f"""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, w_b: N x I, w_a: N x I
param  b_a: N = log(expm1(exp(uniform(-6.9078, -2.3026)))), A_log: N = log(uniform(0, 16))
param  d: N = 1, D_q: N = 1

q_s = silu(W_q @ x)
k_s = silu(W_k @ x)
q   = q_s / sqrt(sum(q_s**2) + 1e-6)
k   = k_s / sqrt(sum(k_s**2) + 1e-6)
v   = silu(W_v @ x)
a   = exp(-exp(A_log) * softplus(w_a @ x + b_a))
b   = sigmoid(w_b @ x)
p   = sigmoid(d) * k
T   = a * S
S'  = T + outer(b * (v - {"S" if erase == "previous" else "T"} @ p), k)
y   = S' @ (q - D_q * p)

output y
""",
    )
