"""The three mutations of the GRU that a search found.

Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
architectures", ICML. Where the paper adds x itself, tanh(x) in MUT1 and x in the reset gate of
MUT2, its width would have to be that of h; here as in RecurrentLayers.jl every x is multiplied by
a matrix. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def mut(
    *,
    variant: Annotated[Literal[1, 2, 3], "MUT1, MUT2 or MUT3"] = 1,
) -> Draft:
    """A mutated GRU: z writes, and what the gates see differs."""
    x, h, h_next, z, r, n = arrays("x h h_next z r n")
    W_z, W_r, W_n, U_z, U_r, U_n = arrays("W_z W_r W_n U_z U_r U_n")
    b_z, b_r, b_n = arrays("b_z b_r b_n")
    seen = {1: 0, 2: U_z @ h, 3: U_z @ tanh(h)}[variant]
    fresh = tanh(W_n @ x) if variant == 1 else W_n @ x
    gates = "r n" if variant == 1 else "z r n"
    return Draft(
        doc=f"MUT{variant}. Jozefowicz, Zaremba & Sutskever 2015, ICML.",
        equations=[
            Eq(z, sigmoid(W_z @ x + seen + b_z)),
            Eq(r, sigmoid(W_r @ x + U_r @ h + b_r)),
            Eq(n, tanh(U_n @ (r * h) + fresh + b_n)),
            Eq(h_next, n * z + h * (1 - z)),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I")}, "z r n")
        | stacked({"U": ("H", "H")}, gates)
        | stacked({"b": ("H",)}, "z r n"),
    )
