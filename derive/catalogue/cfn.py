"""The chaos-free network.

Laurent & von Brecht 2017, "A recurrent neural network without chaos", arXiv 1612.06212. TensorFlow
1's CFNCell lets 1 - eta of the input in, so that one initial value of the biases closes that gate
and opens the other: `input_gate="complement"`. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def cfn(
    *,
    input_gate: Annotated[
        Literal["direct", "complement"], "how much of the input comes in: eta, or 1 - eta"
    ] = "direct",
    activation: Annotated[Activation, "of the state and of the input's product"] = "tanh",
) -> Draft:
    """Chaos-free network: h' = theta act(h) + eta act(W x)."""
    act = function_of(activation)
    x, h, h_next, theta, eta, W_x = arrays("x h h_next theta eta W_x")
    W_t, U_t, b_t, W_e, U_e, b_e = arrays("W_t U_t b_t W_e U_e b_e")
    let_in = eta if input_gate == "direct" else 1 - eta
    return Draft(
        doc="Chaos-free network. Laurent & von Brecht 2017, arXiv 1612.06212.",
        equations=[
            Eq(theta, sigmoid(W_t @ x + U_t @ h + b_t)),
            Eq(eta, sigmoid(W_e @ x + U_e @ h + b_e)),
            Eq(h_next, theta * act(h) + let_in * act(W_x @ x)),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "t e")
        | {"W_x": ("H", "I")},
    )
