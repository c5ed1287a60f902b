"""Mamba-2: a state space with one decay for each head.

Dao & Gu 2024, "Transformers are SSMs: generalized models and efficient algorithms through
structured state space duality", arXiv 2405.21060. B and C are shared by all heads (one group). As
in the code (mamba_ssm, Mamba2.step) the input is taken times dt. Convolutions, norm and gate
belong to the block. Starts: A_log = log U(1, 16), skip = 1, the softplus of b_dt log-uniform in
0.001 .. 0.1. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def mamba2() -> Text:
    """Mamba-2: S' = exp(dt A) S + (dt v) B, y = S' C + skip v."""
    return Text(
        doc="Mamba-2. Dao & Gu 2024, arXiv 2405.21060.",
        text="""
input  x: I
state  S: N x D x K
param  W_v: N x D x I, W_B: K x I, W_C: K x I, w_dt: N x I
param  b_dt: N = log(expm1(exp(uniform(-6.9078, -2.3026)))), A_log: N = log(uniform(1, 16))
param  skip: N = 1

v  = W_v @ x
B  = W_B @ x
C  = W_C @ x
dt = softplus(w_dt @ x + b_dt)
S' = exp(-dt * exp(A_log)) * S + outer(dt * v, B)
y  = S' @ C + skip * v

output y
""",
    )
