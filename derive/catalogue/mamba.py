"""S6, the selective state space of Mamba: the step, and what is written and read, follow the input.

Gu & Dao 2023, "Mamba: linear-time sequence modeling with selective state spaces", arXiv
2312.00752. The input has the width of the block's inner part; the convolution before
and the gate behind belong to the block. The matrix B is taken times dt, as in the code (mamba_ssm,
selective_scan_ref); the text of the paper has the zero-order hold for B too. The step comes from a
product of rank R. Starts in the code: A_log = log(1 .. K) in every row, given here as 0; skip = 1;
the softplus of b_dt log-uniform in 0.001 .. 0.1. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def mamba() -> Text:
    """Selective state space: h' = exp(dt A) h + (dt u) B, y = h' C + skip u."""
    return Text(
        doc="Selective state space, S6. Gu & Dao 2023, arXiv 2312.00752.",
        text="""
input  u: D
state  h: D x K
param  W_B: K x D, W_C: K x D, W_r: R x D, W_dt: D x R
param  b_dt: D = log(expm1(exp(uniform(-6.9078, -2.3026)))), A_log: D x K = 0, skip: D = 1

dt = softplus(W_dt @ (W_r @ u) + b_dt)
B  = W_B @ u
C  = W_C @ u
h' = exp(-dt * exp(A_log)) * h + outer(dt * u, B)
y  = h' @ C + skip * u

output y
""",
    )
