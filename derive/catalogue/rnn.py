"""The simple recurrent network.

Elman 1990, "Finding structure in time", Cognitive Science 14; in the notation of Goodfellow,
Bengio & Courville 2016, "Deep Learning", eqs. 10.8 and 10.9, as public notes on that book number
them. With relu: Le, Jaitly & Hinton 2015, arXiv 1504.00941. Other equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of
from derive.symbolic.heads import arrays


@family
def rnn(
    *,
    activation: Annotated[Activation, "applied to the whole sum"] = "tanh",
) -> Draft:
    """The simple recurrent network: h' = activation(W x + U h + b)."""
    act = function_of(activation)
    x, h, h_next, W, U, b = arrays("x h h_next W U b")
    return Draft(
        doc="Simple recurrent network. Elman 1990; Goodfellow et al. 2016, eqs. 10.8 and 10.9.",
        equations=[Eq(h_next, act(W @ x + U @ h + b))],
        states={"h": "H"},
        params={"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)},
    )
