"""The independently recurrent network: the recurrent weight is a vector.

Li, Li, Cook, Zhu & Gao 2018, "Independently recurrent neural network (IndRNN)", arXiv 1803.04831.
Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of
from derive.symbolic.heads import arrays


@family
def indrnn(
    *,
    activation: Annotated[Activation, "applied to the whole sum"] = "relu",
) -> Draft:
    """Independently recurrent network: h' = activation(W x + u h + b), u a vector."""
    act = function_of(activation)
    x, h, h_next, W, u, b = arrays("x h h_next W u b")
    return Draft(
        doc="Independently recurrent network. Li et al. 2018, arXiv 1803.04831.",
        equations=[Eq(h_next, act(W @ x + u * h + b))],
        states={"h": "H"},
        params={"W": ("H", "I"), "u": ("H",), "b": ("H",)},
    )
