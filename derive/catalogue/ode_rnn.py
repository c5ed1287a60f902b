"""ODE-RNN: the state follows a differential equation between observations, a GRU step at each of
them.

Rubanova, Chen & Duvenaud 2019, "Latent ODEs for irregularly-sampled time series", arXiv
1907.03907. The right side is B tanh(A h + a) + b, of N hidden units; elapsed is the time since the
last observation, crossed in one step of the solver: Euler's, or the classical Runge-Kutta method
of fourth order. The paper leaves the solver to a library, and so its steps. The GRU has its reset
gate before the product. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family

SOLVERS = {
    "euler": "k  = h + elapsed * (B @ tanh(A @ h + a) + b)",
    "rk4": """\
f_1 = B @ tanh(A @ h + a) + b
f_2 = B @ tanh(A @ (h + elapsed / 2 * f_1) + a) + b
f_3 = B @ tanh(A @ (h + elapsed / 2 * f_2) + a) + b
f_4 = B @ tanh(A @ (h + elapsed * f_3) + a) + b
k   = h + elapsed / 6 * (f_1 + 2 * f_2 + 2 * f_3 + f_4)""",
}


@family
def ode_rnn(
    *,
    method: Annotated[Literal["euler", "rk4"], "the solver's step"] = "euler",
) -> Text:
    """ODE-RNN: k = solve(h, elapsed), h' = GRU(k, x)."""
    return Text(
        doc="ODE-RNN. Rubanova, Chen & Duvenaud 2019, arXiv 1907.03907.",
        text=f"""
input  x: I, elapsed: 1
state  h: H
param  A: N x H, a: N, B: H x N, b: H
param  W_r: H x I, W_z: H x I, W_n: H x I, U_r: H x H, U_z: H x H, U_n: H x H
param  b_r: H, b_z: H, b_n: H

{SOLVERS[method]}
r  = sigmoid(W_r @ x + U_r @ k + b_r)
z  = sigmoid(W_z @ x + U_z @ k + b_z)
n  = tanh(W_n @ x + U_n @ (r * k) + b_n)
h' = z * k + (1 - z) * n

output h'
""",
    )
