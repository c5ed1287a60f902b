"""The closed-form continuous-time network: an interpolation between two heads, in time.

Hasani et al. 2022, "Closed-form continuous-time neural networks", arXiv 2106.13898. Three forms,
as in the authors' code (ncps): with a gate, h' = a (1 - t) + t d; without, h' = a + t d; and the
closed form itself, pure. The backbone is one layer of N units, 1.7159 tanh(0.666 v). The input
elapsed is the time since the last step. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import exp, sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def cfc(
    *,
    form: Annotated[
        Literal["gate", "no_gate", "pure"], "how the two heads meet, or the closed form itself"
    ] = "gate",
) -> Draft:
    """Closed-form continuous-time network: h' = a (1 - t) + t d, t a gate of the elapsed time."""
    x, elapsed, h, h_next, y, a, d, t = arrays("x elapsed h h_next y a d t")
    (v,) = arrays("v")
    W, U, b, W_a, W_d, W_s, W_t = arrays("W U b W_a W_d W_s W_t")
    b_a, b_d, b_s, b_t, A, w = arrays("b_a b_d b_s b_t A w")
    backbone = [Eq(v, W @ x + U @ h + b), Eq(y, 1.7159 * tanh(0.666 * v))]
    if form == "pure":
        slope = abs(w) + abs(a)
        equations = [Eq(a, W_a @ y + b_a), Eq(h_next, A - A * exp(-elapsed * slope) * a)]
        params = {"W_a": ("H", "N"), "b_a": ("H",), "A": ("H",), "w": ("H",)}
    else:
        equations = [
            Eq(a, tanh(W_a @ y + b_a)),
            Eq(d, tanh(W_d @ y + b_d)),
            Eq(t, sigmoid((W_s @ y + b_s) * elapsed + W_t @ y + b_t)),
            Eq(h_next, a * (1 - t) + t * d if form == "gate" else a + t * d),
        ]
        params = stacked({"W": ("H", "N"), "b": ("H",)}, "a d s t")
    return Draft(
        doc="Closed-form continuous-time network. Hasani et al. 2022, arXiv 2106.13898.",
        equations=[*backbone, *equations],
        inputs={"x": "I", "elapsed": 1},
        states={"h": "H"},
        params={"W": ("N", "I"), "U": ("N", "H"), "b": ("N",)} | params,
    )
