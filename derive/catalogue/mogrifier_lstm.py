"""The Mogrifier LSTM: x and h scale each other in turn before the gates see them.

Melis, Kocisky & Blunsom 2019, "Mogrifier LSTM", arXiv 1909.01792. Odd rounds scale x by 2
sigmoid(Q h), even rounds h by 2 sigmoid(R x), each round with a matrix of its own. The authors'
code (lamb) has biases there, and min(1 - f, i) for the input gate, cap_input_gate. low_rank makes
every Q and R a product of rank R. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def mogrifier_lstm(
    *,
    rounds: Annotated[Literal[5, 0, 1, 2, 3, 4, 6], "how often x or h is scaled"] = 5,
    low_rank: Annotated[bool, "every Q and R is a product of rank R"] = False,
    cap_input_gate: Annotated[bool, "the input gate is at most 1 - f"] = False,
) -> Text:
    """Mogrifier LSTM: rounds of x *= 2 sigmoid(Q h), h *= 2 sigmoid(R x), then an LSTM."""
    x, h, params, lines = "x", "h", "", ""
    for k in range(1, rounds + 1):
        matrix, rows, columns, by = (f"Q_{k}", "I", "H", h) if k % 2 else (f"R_{k}", "H", "I", x)
        if low_rank:
            params += f"param  {matrix}: {rows} x R, S_{k}: R x {columns}, b_{k}: {rows}\n"
            product = f"{matrix} @ (S_{k} @ {by})"
        else:
            params += f"param  {matrix}: {rows} x {columns}, b_{k}: {rows}\n"
            product = f"{matrix} @ {by}"
        scaled = f"u_{k}" if k % 2 else f"v_{k}"
        lines += f"{scaled} = 2 * sigmoid({product} + b_{k}) * {x if k % 2 else h}\n"
        x, h = (scaled, h) if k % 2 else (x, scaled)
    gate = f"sigmoid(W_i @ {x} + U_i @ {h} + b_i)"
    gate = f"minimum(1 - f, {gate})" if cap_input_gate else gate
    return Text(
        doc="Mogrifier LSTM. Melis et al. 2019, arXiv 1909.01792.",
        text=f"""
input  x: I
state  h: H, c: H
{params}
param  W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I
param  U_i: H x H, U_f: H x H, U_g: H x H, U_o: H x H
param  b_i: H, b_f: H, b_g: H, b_o: H

{lines}
f  = sigmoid(W_f @ {x} + U_f @ {h} + b_f)
i  = {gate}
g  = tanh(W_g @ {x} + U_g @ {h} + b_g)
o  = sigmoid(W_o @ {x} + U_o @ {h} + b_o)
c' = f * c + i * g
h' = o * tanh(c')

output h'
""",
    )
