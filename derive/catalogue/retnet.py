"""Retention: linear attention with a decay that is fixed for each head.

Sun, Dong, Huang, Ma, Xia, Xue, Wang & Wei 2023, "Retentive network: a successor to transformer for
large language models", arXiv 2307.08621, the recurrent form. The decays are g = 1 - 2^(-5 - n) for
head n = 0, 1, ... there; they are given with the parameters and not trained. With rotation the
halves of q and k are turned by t times the angles, t = 0, 1, ..., as complex numbers are;
10000^(-j / (R - 1)) for j = 0 .. R - 1 in torchscale. K^-1/2 is part of W_k. torchscale divides
the state by the root of the sum of its weights, which the norm behind it takes out again; that
norm and the gate behind it belong to the block. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family

ROTATED = """
input  x: I
state  S: N x D x R, Z: N x D x R, t: 1
fixed  g: N, angle: R
param  W_q: N x R x I, V_q: N x R x I, W_k: N x R x I, V_k: N x R x I, W_v: N x D x I

c  = cos(t * angle)
s  = sin(t * angle)
q  = W_q @ x
p  = V_q @ x
k  = W_k @ x
l  = V_k @ x
v  = W_v @ x
S' = g * S + outer(v, c * k - s * l)
Z' = g * Z + outer(v, s * k + c * l)
t' = t + 1
y  = S' @ (c * q - s * p) + Z' @ (s * q + c * p)

output y
"""

PLAIN = """
input  x: I
state  S: N x D x K
fixed  g: N
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I

S' = g * S + outer(W_v @ x, W_k @ x)
y  = S' @ (W_q @ x)

output y
"""


@family
def retnet(
    *,
    rotation: Annotated[bool, "the halves of q and k are turned by t times the angle"] = True,
) -> Text:
    """Retention: S' = g S + v k, with q and k turned by the position."""
    return Text(
        doc="Retention. Sun et al. 2023, arXiv 2307.08621.",
        text=f"""
{ROTATED if rotation else PLAIN}
""",
    )
