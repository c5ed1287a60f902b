"""The coupled oscillatory recurrent network: a damped, driven oscillator for each unit.

Rusch & Mishra 2021, "Coupled oscillatory recurrent neural network (coRNN)", arXiv 2010.00951. The
official code damps by the previous velocity; with implicit by the new one, which takes a division
by 1 + dt epsilon. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family
from derive.symbolic.functions import tanh
from derive.symbolic.heads import arrays


@family
def cornn(
    *,
    implicit: Annotated[bool, "the damping acts on the new velocity z'"] = False,
    dt: Annotated[float, "size of the step"] = 0.1,
    gamma: Annotated[float, "stiffness"] = 1.0,
    epsilon: Annotated[float, "damping"] = 1.0,
) -> Draft:
    """Coupled oscillators: z' = z + dt (tanh(...) - gamma h - epsilon z), h' = h + dt z'."""
    x, h, z, h_next, z_next, force = arrays("x h z h_next z_next force")
    V, U, U_z, b, step, stiffness, damping = arrays("V U U_z b dt gamma epsilon")
    pull = force - stiffness * h
    if implicit:
        moved = (z + step * pull) / (1 + step * damping)
    else:
        moved = z + step * (pull - damping * z)
    return Draft(
        doc="Coupled oscillatory recurrent network. Rusch & Mishra 2021, arXiv 2010.00951.",
        equations=[
            Eq(force, tanh(V @ x + U @ h + U_z @ z + b)),
            Eq(z_next, moved),
            Eq(h_next, h + step * z_next),
        ],
        states={"h": "H", "z": "H"},
        params={"V": ("H", "I"), "U": ("H", "H"), "U_z": ("H", "H"), "b": ("H",)},
        consts={"dt": dt, "gamma": gamma, "epsilon": epsilon},
    )
