"""ON-LSTM, ordered neurons: two master gates that grow along the units decide what is kept and
written.

Shen, Tan, Sordoni & Courville 2018, "Ordered neurons: integrating tree structures into recurrent
neural networks", arXiv 1810.09536. cumax is a running sum of a softmax. The paper's chunks,
several units for each level of the master gates, are of one unit here. Equation numbers not
checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def on_lstm() -> Text:
    """ON-LSTM: F = cumax(.), J = 1 - cumax(.), c' = (f w + F - w) c + (i w + J - w) g, w = F J."""
    return Text(
        doc="Ordered neurons. Shen et al. 2018, arXiv 1810.09536.",
        text="""
input  x: I
state  h: H, c: H
param  W_F: H x I, W_J: H x I, W_f: H x I, W_i: H x I, W_o: H x I, W_g: H x I
param  U_F: H x H, U_J: H x H, U_f: H x H, U_i: H x H, U_o: H x H, U_g: H x H
param  b_F: H, b_J: H, b_f: H, b_i: H, b_o: H, b_g: H

F  = cumsum(softmax(W_F @ x + U_F @ h + b_F))
J  = 1 - cumsum(softmax(W_J @ x + U_J @ h + b_J))
f  = sigmoid(W_f @ x + U_f @ h + b_f)
i  = sigmoid(W_i @ x + U_i @ h + b_i)
o  = sigmoid(W_o @ x + U_o @ h + b_o)
g  = tanh(W_g @ x + U_g @ h + b_g)
w  = F * J
c' = (f * w + F - w) * c + (i * w + J - w) * g
h' = o * tanh(c')

output h'
""",
    )
