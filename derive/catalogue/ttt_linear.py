"""TTT-linear: the state is a linear map that takes a step of gradient descent for each input.

Sun, Li, Dalal, Xu, Vikram, Zhang, Dubois, Chen, Wang, Koyejo, Hashimoto & Guestrin 2024, "Learning
to (learn at test time): RNNs with expressive hidden states", arXiv 2407.04620, as in the authors'
code, one token a batch. The inner loss is half the squared distance of LN(W k + b) to v - k, its
gradient G written out. The authors' rate is sigmoid(w_l x + b_l) / D; here rate is a number. They
take gradients at the start of mini-batches of 16 and W_0 of N(0, 0.02). flash-linear-attention
puts y + LN(y) where the authors put q + LN(y), output=own, and scales q. Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family, to_text


@family
def ttt_linear(
    *,
    rate: Annotated[float, "what sigmoid(w_l x + b_l) is taken times; 1 / D in the code"] = 1.0,
    output: Annotated[Literal["query", "own"], "what LN(o) is added to: q, or o"] = "query",
) -> Text:
    """TTT-linear: W' = W - e G k, b' = b - e G, y = q + LN(W' q + b')."""
    return Text(
        doc="TTT-linear. Sun et al. 2024, arXiv 2407.04620.",
        text=f"""
input  x: I
state  W: N x D x D, b: N x D
param  W_q: N x D x I, W_k: N x D x I, W_v: N x D x I, w_l: N x I, b_l: N
param  gain: N x D = 1, shift: N x D = 0
const  rate = {to_text(rate)}

q  = W_q @ x
k  = W_k @ x
v  = W_v @ x
z  = W @ k + b
m  = z - mean(z)
s  = sqrt(mean(m**2) + 1e-6)
u  = m / s
g  = gain * (gain * u + shift - (v - k))
G  = (g - mean(g) - u * mean(g * u)) / s
e  = rate * sigmoid(w_l @ x + b_l)
W' = W - e * outer(G, k)
b' = b - e * G
o  = W' @ q + b'
y  = {"q" if output == "query" else "o"} + gain * layer_norm(o, eps=1e-6) + shift

output y
""",
    )
