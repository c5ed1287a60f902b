"""Residual LSTM: the output gate opens for the cell and for the input.

Kim, El-Khamy & Lee 2017, "Residual LSTM: design of a deep recurrent architecture for distant
speech recognition", arXiv 1701.03360, as in torchrecurrent. With peepholes; x is brought to the
width of h by a matrix. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def res_lstm() -> Text:
    """Residual LSTM: h' = o (P tanh(c') + R x)."""
    return Text(
        doc="Residual LSTM. Kim, El-Khamy & Lee 2017, arXiv 1701.03360.",
        text="""
input  x: I
state  h: H, c: H
param  W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I
param  U_i: H x H, U_f: H x H, U_g: H x H, U_o: H x H
param  p_i: H, p_f: H, p_o: H, b_i: H, b_f: H, b_g: H, b_o: H, P: H x H, R: H x I

i  = sigmoid(W_i @ x + U_i @ h + p_i * c + b_i)
f  = sigmoid(W_f @ x + U_f @ h + p_f * c + b_f)
g  = tanh(W_g @ x + U_g @ h + b_g)
c' = f * c + i * g
o  = sigmoid(W_o @ x + U_o @ h + p_o * c' + b_o)
h' = o * (P @ tanh(c') + R @ x)

output h'
""",
    )
