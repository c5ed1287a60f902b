"""The stackable recurrent cell: one gate, and a tanh around what is kept.

Turkoglu, D'Aronco, Wegner & Schindler 2019, "Gating revisited: deep multi-layer RNNs that can be
trained", arXiv 1911.11033. The paper keeps (1 - k) h and writes k z; the official TensorFlow code
writes tanh(sigmoid(f) h + (1 - sigmoid(f - 1)) z), as JANET does with beta = 1, which is another
function. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def star(
    *,
    source: Annotated[
        Literal["paper", "code"], "whose gate: k and 1 - k, or that of the official code"
    ] = "paper",
) -> Draft:
    """Stackable recurrent cell: h' = tanh((1 - k) h + k z), where z sees the input alone."""
    x, h, h_next, z, k, a = arrays("x h h_next z k a")
    W_z, W_k, U_k, b_z, b_k = arrays("W_z W_k U_k b_z b_k")
    gate = W_k @ x + U_k @ h + b_k
    if source == "paper":
        gates = [Eq(k, sigmoid(gate)), Eq(h_next, tanh((1 - k) * h + k * z))]
    else:
        kept, written = sigmoid(a) * h, (1 - sigmoid(a - 1)) * z
        gates = [Eq(a, gate), Eq(h_next, tanh(kept + written))]
    return Draft(
        doc="Stackable recurrent cell. Turkoglu et al. 2019, arXiv 1911.11033.",
        equations=[Eq(z, tanh(W_z @ x + b_z)), *gates],
        states={"h": "H"},
        params={"W_z": ("H", "I"), "W_k": ("H", "I"), "U_k": ("H", "H")}
        | stacked({"b": ("H",)}, "z k"),
    )
