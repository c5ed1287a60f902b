"""HGRN, the hierarchically gated recurrent network, with real numbers.

Qin, Yang & Zhong 2023, "Hierarchically gated recurrent neural network for sequence modeling",
arXiv 2311.04823. The forget gate lies between lower_bound and 1. In the paper the bound grows from
layer to layer (a running sum of a softmax over the layers, 0 in the first) and is learned with
them; here it is a number. The paper turns h by a learned angle as well; the authors' later code
(flash-linear-attention) is real, as here. The norm and the output gate belong to the block.
Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family, to_text


@family
def hgrn(
    *,
    lower_bound: Annotated[float, "the least that f keeps"] = 0.0,
) -> Text:
    """HGRN: h' = f h + (1 - f) silu(W_i x), f in (lower_bound, 1) from the input."""
    gate, bound = "sigmoid(W_f @ x + b_f)", ""
    if lower_bound:
        bound = f"const  lower_bound = {to_text(lower_bound)}"
        gate = f"lower_bound + (1 - lower_bound) * {gate}"
    return Text(
        doc="HGRN. Qin et al. 2023, arXiv 2311.04823.",
        text=f"""
input  x: I
state  h: H
param  W_f: H x I, W_i: H x I, b_f: H, b_i: H
{bound}

f  = {gate}
h' = f * h + (1 - f) * silu(W_i @ x + b_i)

output h'
""",
    )
