"""MC-LSTM: memory control by a vector of its own, apart from the output.

A paper of the NIPS 2017 workshop on sequence modelling at Intel, as in RecurrentLayers.jl and
torchrecurrent (MCLSTM), whose text says that the gates are driven by a control vector v = m
tanh(c) and never by h = o tanh(c), which goes to the next layer alone. Read in those programs, not
in the paper: equation numbers not checked. Not the mass-conserving LSTM (Hoedt et al. 2021).
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def mc_lstm() -> Text:
    """MC-LSTM: gates see v' = m tanh(c'), the output is h = o tanh(c')."""
    return Text(
        doc="Memory-control LSTM. NIPS 2017 workshop, as in torchrecurrent.",
        text="""
input  x: I
state  v: H, c: H
param  W_f: H x I, W_i: H x I, W_o: H x I, W_m: H x I, W_g: H x I
param  U_f: H x H, U_i: H x H, U_o: H x H, U_m: H x H, U_g: H x H
param  b_f: H, b_i: H, b_o: H, b_m: H, b_g: H

f  = sigmoid(W_f @ x + U_f @ v + b_f)
i  = sigmoid(W_i @ x + U_i @ v + b_i)
o  = sigmoid(W_o @ x + U_o @ v + b_o)
m  = sigmoid(W_m @ x + U_m @ v + b_m)
g  = tanh(W_g @ x + U_g @ v + b_g)
c' = f * c + i * g
h  = o * tanh(c')
v' = m * tanh(c')

output h
""",
    )
