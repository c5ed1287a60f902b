"""Liquid time-constant network: neurons whose leak and drive depend on their synapses, by a fused
solver.

Hasani, Lechner, Amini, Rus & Grosu 2020, "Liquid time-constant networks", arXiv 2006.04439, as in
ncps: unfolds steps of a solver that is implicit in v alone, each v = (c v + g v_l + sum w s e) /
(c + g + sum w s + 1e-8), c = cm unfolds / elapsed, s = sigmoid(sigma (v_j - mu)). All synapses are
there; a wiring is a mask on w. elapsed is the time since the last step. The authors' first code
has cm itself for c and no 1e-8. Matrices are target x source, in ncps source x target. Starts in
ncps, and here: g U(0.001, 1), v_l U(-0.2, 0.2), cm U(0.4, 0.6), w U(0.001, 1), sigma U(3, 8), mu
U(0.3, 0.8), e 1 or -1; w, g and cm are kept positive there. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def ltc(
    *,
    unfolds: Annotated[Literal[6, 1, 2, 3, 4], "steps of the solver"] = 6,
) -> Text:
    """LTC: unfolds of v = (c v + g v_l + sum w s e) / (c + g + sum w s)."""
    lines, v = "", "v"
    for k in range(1, unfolds + 1):
        after = "v'" if k == unfolds else f"v_{k}"
        lines += f"s_{k} = w * sigmoid(sigma @ diag({v}) - sigma * mu)\n"
        lines += f"{after} = (c * {v} + a + sum(e * s_{k})) / (c + d + sum(s_{k}) + 1e-8)\n"
        v = after
    return Text(
        doc="Liquid time-constant network. Hasani et al. 2020, arXiv 2006.04439.",
        text=f"""
input  x: I, elapsed: 1
state  v: H
param  g: H = uniform(0.001, 1), v_l: H = uniform(-0.2, 0.2), cm: H = uniform(0.4, 0.6)
param  w: H x H = uniform(0.001, 1), sigma: H x H = uniform(3, 8), mu: H x H = uniform(0.3, 0.8)
param  e: H x H = sign(uniform(-1, 1)), e_x: H x I = sign(uniform(-1, 1))
param  w_x: H x I = uniform(0.001, 1), sigma_x: H x I = uniform(3, 8)
param  mu_x: H x I = uniform(0.3, 0.8)

s   = w_x * sigmoid(sigma_x @ diag(x) - sigma_x * mu_x)
a   = sum(e_x * s) + g * v_l
d   = sum(s) + g
c   = cm * {unfolds} / elapsed
{lines}
output v'
""",
    )
