"""The simple recurrent unit: no product with a state.

Lei, Zhang, Wang, Dai & Artzi 2018, "Simple recurrent units for highly parallelizable recurrence",
arXiv 1709.02755, first version. The highway takes a fourth product W_x x, as in TensorFlow 1,
SRUCell, so that x may have any width. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def sru(
    *,
    activation: Annotated[Activation, "of the state where the output sees it"] = "tanh",
) -> Draft:
    """Simple recurrent unit: c' = f c + (1 - f) g, output y."""
    act = function_of(activation)
    x, c, c_next, y, f, r = arrays("x c c_next y f r")
    W_g, W_f, W_r, W_x, b_f, b_r = arrays("W_g W_f W_r W_x b_f b_r")
    return Draft(
        doc="Simple recurrent unit. Lei et al. 2018, arXiv 1709.02755v1.",
        equations=[
            Eq(f, sigmoid(W_f @ x + b_f)),
            Eq(r, sigmoid(W_r @ x + b_r)),
            Eq(c_next, f * c + (1 - f) * (W_g @ x)),
            Eq(y, r * act(c_next) + (1 - r) * (W_x @ x)),
        ],
        states={"c": "H"},
        params=stacked({"W": ("H", "I")}, "g f r x") | stacked({"b": ("H",)}, "f r"),
        outputs=("y",),
    )
