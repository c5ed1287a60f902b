"""Kimi delta attention: gated DeltaNet with a decay for each column of the memory.

Kimi team 2025, "Kimi Linear: an expressive, efficient attention architecture", arXiv 2510.26692.
The erase term reads the decayed memory. The decay comes from a product of rank R; with safe_gate
it is exp(-5 sigmoid(exp(A_log) (g + b_a))), which flash-linear-attention has for its kernels.
Starts: A_log = log U(1, 16), with safe_gate 0; the softplus of b_a log-uniform in 0.001 .. 0.1.
Convolutions, norm and gate belong to the block. Its eq. 1 is this step, by a page of
flash-linear-attention. Other equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family


@family
def kda(
    *,
    safe_gate: Annotated[bool, "a bounded from below, by exp(-5)"] = False,
) -> Text:
    """Kimi delta attention: T = S diag(a), S' = T + b (v - T k) k."""
    start = "0" if safe_gate else "log(uniform(1, 16))"
    decay = "-5 * sigmoid(exp(A_log) * g)" if safe_gate else "-exp(A_log) * softplus(g)"
    return Text(
        doc="Kimi delta attention. Kimi team 2025, arXiv 2510.26692.",
        text=f"""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, w_b: N x I, A: R x I, W_a: N x K x R
param  b_a: N x K = log(expm1(exp(uniform(-6.9078, -2.3026)))), A_log: N = {start}

q_s = silu(W_q @ x)
k_s = silu(W_k @ x)
q   = q_s / sqrt(sum(q_s**2) + 1e-6)
k   = k_s / sqrt(sum(k_s**2) + 1e-6)
v   = silu(W_v @ x)
g   = W_a @ (A @ x) + b_a
a   = exp({decay})
b   = sigmoid(w_b @ x)
T   = a * S
S'  = T + outer(b * (v - T @ k), k)
y   = S' @ q

output y
""",
    )
