"""The bistable recurrent cell: each unit can hold one of two values.

Vecoven, Ernst & Drion 2021, "A bio-inspired bistable recurrent cell allows for long-lasting
memory", arXiv 2006.05252. With `neuromodulated` the two gates see all units, by matrices: nBRC.
The official code has biases in the gates and none in the candidate, and starts w at 1, as here.
Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def brc(
    *,
    neuromodulated: Annotated[bool, "nBRC: gates see all units, by U_a and U_c"] = False,
) -> Draft:
    """Bistable recurrent cell: h' = c h + (1 - c) tanh(W_n x + a h), a in (0, 2)."""
    x, h, h_next, a, c, n = arrays("x h h_next a c n")
    W_a, W_c, W_n, b_a, b_c = arrays("W_a W_c W_n b_a b_c")
    w_a, w_c, U_a, U_c = arrays("w_a w_c U_a U_c")
    from_a, from_c = (U_a @ h, U_c @ h) if neuromodulated else (w_a * h, w_c * h)
    recurrent = {"U": ("H", "H")} if neuromodulated else {"w": ("H",)}
    return Draft(
        doc="Bistable recurrent cell. Vecoven, Ernst & Drion 2021, arXiv 2006.05252.",
        equations=[
            Eq(a, 1 + tanh(W_a @ x + from_a + b_a)),
            Eq(c, sigmoid(W_c @ x + from_c + b_c)),
            Eq(n, tanh(W_n @ x + a * h)),
            Eq(h_next, c * h + (1 - c) * n),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I")}, "a c n")
        | stacked(recurrent, "a c")
        | stacked({"b": ("H",)}, "a c"),
        starts={} if neuromodulated else {"w_a": 1, "w_c": 1},
    )
