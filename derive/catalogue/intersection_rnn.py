"""The intersection RNN, +RNN: one gate for time, one for depth.

Collins, Sohl-Dickstein & Sussillo 2017, "Capacity and trainability in recurrent neural networks",
arXiv 1611.09913, +RNN. The forget bias on both gates is added at run time, and the input is
projected where its width differs, as in TensorFlow 1, IntersectionRNNCell. Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.functions import sigmoid, tanh
from derive.symbolic.heads import arrays


@family
def intersection_rnn(
    *,
    forget_bias: Annotated[float, "added to both gates' pre-activations at run time"] = 1.0,
    activation: Annotated[Activation, "of what goes to the layer above"] = "relu",
    projection: Annotated[bool, "x of any width I, brought to width H by W_p x + b_p"] = False,
) -> Draft:
    """Intersection RNN: h' = g_h h + (1 - g_h) n to the next step, y to the next layer."""
    act = function_of(activation)
    x, h, h_next, y, n, z, g_h, g_y = arrays("x h h_next y n z g_h g_y")
    W_p, b_p, x_p, bias = arrays("W_p b_p x_p forget_bias")
    seen = x_p if projection else x
    a = {}
    for k in ("gh", "n", "gy", "z"):
        W, U, b = arrays(f"W_{k} U_{k} b_{k}")
        a[k] = W @ seen + U @ h + b
    shift = bias if forget_bias else 0
    projected = {"W_p": ("H", "I"), "b_p": ("H",)} if projection else {}
    return Draft(
        doc="Intersection RNN. Collins et al. 2017, arXiv 1611.09913.",
        equations=[
            *([Eq(x_p, W_p @ x + b_p)] if projection else []),
            Eq(g_h, sigmoid(a["gh"] + shift)),
            Eq(n, tanh(a["n"])),
            Eq(g_y, sigmoid(a["gy"] + shift)),
            Eq(z, act(a["z"])),
            Eq(h_next, g_h * h + (1 - g_h) * n),
            Eq(y, g_y * seen + (1 - g_y) * z),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "H"), "U": ("H", "H"), "b": ("H",)}, "gh n gy z") | projected,
        consts={"forget_bias": forget_bias} if forget_bias else {},
        inputs={"x": "I" if projection else "H"},
        outputs=("y",),
    )
