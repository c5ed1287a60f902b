"""SGU and DSGU, the simple gated units: the input scales the state that the candidate is made of.

Gao & Glowacka 2016, "Deep gate recurrent neural network", arXiv 1604.02910, PMLR 63, as in
torchrecurrent. sgu: the candidate is a softplus of z h; deep (DSGU): a sigmoid of W (z h). The
update gate is a hard sigmoid. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family


@family
def sgu(
    *,
    deep: Annotated[bool, "DSGU: a matrix and a sigmoid around g h"] = False,
) -> Text:
    """SGU: g = tanh(U (a h) + c), h' = (1 - z) h + z softplus(g h)."""
    return Text(
        doc="Simple gated unit. Gao & Glowacka 2016, PMLR 63.",
        text=f"""
input  x: I
state  h: H
param  W_g: H x I, W_z: H x I, U_g: H x H, U_z: H x H{", W_o: H x H" if deep else ""}
param  b_g: H, b_z: H, c_g: H

a  = W_g @ x + b_g
g  = tanh(U_g @ (a * h) + c_g)
n  = {"sigmoid(W_o @ (g * h))" if deep else "softplus(g * h)"}
z  = hard_sigmoid(W_z @ x + U_z @ h + b_z)
h' = (1 - z) * h + z * n

output h'
""",
    )
