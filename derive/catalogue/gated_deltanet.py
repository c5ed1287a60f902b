"""Gated DeltaNet: the delta rule on a memory that decays, one decay for each head.

Yang, Kautz & Hatamizadeh 2024, "Gated delta networks: improving Mamba2 with delta rule", arXiv
2412.06464. The decay is that of Mamba-2. The erase term reads the decayed memory T, as in the
paper's S (a (I - b k k')) and in flash-linear-attention. The short convolutions before, the norm
and the gate behind belong to the block; K^-1/2 on the read-out is left out. Starts: A_log = log
U(0, 16), b_a as Mamba's b_dt, in the authors' code. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family


@family
def gated_deltanet(
    *,
    negative: Annotated[bool, "b in (0, 2) in place of (0, 1)"] = False,
) -> Text:
    """Gated DeltaNet: T = a S, S' = T + b (v - T k) k."""
    twice = "2 * " if negative else ""
    return Text(
        doc="Gated DeltaNet. Yang et al. 2024, arXiv 2412.06464.",
        text=f"""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, w_b: N x I, w_a: N x I
param  b_a: N = log(expm1(exp(uniform(-6.9078, -2.3026)))), A_log: N = log(uniform(0, 16))

q_s = silu(W_q @ x)
k_s = silu(W_k @ x)
q   = q_s / sqrt(sum(q_s**2) + 1e-6)
k   = k_s / sqrt(sum(k_s**2) + 1e-6)
v   = silu(W_v @ x)
a   = exp(-exp(A_log) * softplus(w_a @ x + b_a))
b   = {twice}sigmoid(w_b @ x)
T   = a * S
S'  = T + outer(b * (v - T @ k), k)
y   = S' @ q

output y
""",
    )
