"""S4D: a diagonal state space, complex, the same at every step.

Gu, Gupta, Goel & Re 2022, "On the parameterization and initialization of diagonal state space
models", arXiv 2206.11893. Every channel of u has K complex states, half of the conjugate pairs, as
pairs of real numbers. A = -exp(A_log) + i w, the step exp(log_dt) for each channel, B = 1. zoh
(the zero-order hold) and bilinear are the two discretisations of the paper; a real part by exp is
that of its table. The read-out takes twice the real part. Starts: A_log = log 0.5 and w = pi n, n
= 0, 1, ... (S4D-Lin; here w is uniform in 0 .. 100), log_dt uniform in log 0.001 .. log 0.1, C of
N(0, 1/2) in both parts, skip of N(0, 1). Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family

#: From r + i p = dt A: the transition a + i b, and the factor m + i n of the input.
FORMS = {
    "zoh": """\
a  = exp(r) * cos(p)
b  = exp(r) * sin(p)
l  = exp(log_dt) / (r**2 + p**2)
m  = l * ((a - 1) * r + b * p)
n  = l * (b * r - (a - 1) * p)""",
    "bilinear": """\
l  = 1 / ((1 - r / 2)**2 + p**2 / 4)
a  = l * ((1 + r / 2) * (1 - r / 2) - p**2 / 4)
b  = l * p
m  = exp(log_dt) * l * (1 - r / 2)
n  = exp(log_dt) * l * p / 2""",
}


@family
def s4d(
    *,
    discretisation: Annotated[Literal["zoh", "bilinear"], "how the step is made discrete"] = "zoh",
) -> Text:
    """S4D: h' = exp(dt A) h + u, y = 2 Re(C (exp(dt A) - 1) / A h') + skip u, complex."""
    return Text(
        doc="S4D. Gu et al. 2022, arXiv 2206.11893.",
        text=f"""
input  u: D
state  h: D x K, g: D x K
param  A_log: D x K = -0.6931, w: D x K = uniform(0, 100), log_dt: D = uniform(-6.9078, -2.3026)
param  C: D x K = normal(0, 0.7071), E: D x K = normal(0, 0.7071), skip: D = normal(0, 1)

r  = exp(log_dt) * -exp(A_log)
p  = exp(log_dt) * w
{FORMS[discretisation]}
h' = a * h - b * g + u
g' = b * h + a * g
y  = 2 * sum((C * m - E * n) * h' - (C * n + E * m) * g') + skip * u

output y
""",
    )
