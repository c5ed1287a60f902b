"""AntisymmetricRNN: a step of a stable differential equation.

Chang, Chen, Haber & Chi 2019, "AntisymmetricRNN: a dynamical system view on recurrent neural
networks", arXiv 1902.09689. The recurrent matrix is W - W^T - gamma I. Libraries differ in the
numbers: RecurrentLayers.jl has epsilon 1 and gamma 0, others 0.01 for both, as here. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def antisymmetric_rnn(
    *,
    gated: Annotated[bool, "a gate z, with the same recurrent matrix"] = False,
    epsilon: Annotated[float, "size of the step"] = 0.01,
    gamma: Annotated[float, "damping, taken off the diagonal"] = 0.01,
) -> Draft:
    """AntisymmetricRNN: h' = h + epsilon tanh((W - W^T - gamma I) h + V x + b)."""
    x, h, h_next, a, z, W = arrays("x h h_next a z W")
    V_h, b_h, V_z, b_z = arrays("V_h b_h V_z b_z")
    size, damping = arrays("epsilon gamma")
    step = size * tanh(a + V_h @ x + b_h)
    gate = [Eq(z, sigmoid(a + V_z @ x + b_z))] if gated else []
    gates = "h z" if gated else "h"
    return Draft(
        doc="AntisymmetricRNN. Chang et al. 2019, arXiv 1902.09689.",
        equations=[
            Eq(a, W @ h - W.T @ h - damping * h),
            *gate,
            Eq(h_next, h + (z * step if gated else step)),
        ],
        states={"h": "H"},
        params={"W": ("H", "H")} | stacked({"V": ("H", "I"), "b": ("H",)}, gates),
        consts={"epsilon": epsilon, "gamma": gamma},
    )
