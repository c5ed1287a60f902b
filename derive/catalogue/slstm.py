"""sLSTM: exponential gates, a normaliser, and heads that mix their own units.

Beck, Pöppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter & Hochreiter 2024, "xLSTM:
extended long short-term memory", arXiv 2405.04517; the stabiliser m is its eq. 15, in an
excerpt of the paper. Other equation numbers not checked.
The recurrent matrices are block-diagonal, a block for each head.

Two normalisers are published. sum: n' = f n + i (the paper; NX-AI/xlstm), with which h does not
depend on m. bounded: n' = max(f n + i, 1) (NX-AI/flashrnn), with which it does. xlstm takes m' = a
in the first step, which is a start of minus infinity for m; here m starts at 0, which gives the
same h as long as exp(a) does not underflow. Starts in the code: R = 0, b_f from 5 down to -7 over
the units.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def slstm(
    *,
    forget_gate: Annotated[Literal["sigmoid", "exp"], "of the forget gate's sum"] = "sigmoid",
    normaliser: Annotated[Literal["sum", "bounded"], "n' is f n + i, or no less than 1"] = "sum",
) -> Text:
    """sLSTM: c' = f c + i z, n' = f n + i, h' = o c' / n'."""
    sum_f = "W_f @ x + R_f @ h + b_f"
    log_gate = f"logsigmoid({sum_f})" if forget_gate == "sigmoid" else sum_f
    count = "f * n + i" if normaliser == "sum" else "maximum(f * n + i, 1)"
    return Text(
        doc="sLSTM. Beck et al. 2024, arXiv 2405.04517.",
        text=f"""
input  x: I
state  h: N x D, c: N x D, n: N x D, m: N x D
param  W_z: N x D x I, W_i: N x D x I, W_f: N x D x I, W_o: N x D x I
param  R_z: N x D x D, R_i: N x D x D, R_f: N x D x D, R_o: N x D x D
param  b_z: N x D, b_i: N x D, b_f: N x D, b_o: N x D

z  = tanh(W_z @ x + R_z @ h + b_z)
o  = sigmoid(W_o @ x + R_o @ h + b_o)
a  = W_i @ x + R_i @ h + b_i
l  = {log_gate}
m' = maximum(l + m, a)
i  = exp(a - m')
f  = exp(l + m - m')
c' = f * c + i * z
n' = {count}
h' = o * c' / n'

output h'
""",
    )
