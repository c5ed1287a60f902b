"""The addition-subtraction twin-gated recurrent network: two products, two gates.

Zhang, Xiong, Su, Lin & Zhang 2018, "Simplifying neural machine translation with
addition-subtraction twin-gated recurrent networks", arXiv 1810.12546. Equation numbers not
checked.
"""

from __future__ import annotations

from sympy import Eq

from derive.catalogue.option import Draft, family
from derive.symbolic.functions import sigmoid
from derive.symbolic.heads import arrays


@family
def atr() -> Draft:
    """Twin-gated recurrent network: gates sigmoid(p + q) and sigmoid(p - q)."""
    x, h, h_next, p, q, i, f = arrays("x h h_next p q i f")
    W, U, b = arrays("W U b")
    return Draft(
        doc="Twin-gated recurrent network. Zhang et al. 2018, arXiv 1810.12546.",
        equations=[
            Eq(p, W @ x + b),
            Eq(q, U @ h),
            Eq(i, sigmoid(p + q)),
            Eq(f, sigmoid(p - q)),
            Eq(h_next, i * p + f * h),
        ],
        states={"h": "H"},
        params={"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)},
    )
