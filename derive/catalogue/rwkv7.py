"""RWKV-7, Goose: the delta rule with a decay, a rate and a key for each channel.

Peng et al. 2025, "RWKV-7 Goose with expressive dynamic state evolution", arXiv 2503.14456, by the
authors' rwkv_v7_numpy and demo_rnn. Decay and rate come from products of rank R; the decay lies
above exp(-exp(-1/2)) = 0.545. The erase term reads the previous memory. Token shift, the value
mixed in from the first layer, group norm and gate belong to the block; the bonus (r r_k k) v is
here. Starts: k_k = 0.71, k_a = 1.02, r_k = -0.04, up to ramps. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def rwkv7() -> Text:
    """RWKV-7: S' = S diag(w) - (S z) (z a) + v k, y = S' r + (r r_k k) v, z of length 1."""
    return Text(
        doc="RWKV-7. Peng et al. 2025, arXiv 2503.14456.",
        text="""
input  x: I
state  S: N x D x K
param  W_r: N x K x I, W_k: N x K x I, W_v: N x D x I
param  A_w: R x I, W_w: N x K x R, w_0: N x K, A_a: R x I, W_a: N x K x R, a_0: N x K
param  k_k: N x K = 0.71, k_a: N x K = 1.02, r_k: N x K = -0.04

r  = W_r @ x
v  = W_v @ x
q  = W_k @ x
w  = exp(-exp(-0.5) * sigmoid(w_0 + W_w @ tanh(A_w @ x)))
a  = sigmoid(a_0 + W_a @ (A_a @ x))
e  = q * k_k
z  = e / maximum(norm(e), 1e-12)
k  = q * (1 + (a - 1) * k_a)
S' = w * S - outer(S @ z, z * a) + outer(v, k)
y  = S' @ r + sum(r * k * r_k) * v

output y
""",
    )
