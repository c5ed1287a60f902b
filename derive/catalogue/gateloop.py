"""GateLoop: a memory whose decays are complex and follow the input.

Katsch 2023, "GateLoop: fully data-controlled linear recurrence for sequence modeling", arXiv
2311.01927. The state is S + i Z, its transition a e^(i p). polar: size and angle have weights of
their own, a = sigmoid(u), p = w. cartesian: they are the size and the angle of u + i w, a =
sigmoid(|u + i w|), as in lucidrains' gateloop_transformer, which takes one number a head (K = D =
1). The author's later code is a real cell of another form, h' = (1 - i) h + i tanh(.). Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family

#: The real and the imaginary part of the transition.
ROTATIONS = {
    "polar": """\
a  = sigmoid(u)
c  = a * cos(w)
s  = a * sin(w)""",
    "cartesian": """\
r  = sqrt(u**2 + w**2)
a  = sigmoid(r)
c  = a * u / r
s  = a * w / r""",
}


@family
def gateloop(
    *,
    transition: Annotated[Literal["polar", "cartesian"], "what u and w are of it"] = "polar",
) -> Text:
    """GateLoop: S' = S diag(a e^(i p)) + v k, read by its real part."""
    return Text(
        doc="GateLoop. Katsch 2023, arXiv 2311.01927.",
        text=f"""
input  x: I
state  S: N x D x K, Z: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, W_u: N x K x I, W_w: N x K x I

u  = W_u @ x
w  = W_w @ x
{ROTATIONS[transition]}
S' = c * S - s * Z + outer(W_v @ x, W_k @ x)
Z' = s * S + c * Z
y  = S' @ (W_q @ x)

output y
""",
    )
