"""The recurrent cell found by neural architecture search.

Zoph & Le 2017, "Neural architecture search with reinforcement learning", arXiv 1611.01578; the
eight branches in the order, and the projection in the form, of TensorFlow 1, NASCell. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Any

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import relu, sigmoid, tanh
from derive.symbolic.heads import arrays

#: Branch k has W_ and U_ of this number.
GATES = "0 1 2 3 4 5 6 7"


@family
def nas(
    *,
    bias: Annotated[bool, "a bias on the recurrent side of every branch"] = False,
    projection: Annotated[bool, "h' = W_p m of width P; the branches see the projected h"] = False,
) -> Draft:
    """NAS cell: eight branches, combined in pairs; the fourth is a product."""
    x, h, c, h_next, c_next, W_p = arrays("x h c h_next c_next W_p")
    width = "P" if projection else "H"
    left, right = [], []
    for k in GATES.split():
        W, U, b = arrays(f"W_{k} U_{k} b_{k}")
        left.append(W @ x)
        right.append(U @ h + (b if bias else 0))
    functions = (sigmoid, relu, sigmoid, relu, tanh, sigmoid, tanh, sigmoid)
    branches: list[Any] = [f(u + v) for f, u, v in zip(functions, left, right, strict=True)]
    branches[3] = relu(left[3] * right[3])
    first = arrays("a_0 a_1 a_2 a_3 a_4 a_5 a_6 a_7")
    a0, a1, a2, a3, a4, a5, a6, a7 = first
    b0, b1, b2, b3 = arrays("s_0 s_1 s_2 s_3")
    m = tanh(c_next * tanh(b2 + b3))
    params = stacked({"W": ("H", "I"), "U": ("H", width)} | ({"b": ("H",)} if bias else {}), GATES)
    if projection:
        params["W_p"] = ("P", "H")
    return Draft(
        doc="NAS cell. Zoph & Le 2017, arXiv 1611.01578.",
        equations=[
            *(Eq(name, branch) for name, branch in zip(first, branches, strict=True)),
            Eq(b0, tanh(tanh(a0 * a1) + c)),
            Eq(b1, tanh(a2 + a3)),
            Eq(b2, tanh(a4 * a5)),
            Eq(b3, sigmoid(a6 + a7)),
            Eq(c_next, b0 * b1),
            Eq(h_next, W_p @ m if projection else m),
        ],
        states={"h": width, "c": "H"},
        params=params,
    )
