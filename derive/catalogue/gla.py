"""Gated linear attention: each column of the memory has a decay of its own, seen in the input.

Yang, Wang, Shen, Panda & Kim 2023, "Gated linear attention transformers with hardware-efficient
training", arXiv 2312.06635. The decay is sigmoid(.)^(1/16) of a product of rank R (16 there).
K^-1/2 is part of W_q; the norm and the gate behind the read-out belong to the block. Equation
numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def gla() -> Text:
    """Gated linear attention: S' = S diag(a) + v k, a in (0, 1) from the input."""
    return Text(
        doc="Gated linear attention. Yang et al. 2023, arXiv 2312.06635.",
        text="""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, A: R x I, W_a: N x K x R, b_a: N x K

q  = W_q @ x
k  = W_k @ x
v  = W_v @ x
a  = exp(logsigmoid(W_a @ (A @ x) + b_a) / 16)
S' = a * S + outer(v, k)
y  = S' @ q

output y
""",
    )
