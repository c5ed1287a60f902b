"""FastGRNN: gate and candidate share both matrices.

Kusupati, Singh, Bhatia, Kumar, Jain & Varma 2018, arXiv 1901.02358. zeta and nu act through a
sigmoid and start at 1 and -4 in the official code (EdgeML), both biases at 1, and so here; its
matrices are 0.1 times N(0, 1). With low_rank each matrix is a
product, W = W_1 W_2 of rank R and U = U_1 U_2 of rank Q. A catalogue elsewhere gives gate and
candidate matrices of their own, which is another cell. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def fast_grnn(
    *,
    low_rank: Annotated[bool, "W = W_1 W_2 of rank R, U = U_1 U_2 of rank Q"] = False,
) -> Draft:
    """FastGRNN: h' = (sigmoid(zeta) (1 - z) + sigmoid(nu)) n + z h."""
    x, h, h_next, a, z, n, b_z, b_n = arrays("x h h_next a z n b_z b_n")
    W, U, W_1, W_2, U_1, U_2, zeta, nu = arrays("W U W_1 W_2 U_1 U_2 zeta nu")
    if low_rank:
        shared = W_1 @ (W_2 @ x) + U_1 @ (U_2 @ h)
        matrices = {"W_1": ("H", "R"), "W_2": ("R", "I"), "U_1": ("H", "Q"), "U_2": ("Q", "H")}
    else:
        shared, matrices = W @ x + U @ h, {"W": ("H", "I"), "U": ("H", "H")}
    return Draft(
        doc="FastGRNN. Kusupati et al. 2018, arXiv 1901.02358.",
        equations=[
            Eq(a, shared),
            Eq(z, sigmoid(a + b_z)),
            Eq(n, tanh(a + b_n)),
            Eq(h_next, (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * n + z * h),
        ],
        states={"h": "H"},
        params=matrices | {"b_z": ("H",), "b_n": ("H",), "zeta": ("1",), "nu": ("1",)},
        starts={"zeta": 1, "nu": -4, "b_z": 1, "b_n": 1},
    )
