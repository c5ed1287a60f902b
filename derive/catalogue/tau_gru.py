"""tau-GRU: a gated recurrence with a delayed feedback.

Erichson, Lim & Mahoney 2022, "Gated recurrent neural networks with weighted time-delay feedback",
arXiv 2212.00228, as in torchrecurrent. z sees the state of delay steps before the present one;
those before the sequence are 0. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def tau_gru(
    *,
    delay: Annotated[Literal[1, 2, 3, 4, 5], "steps of delay"] = 1,
) -> Text:
    """tau-GRU: h' = (1 - g) h + g (u + a z), z of a delayed h."""
    states = ", ".join(f"h_{k}: H" for k in range(1, delay + 1))
    before = ["h", *(f"h_{k}" for k in range(1, delay))]
    lines = "\n".join(f"h_{k + 1}' = {name}" for k, name in enumerate(before))
    return Text(
        doc="tau-GRU. Erichson, Lim & Mahoney 2022, arXiv 2212.00228.",
        text=f"""
input  x: I
state  h: H, {states}
param  W_u: H x I, W_z: H x I, W_g: H x I, W_a: H x I
param  U_u: H x H, U_z: H x H, U_g: H x H, U_a: H x H
param  b_u: H, b_z: H, b_g: H, b_a: H

u  = tanh(W_u @ x + U_u @ h + b_u)
z  = tanh(W_z @ x + U_z @ h_{delay} + b_z)
g  = sigmoid(W_g @ x + U_g @ h + b_g)
a  = sigmoid(W_a @ x + U_a @ h + b_a)
h' = (1 - g) * h + g * (u + a * z)
{lines}

output h'
""",
    )
