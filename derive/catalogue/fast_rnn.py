"""FastRNN: a residual connection with two learned scalars.

Kusupati, Singh, Bhatia, Kumar, Jain & Varma 2018, "FastGRNN: a fast, accurate, stable and tiny
kilobyte sized gated recurrent neural network", arXiv 1901.02358. The scalars act through a sigmoid
and start at alpha = -3, beta = 3, b = 1 in the official code (EdgeML), and here; W and U
are 0.1 times N(0, 1) there. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def fast_rnn(
    *,
    activation: Annotated[Activation, "of the candidate n"] = "tanh",
) -> Draft:
    """FastRNN: h' = sigmoid(alpha) n + sigmoid(beta) h, alpha and beta scalars."""
    act = function_of(activation)
    x, h, h_next, n, W, U, b, alpha, beta = arrays("x h h_next n W U b alpha beta")
    return Draft(
        doc="FastRNN. Kusupati et al. 2018, arXiv 1901.02358.",
        equations=[
            Eq(n, act(W @ x + U @ h + b)),
            Eq(h_next, sigmoid(alpha) * n + sigmoid(beta) * h),
        ],
        states={"h": "H"},
        params={"W": ("H", "I"), "U": ("H", "H"), "b": ("H",), "alpha": ("1",), "beta": ("1",)},
        starts={"alpha": -3, "beta": 3, "b": 1},
    )
