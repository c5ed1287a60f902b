"""Multiplicative integration: the two products of a simple recurrent network are multiplied.

Wu, Zhang, Zhang, Bengio & Salakhutdinov 2016, "On multiplicative integration with recurrent neural
networks", arXiv 1606.06630, the general form. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of
from derive.symbolic.heads import arrays


@family
def mi_rnn(
    *,
    activation: Annotated[Activation, "applied to the whole sum"] = "tanh",
) -> Draft:
    """Multiplicative integration: activation(alpha Wx Uh + beta_1 Uh + beta_2 Wx + b)."""
    act = function_of(activation)
    x, h, h_next, W, U, b, p, q = arrays("x h h_next W U b p q")
    alpha, beta_1, beta_2 = arrays("alpha beta_1 beta_2")
    return Draft(
        doc="Multiplicative integration. Wu et al. 2016, arXiv 1606.06630.",
        equations=[
            Eq(p, W @ x),
            Eq(q, U @ h),
            Eq(h_next, act(alpha * p * q + beta_1 * q + beta_2 * p + b)),
        ],
        states={"h": "H"},
        params={"W": ("H", "I"), "U": ("H", "H")}
        | {name: ("H",) for name in ("alpha", "beta_1", "beta_2", "b")},
    )
