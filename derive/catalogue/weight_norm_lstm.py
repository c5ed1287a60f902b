"""The LSTM with weight normalisation: rows of learned length and direction.

Salimans & Kingma 2016, "Weight normalization: a simple reparameterization to accelerate training
of deep neural networks", arXiv 1602.07868: w = g v / |v| for every unit. Equation numbers not
checked. TensorFlow 1's WeightNormLSTMCell normalises the columns that belong to x and those that
belong to h together, rows=joined; apart, each has a length of its own. Gates in the order i, f, g,
o. Lengths start at 1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family

MATRICES = {
    "apart": """\
param  V: 4*H x I, g: 4*H = 1, U: 4*H x H, r: 4*H = 1, b: 4*H = 0

a = (g / norm(V) * V) @ x + (r / norm(U) * U) @ h + b""",
    "joined": """\
param  V: 4*H x I, U: 4*H x H, g: 4*H = 1, b: 4*H = 0

l = g / sqrt(norm(V)**2 + norm(U)**2)
a = (l * V) @ x + (l * U) @ h + b""",
}


@family
def weight_norm_lstm(
    *,
    rows: Annotated[Literal["apart", "joined"], "lengths of W and U, or of both at once"] = "apart",
) -> Text:
    """LSTM whose matrices have rows of learned length."""
    return Text(
        doc="Weight-normalised LSTM. Salimans & Kingma 2016, arXiv 1602.07868.",
        text=f"""
input  x: I
state  h: H, c: H
{MATRICES[rows]}
i, f, z, o = split(a, 4)
c' = sigmoid(f) * c + sigmoid(i) * tanh(z)
h' = sigmoid(o) * tanh(c')

output h'
""",
    )
