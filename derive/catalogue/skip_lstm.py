"""Skip LSTM: a gate of the cell decides whether the next steps are taken or copied.

Campos, Jou, Giro-i-Nieto, Torres & Chang 2017, "Skip RNN: learning to skip state updates in
recurrent neural networks", arXiv 1708.06834, as in the authors' code. u is 1 where a exceeds 1/2,
and passes the gradient as if it were a (straight through). p is the last increment, A what has
been added up; p starts at p_0, 1 at first, A at 0. The bias of the increment starts at 1. Equation
numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def skip_lstm() -> Text:
    """Skip LSTM: c' = u c~ + (1 - u) c, u = round(a), a adds up until a step is taken."""
    return Text(
        doc="Skip LSTM. Campos et al. 2017, arXiv 1708.06834.",
        text="""
input  x: I
state  h: H, c: H, A: 1, p: 1 = p_0
param  W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I
param  U_i: H x H, U_f: H x H, U_g: H x H, U_o: H x H
param  b_i: H, b_f: H, b_g: H, b_o: H, w: 1 x H, b: 1 = 1, p_0: 1 = 1

i  = sigmoid(W_i @ x + U_i @ h + b_i)
f  = sigmoid(W_f @ x + U_f @ h + b_f)
g  = tanh(W_g @ x + U_g @ h + b_g)
o  = sigmoid(W_o @ x + U_o @ h + b_o)
k  = f * c + i * g
l  = o * tanh(k)
a  = A + minimum(p, 1 - A)
u  = a + stop_gradient(where(a > 0.5, 1, 0) - a)
c' = u * k + (1 - u) * c
h' = u * l + (1 - u) * h
p' = u * sigmoid(w @ k + b) + (1 - u) * p
A' = (1 - u) * a

output h'
""",
    )
