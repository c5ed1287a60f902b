"""Recurrent highway network: several highway layers in one step.

Zilly, Srivastava, Koutnik & Schmidhuber 2016, "Recurrent highway networks", arXiv 1607.03474, by
the authors' code. The input is seen by the first layer alone. With coupled the carry gate is 1 -
t, as in their experiments. The biases of the transform gate start at -2 or -4 in the authors'
code. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def rhn(
    *,
    depth: Annotated[Literal[3, 1, 2, 4, 5, 6, 8, 10], "highway layers in a step"] = 3,
    coupled: Annotated[bool, "the carry gate is 1 - t"] = True,
) -> Text:
    """Recurrent highway network: depth times s = n t + s (1 - t)."""
    params, lines, s = "", "", "h"
    for k in range(1, depth + 1):

        def layer(gate: str, k: int = k, s: str = s) -> str:
            seen = f"W_{gate} @ x + " if k == 1 else ""
            return f"{seen}R_{gate}{k} @ {s} + b_{gate}{k}"

        params += f"param  R_n{k}: H x H, R_t{k}: H x H, b_n{k}: H, b_t{k}: H = -2\n"
        lines += f"n_{k} = tanh({layer('n')})\nt_{k} = sigmoid({layer('t')})\n"
        carry = f"(1 - t_{k})"
        if not coupled:
            params += f"param  R_c{k}: H x H, b_c{k}: H\n"
            lines += f"c_{k} = sigmoid({layer('c')})\n"
            carry = f"c_{k}"
        after = "h'" if k == depth else f"s_{k}"
        lines += f"{after} = n_{k} * t_{k} + {s} * {carry}\n"
        s = after
    return Text(
        doc="Recurrent highway network. Zilly et al. 2016, arXiv 1607.03474.",
        text=f"""
input  x: I
state  h: H
param  W_n: H x I, W_t: H x I{"" if coupled else ", W_c: H x I"}
{params}

{lines}
output h'
""",
    )
