"""IndyGRU: the GRU with recurrent vectors in place of matrices.

TensorFlow 1, contrib.rnn.IndyGRUCell, after Gonnet & Deselaers 2019, "IndyLSTMs: independently
recurrent LSTMs", arXiv 1903.08023, and Li et al. 2018, arXiv 1803.04831. The reset gate before the
product, which makes no difference to a vector but for its bias. Gate biases start at 1, u uniform
in -1 .. 1 there. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def indy_gru() -> Text:
    """GRU with recurrent vectors: h' = z h + (1 - z) tanh(W x + u (r h) + b)."""
    return Text(
        doc="IndyGRU. TensorFlow 1, after Gonnet & Deselaers 2019, arXiv 1903.08023.",
        text="""
input  x: I
state  h: H
param  W_r: H x I, W_z: H x I, W_n: H x I
param  u_r: H = uniform(-1, 1), u_z: H = uniform(-1, 1), u_n: H = uniform(-1, 1)
param  b_r: H = 1, b_z: H = 1, b_n: H

r  = sigmoid(W_r @ x + u_r * h + b_r)
z  = sigmoid(W_z @ x + u_z * h + b_z)
n  = tanh(W_n @ x + u_n * (r * h) + b_n)
h' = z * h + (1 - z) * n

output h'
""",
    )
