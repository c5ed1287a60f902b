"""A recurrence that is orthogonal by construction: a product of Householder reflections.

Mhammedi, Hellicar, Rahman & Bailey 2017, "Efficient orthogonal parametrisation of recurrent neural
networks using Householder reflections", arXiv 1612.00188. Each reflection is I - 2 v v' / |v|^2,
at a cost of 2 H; with H of them every orthogonal matrix is reached. Other orthogonal recurrences:
rnn with U started orthogonal, and expRNN or Cayley maps, which take a matrix function between
updates. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Activation, Text, applied, family


@family
def householder_rnn(
    *,
    reflections: Annotated[Literal[4, 1, 2, 3, 6, 8], "how many are multiplied"] = 4,
    activation: Annotated[Activation, "of the sum"] = "leaky_relu",
) -> Text:
    """Orthogonal RNN: h' = act(W x + H_1 ... H_k h + b), H_i reflections."""
    vectors, lines, last = "", "", "h"
    for k in range(reflections, 0, -1):
        vectors += f", v_{k}: H = normal(0, 1)"
        lines += f"u_{k} = {last} - 2 * sum(v_{k} * {last}) / sum(v_{k}**2) * v_{k}\n"
        last = f"u_{k}"
    return Text(
        doc="Orthogonal recurrence by reflections. Mhammedi et al. 2017, arXiv 1612.00188.",
        text=f"""
input  x: I
state  h: H
param  W: H x I, b: H{vectors}

{lines}h' = {applied(activation, f"W @ x + {last} + b")}

output h'
""",
    )
