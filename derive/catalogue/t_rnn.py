"""T-RNN, the strongly typed RNN: the state is averaged with a linear map of the input.

Balduzzi & Ghifary 2016, "Strongly-typed recurrent neural networks", arXiv 1602.02218. The same
function as minGRU with the sign of the gate turned. Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def t_rnn() -> Text:
    """T-RNN: h' = f h + (1 - f) z, f and z from x alone."""
    return Text(
        doc="Strongly typed RNN. Balduzzi & Ghifary 2016, arXiv 1602.02218.",
        text="""
input  x: I
state  h: H
param  W_z: H x I, W_f: H x I, b_z: H, b_f: H

z  = W_z @ x + b_z
f  = sigmoid(W_f @ x + b_f)
h' = f * h + (1 - f) * z

output h'
""",
    )
