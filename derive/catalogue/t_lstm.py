"""T-LSTM, the strongly typed LSTM: gates see this input and the one before, never the state.

Balduzzi & Ghifary 2016, "Strongly-typed recurrent neural networks", arXiv 1602.02218, as in
torchrecurrent: tau is tanh. Not the time-aware LSTM: time_lstm. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Activation, Text, applied, family


@family
def t_lstm(
    *,
    activation: Annotated[Activation, "tau, of o"] = "tanh",
) -> Text:
    """T-LSTM: c' = f c + (1 - f) z, h = c' o, all gates from x and the x before."""
    return Text(
        doc="Strongly typed LSTM. Balduzzi & Ghifary 2016, arXiv 1602.02218.",
        text=f"""
input  x: I
state  c: H, l: I
param  W_z: H x I, W_f: H x I, W_o: H x I, V_z: H x I, V_f: H x I, V_o: H x I
param  b_z: H, b_f: H, b_o: H

z  = W_z @ x + V_z @ l + b_z
f  = sigmoid(W_f @ x + V_f @ l + b_f)
o  = {applied(activation, "W_o @ x + V_o @ l + b_o")}
c' = f * c + (1 - f) * z
l' = x
h  = c' * o

output h
""",
    )
