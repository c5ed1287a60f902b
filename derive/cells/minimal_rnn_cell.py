"""MinimalRNN: the input is mapped to the latent space first, and gated there.

Chen 2017, "MinimalRNN: toward more interpretable and trainable recurrent neural networks",
arXiv 1711.06788, section 2, with tanh(W_x x + b_z) for its map Phi.
"""

from __future__ import annotations

from sympy import Eq

from derive.cells.option import Draft, family
from derive.scalar import sigmoid, tanh
from derive.symbols import arrays


@family
def minimal_rnn() -> Draft:
    """MinimalRNN: h' = u h + (1 - u) z, where z sees the input alone."""
    x, h, h_next, z, u = arrays("x h h_next z u")
    W_x, U_h, U_z, b_z, b_u = arrays("W_x U_h U_z b_z b_u")
    return Draft(
        doc="MinimalRNN. Chen 2017, arXiv 1711.06788, section 2.",
        equations=[
            Eq(z, tanh(W_x @ x + b_z)),
            Eq(u, sigmoid(U_h @ h + U_z @ z + b_u)),
            Eq(h_next, u * h + (1 - u) * z),
        ],
        states={"h": "H"},
        params={
            "W_x": ("H", "I"),
            "U_h": ("H", "H"),
            "U_z": ("H", "H"),
            "b_z": ("H",),
            "b_u": ("H",),
        },
    )
