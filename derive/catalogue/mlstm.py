"""mLSTM: a matrix memory with exponential gates and a running maximum that keeps them finite.

Beck, Pöppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter & Hochreiter 2024, "xLSTM:
extended long short-term memory", arXiv 2405.04517, with heads. K^-1/2 on k is part of
W_k. The gates see x, as in the paper; the authors' code (xlstm) shows them q, k and v, adds 1e-6
to the denominator, and normalises h by head before the output gate. xlstm keeps k / sqrt(K) in C
and n, mlstm_kernels k: the same h. m only shifts what C and n are counted in: h does not depend on
it. Starts in the code: b_f from 3 to 6 over the heads, b_i of N(0, 0.1), w_i = w_f = 0. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def mlstm(
    *,
    forget_gate: Annotated[Literal["sigmoid", "exp"], "of the forget gate's sum"] = "sigmoid",
) -> Text:
    """mLSTM: C' = f C + i v k, n' = f n + i k, h = o (C' q) / max(|n' q|, exp(-m'))."""
    sum_f = "w_f @ x + b_f"
    log_gate = f"logsigmoid({sum_f})" if forget_gate == "sigmoid" else sum_f
    return Text(
        doc="mLSTM. Beck et al. 2024, arXiv 2405.04517.",
        text=f"""
input  x: I
state  C: N x D x K, n: N x K, m: N
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, W_o: N x D x I, w_i: N x I, w_f: N x I
param  b_q: N x K, b_k: N x K, b_v: N x D, b_o: N x D
param  b_i: N = normal(0, 0.1), b_f: N = uniform(3, 6)

q  = W_q @ x + b_q
k  = W_k @ x + b_k
v  = W_v @ x + b_v
o  = sigmoid(W_o @ x + b_o)
a  = w_i @ x + b_i
l  = {log_gate}
m' = maximum(l + m, a)
i  = exp(a - m')
f  = exp(l + m - m')
C' = f * C + i * outer(v, k)
n' = f * n + i * k
h  = o * (C' @ q) / maximum(abs(sum(n' * q)), exp(-m'))

output h
""",
    )
