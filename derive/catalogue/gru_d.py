"""GRU-D: missing values fade to their mean, and the state fades with the time since the last one.

Che, Purushotham, Cho, Sontag & Liu 2016, "Recurrent neural networks for multivariate time series
with missing values", arXiv 1606.01865. m is 1 where x was seen, delta the time since it was last
seen, for each element. mean, of the training data, is fixed; l holds the last value seen. The
authors' code takes 0 for the mean, shows the gates 1 - m, keeps z times the state that has not
faded, and has sigmoid for tanh. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def gru_d() -> Text:
    """GRU-D: x and h decay by exp(-relu(w delta + b)) before a GRU sees them."""
    return Text(
        doc="GRU-D. Che et al. 2016, arXiv 1606.01865.",
        text="""
input  x: I, m: I, delta: I
state  h: H, l: I
fixed  mean_x: I
param  w_x: I, a_x: I, W_d: H x I, a_h: H
param  W_r: H x I, W_z: H x I, W_n: H x I, U_r: H x H, U_z: H x H, U_n: H x H
param  V_r: H x I, V_z: H x I, V_n: H x I, b_r: H, b_z: H, b_n: H

e  = exp(-relu(w_x * delta + a_x))
s  = exp(-relu(W_d @ delta + a_h))
v  = m * x + (1 - m) * (e * l + (1 - e) * mean_x)
k  = s * h
r  = sigmoid(W_r @ v + U_r @ k + V_r @ m + b_r)
z  = sigmoid(W_z @ v + U_z @ k + V_z @ m + b_z)
n  = tanh(W_n @ v + U_n @ (r * k) + V_n @ m + b_n)
h' = (1 - z) * k + z * n
l' = m * x + (1 - m) * l

output h'
""",
    )
