"""T-GRU, the strongly typed GRU: gates see this input and the one before, never the state.

Balduzzi & Ghifary 2016, "Strongly-typed recurrent neural networks", arXiv 1602.02218, as in
torchrecurrent: tau is tanh. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Activation, Text, applied, family


@family
def t_gru(
    *,
    activation: Annotated[Activation, "tau, of o"] = "tanh",
) -> Text:
    """T-GRU: h' = f h + z o, all from x and the x before."""
    return Text(
        doc="Strongly typed GRU. Balduzzi & Ghifary 2016, arXiv 1602.02218.",
        text=f"""
input  x: I
state  h: H, l: I
param  W_z: H x I, W_f: H x I, W_o: H x I, V_z: H x I, V_f: H x I, V_o: H x I
param  b_z: H, b_f: H, b_o: H

z  = W_z @ x + V_z @ l + b_z
f  = sigmoid(W_f @ x + V_f @ l + b_f)
o  = {applied(activation, "W_o @ x + V_o @ l + b_o")}
h' = f * h + z * o
l' = x

output h'
""",
    )
