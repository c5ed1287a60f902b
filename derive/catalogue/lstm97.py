"""The LSTM of 1997, without a forget gate.

Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8). Squashing
functions of the paper: g(a) = 4 sigmoid(a) - 2 into the cell and 2 sigmoid(c) - 1 out of it; tanh
in libraries (RecurrentLayers.jl, torchrecurrent). The paper trains with a truncated gradient: none
flows through the h that gates and candidate see, which truncated says by stop_gradient. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def lstm97(
    *,
    squashing: Annotated[Literal["paper", "tanh"], "shifted sigmoids, or tanh"] = "paper",
    truncated: Annotated[bool, "no gradient through the h that the gates see"] = False,
) -> Text:
    """LSTM of 1997: c' = c + i g, h' = o tanh(c')."""
    seen = "stop_gradient(h)" if truncated else "h"

    def squash(v: str, range_: int) -> str:
        if squashing == "tanh":
            return f"tanh({v})"
        return f"{range_} * sigmoid({v}) - {range_ // 2}"

    return Text(
        doc="LSTM of 1997. Hochreiter & Schmidhuber 1997, Neural Computation 9(8).",
        text=f"""
input  x: I
state  h: H, c: H
param  W_i: H x I, W_g: H x I, W_o: H x I, U_i: H x H, U_g: H x H, U_o: H x H
param  b_i: H, b_g: H, b_o: H

i  = sigmoid(W_i @ x + U_i @ {seen} + b_i)
g  = {squash("W_g @ x + U_g @ " + seen + " + b_g", 4)}
c' = c + i * g
o  = sigmoid(W_o @ x + U_o @ {seen} + b_o)
h' = o * {"(" + squash("c'", 2) + ")" if squashing == "paper" else squash("c'", 2)}

output h'
""",
    )
