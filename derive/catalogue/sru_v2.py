"""SRU, second version: the gates see the state through vectors.

Lei, Zhang, Wang, Dai & Artzi 2018, "Simple recurrent units for highly parallelizable recurrence",
arXiv 1709.02755, later versions, as in the authors' code. x has the width of the state; scale is
what the highway multiplies it by, 1, or sqrt(3) with rescale and a highway bias of 0. Starts in
the code: v U(-sqrt 3, sqrt 3) times sqrt 0.5. The first version is sru. Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Activation, Text, applied, family, to_text


@family
def sru_v2(
    *,
    activation: Annotated[Activation, "of the state where the output sees it"] = "identity",
    scale: Annotated[float, "of x on the highway"] = 1.0,
) -> Text:
    """SRU v2: c' = f c + (1 - f) W x, h = r act(c') + (1 - r) scale x, f and r see v c."""
    return Text(
        doc="Simple recurrent unit, version 2. Lei et al. 2018, arXiv 1709.02755.",
        text=f"""
input  x: H
state  c: H
param  W: H x H, W_f: H x H, W_r: H x H, b_f: H, b_r: H
param  v_f: H = uniform(-1.2247, 1.2247), v_r: H = uniform(-1.2247, 1.2247)
const  scale = {to_text(scale)}

u  = W @ x
f  = sigmoid(W_f @ x + v_f * c + b_f)
r  = sigmoid(W_r @ x + v_r * c + b_r)
c' = f * c + (1 - f) * u
h  = r * {applied(activation, "c'")} + (1 - r) * (scale * x)

output h
""",
    )
