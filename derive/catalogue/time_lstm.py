"""T-LSTM, the time-aware LSTM: the short-term part of the cell state fades with the elapsed time.

Baytas, Xiao, Zhang, Wang, Jain & Zhou 2017, "Patient subtyping via time-aware LSTM networks", KDD.
The discount is 1 / log(e + elapsed), or 1 / elapsed, both of the paper. Not the strongly typed
T-LSTM: t_lstm. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def time_lstm(
    *,
    discount: Annotated[Literal["log", "inverse"], "1 / log(e + elapsed), or 1 / elapsed"] = "log",
) -> Text:
    """Time-aware LSTM: s = tanh(W c + b), k = c - s + s discount, then an LSTM on k."""
    return Text(
        doc="Time-aware LSTM. Baytas et al. 2017, KDD.",
        text=f"""
input  x: I, elapsed: 1
state  h: H, c: H
param  W_s: H x H, b_s: H, W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I
param  U_i: H x H, U_f: H x H, U_g: H x H, U_o: H x H, b_i: H, b_f: H, b_g: H, b_o: H

s  = tanh(W_s @ c + b_s)
k  = c - s + s / {"log(2.718281828459045 + elapsed)" if discount == "log" else "elapsed"}
i  = sigmoid(W_i @ x + U_i @ h + b_i)
f  = sigmoid(W_f @ x + U_f @ h + b_f)
g  = tanh(W_g @ x + U_g @ h + b_g)
o  = sigmoid(W_o @ x + U_o @ h + b_o)
c' = f * k + i * g
h' = o * tanh(c')

output h'
""",
    )
