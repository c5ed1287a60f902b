"""WMC-LSTM, working memory connections: the gates see the cell state through a matrix and tanh.

Landi, Baraldi, Cornia & Cucchiara 2021, "Working memory connections for LSTM", Neural Networks
144, arXiv 2109.00020. The output gate sees the new cell state. torchrecurrent adds a bias inside
the tanh and a second one outside; its text leaves out the tanh. RecurrentLayers.jl lets the
candidate see x alone, candidate=input. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def wmc_lstm(
    *,
    candidate: Annotated[Literal["both", "input"], "g sees x and h, or x alone"] = "both",
) -> Text:
    """WMC-LSTM: gates of W x + U h + tanh(V c) + b."""
    recurrent = ", U_g: H x H" if candidate == "both" else ""
    return Text(
        doc="Working memory connections. Landi et al. 2021, arXiv 2109.00020.",
        text=f"""
input  x: I
state  h: H, c: H
param  W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I, U_i: H x H, U_f: H x H{recurrent}, U_o: H x H
param  V_i: H x H, V_f: H x H, V_o: H x H, b_i: H, b_f: H, b_g: H, b_o: H

i  = sigmoid(W_i @ x + U_i @ h + tanh(V_i @ c) + b_i)
f  = sigmoid(W_f @ x + U_f @ h + tanh(V_f @ c) + b_f)
g  = tanh(W_g @ x{" + U_g @ h" if recurrent else ""} + b_g)
c' = f * c + i * g
o  = sigmoid(W_o @ x + U_o @ h + tanh(V_o @ c') + b_o)
h' = o * tanh(c')

output h'
""",
    )
