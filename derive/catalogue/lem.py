"""Long expressive memory: two states, each with a step size of its own.

Rusch, Mishra, Erichson & Mahoney 2022, "Long expressive memory for sequence modeling", arXiv
2110.04744. Its sigma is tanh, its hatted sigma the sigmoid. The second state sees the new value of
the first. A typeset copy elsewhere uses one step size for both states. The paper calls the output
y; here it is h. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def lem(
    *,
    dt: Annotated[float, "the largest step"] = 1.0,
) -> Draft:
    """Long expressive memory: z' = (1 - d_1) z + d_1 tanh(...), then h' likewise from z'."""
    x, h, z, h_next, z_next, dt_1, dt_2, step = arrays("x h z h_next z_next dt_1 dt_2 dt")
    V_1, V_2, V_z, V_h, U_1, U_2, U_z, U_h = arrays("V_1 V_2 V_z V_h U_1 U_2 U_z U_h")
    b_1, b_2, b_z, b_h = arrays("b_1 b_2 b_z b_h")
    return Draft(
        doc="Long expressive memory. Rusch et al. 2022, arXiv 2110.04744.",
        equations=[
            Eq(dt_1, step * sigmoid(V_1 @ x + U_1 @ h + b_1)),
            Eq(dt_2, step * sigmoid(V_2 @ x + U_2 @ h + b_2)),
            Eq(z_next, (1 - dt_1) * z + dt_1 * tanh(V_z @ x + U_z @ h + b_z)),
            Eq(h_next, (1 - dt_2) * h + dt_2 * tanh(V_h @ x + U_h @ z_next + b_h)),
        ],
        states={"h": "H", "z": "H"},
        params=stacked({"V": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "1 2 z h"),
        consts={"dt": dt},
    )
