"""MiRU1 and MiRU2: the GRU with numbers for gates.

doi 10.1016/j.neucom.2026.132847, Neurocomputing 2026, as in torchrecurrent (MiRU1Cell, MiRU2Cell):
the update gate is a number lambda, and in the second variant the reset gate a number theta, both
of the cell and not trained. Read in that program, not in the paper: equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family, to_text


@family
def miru(
    *,
    variant: Annotated[Literal[1, 2], "whether the reset gate is learned, or theta"] = 1,
    keep: Annotated[float, "lambda, the part of h that stays"] = 0.5,
    theta: Annotated[float, "the reset gate of the second variant"] = 0.5,
) -> Text:
    """MiRU: h' = lambda h + (1 - lambda) n, the reset gate learned or a number."""
    const, params, reset, r = f"const  keep = {to_text(keep)}", "", "", "theta"
    if variant == 1:
        params = "param  W_r: H x I, U_r: H x H, b_r: H\n"
        reset, r = "r  = sigmoid(W_r @ x + U_r @ h + b_r)\n", "r"
    else:
        const += f", theta = {to_text(theta)}"
    return Text(
        doc="Minimal recurrent unit. Neurocomputing 2026, doi 10.1016/j.neucom.2026.132847.",
        text=f"""
input  x: I
state  h: H
{params}param  W_n: H x I, U_n: H x H, b_n: H
{const}

{reset}n  = tanh(W_n @ x + U_n @ ({r} * h) + b_n)
h' = keep * h + (1 - keep) * n

output h'
""",
    )
