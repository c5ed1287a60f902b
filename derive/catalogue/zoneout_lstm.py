"""The LSTM with zoneout: some units keep their state, by a mask for h and one for c.

Krueger, Maharaj, Kramar, Pezeshki, Ballas, Ke, Goyal, Bengio, Courville & Pal 2016, "Zoneout:
regularizing RNNs by randomly preserving hidden activations", arXiv 1606.01305. A mask is 1 where
the new value is taken, with probability 1 minus the rate; in tests it is that probability itself.
h sees the new cell state before its zoneout. haste zones h alone: give ones for m_c. Equation
numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def zoneout_lstm() -> Text:
    """LSTM with zoneout: c' = c + m_c (new - c), h' = h + m_h (new - h)."""
    return Text(
        doc="LSTM with zoneout. Krueger et al. 2016, arXiv 1606.01305.",
        text="""
input  x: I, m_h: H, m_c: H
state  h: H, c: H
param  W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I
param  U_i: H x H, U_f: H x H, U_g: H x H, U_o: H x H
param  b_i: H, b_f: H, b_g: H, b_o: H

i  = sigmoid(W_i @ x + U_i @ h + b_i)
f  = sigmoid(W_f @ x + U_f @ h + b_f)
g  = tanh(W_g @ x + U_g @ h + b_g)
o  = sigmoid(W_o @ x + U_o @ h + b_o)
s  = f * c + i * g
c' = m_c * s + (1 - m_c) * c
h' = m_h * (o * tanh(s)) + (1 - m_h) * h

output h'
""",
    )
