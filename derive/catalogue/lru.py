"""The linear recurrent unit: a complex diagonal recurrence, stable by its parameters.

Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023, "Resurrecting recurrent neural networks
for long sequences", arXiv 2303.06349, as pairs of real numbers. The transition is exp(-exp(nu) + i
exp(theta)). Starts in minimal-LRU: |transition|^2 uniform in 0 .. 1, angles in 0 .. 6.28, gamma =
log sqrt(1 - |transition|^2) and free from then on; here gamma starts at 0. B and C as there, up to
the width under the root; skip of N(0, 1). Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def lru() -> Text:
    """LRU: h' = exp(-exp(nu) + i exp(theta)) h + exp(gamma) B x, y = Re(C h') + skip x."""
    return Text(
        doc="Linear recurrent unit. Orvieto et al. 2023, arXiv 2303.06349.",
        text="""
input  x: I
state  h: H, g: H
param  nu: H = log(-0.5 * log(uniform(0.001, 1))), theta: H = log(uniform(0.001, 6.28))
param  gamma: H = 0
param  B: H x I, E: H x I, C: I x H, F: I x H, skip: I = normal(0, 1)

r  = exp(-exp(nu))
a  = r * cos(exp(theta))
b  = r * sin(exp(theta))
h' = a * h - b * g + exp(gamma) * (B @ x)
g' = b * h + a * g + exp(gamma) * (E @ x)
y  = C @ h' - F @ g' + skip * x

output y
""",
    )
