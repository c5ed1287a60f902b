"""The undamped independent controlled oscillatory network: the step can be inverted.

Rusch & Mishra 2021, "UnICORNN: a recurrent model for learning very long time dependencies", arXiv
2103.05487. From h' and z' one finds h = h' - dt sigmoid(c) z', then z. Starts in the authors'
code, and here: w U(0, 1), c U(-0.1, 0.1). Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def unicornn(
    *,
    dt: Annotated[float, "size of the step"] = 0.1,
    alpha: Annotated[float, "stiffness"] = 1.0,
) -> Draft:
    """Undamped oscillators: z' = z - dt sigmoid(c) (tanh(w h + V x + b) + alpha h)."""
    x, h, z, h_next, z_next, speed = arrays("x h z h_next z_next speed")
    V, w, b, c, step, stiffness = arrays("V w b c dt alpha")
    return Draft(
        doc="Undamped independent oscillators. Rusch & Mishra 2021, arXiv 2103.05487.",
        equations=[
            Eq(speed, step * sigmoid(c)),
            Eq(z_next, z - speed * (tanh(V @ x + w * h + b) + stiffness * h)),
            Eq(h_next, h + speed * z_next),
        ],
        states={"h": "H", "z": "H"},
        params={"V": ("H", "I"), "w": ("H",), "b": ("H",), "c": ("H",)},
        starts={"w": "uniform(0, 1)", "c": "uniform(-0.1, 0.1)"},
        consts={"dt": dt, "alpha": alpha},
    )
