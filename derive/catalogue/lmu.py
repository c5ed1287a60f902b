"""LMU, the Legendre memory unit: a linear memory of a sliding window beside a nonlinear state.

Voelker, Kajic & Eliasmith 2019, "Legendre memory units: continuous-time representation in
recurrent neural networks", NeurIPS. A and B are fixed, by the zero-order hold of A_ij = (2 i + 1)
(-1 where i < j, else (-1)^(i - j + 1)) and B_i = (2 i + 1) (-1)^i over a window of theta steps:
the matrix exponential of [[A, B], [0, 0]] / theta; by Euler's rule I + A / theta and B / theta.
keras-lmu starts kernels glorot and recurrent ones orthogonal, and has no biases; hippo-code's
LMUCell starts e_x at 1, the other encoders at 0. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Activation, Text, applied, family


@family
def lmu(
    *,
    activation: Annotated[Activation, "of the hidden state"] = "tanh",
) -> Text:
    """LMU: u = e_x x + e_h h + e_m m, m' = A m + B u, h' = tanh(W x + U h + V m')."""
    return Text(
        doc="Legendre memory unit. Voelker, Kajic & Eliasmith 2019, NeurIPS.",
        text=f"""
input  x: I
state  h: H, m: M
fixed  A: M x M, B: M
param  e_x: 1 x I = glorot, e_h: 1 x H = glorot, e_m: 1 x M = 0
param  W: H x I = glorot, U: H x H = orthogonal, V: H x M = glorot

u  = e_x @ x + e_h @ h + e_m @ m
m' = A @ m + B * u
h' = {applied(activation, "W @ x + U @ h + V @ m'")}

output h'
""",
    )
