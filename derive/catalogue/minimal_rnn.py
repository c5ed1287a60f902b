"""MinimalRNN: the input is mapped to the latent space first, and gated there.

Chen 2017, "MinimalRNN: toward more interpretable and trainable recurrent neural networks", arXiv
1711.06788, with tanh(W_x x + b_z) for its map Phi. TensorFlow 1's MinimalRNNCell has no b_z:
`input_bias=False`. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def minimal_rnn(
    *,
    activation: Annotated[Activation, "of the map of the input"] = "tanh",
    input_bias: Annotated[bool, "b_z in the map of the input"] = True,
) -> Draft:
    """MinimalRNN: h' = u h + (1 - u) z, where z sees the input alone."""
    act = function_of(activation)
    x, h, h_next, z, u = arrays("x h h_next z u")
    W_x, U_h, U_z, b_z, b_u = arrays("W_x U_h U_z b_z b_u")
    return Draft(
        doc="MinimalRNN. Chen 2017, arXiv 1711.06788.",
        equations=[
            Eq(z, act(W_x @ x + b_z if input_bias else W_x @ x)),
            Eq(u, sigmoid(U_h @ h + U_z @ z + b_u)),
            Eq(h_next, u * h + (1 - u) * z),
        ],
        states={"h": "H"},
        params={
            "W_x": ("H", "I"),
            "U_h": ("H", "H"),
            "U_z": ("H", "H"),
            **({"b_z": ("H",)} if input_bias else {}),
            "b_u": ("H",),
        },
    )
