"""HGRN2: the gated recurrence of HGRN with a state that is an outer product.

Qin, Yang, Sun, Shen, Li, Sun & Zhong 2024, "HGRN2: gated linear RNNs with state expansion", arXiv
2404.07904. The key is 1 - f, so that what is forgotten is what is written. lower_bound as in hgrn.
The norm behind the read-out belongs to the block. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family, to_text


@family
def hgrn2(
    *,
    lower_bound: Annotated[float, "the least that f keeps"] = 0.0,
) -> Text:
    """HGRN2: S' = S diag(f) + v (1 - f), f in (lower_bound, 1) from the input."""
    gate, bound = "sigmoid(W_f @ x)", ""
    if lower_bound:
        bound = f"const  lower_bound = {to_text(lower_bound)}"
        gate = f"lower_bound + (1 - lower_bound) * {gate}"
    return Text(
        doc="HGRN2. Qin et al. 2024, arXiv 2404.07904.",
        text=f"""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_f: N x K x I, W_v: N x D x I
{bound}

q  = silu(W_q @ x)
f  = {gate}
v  = W_v @ x
S' = f * S + outer(v, 1 - f)
y  = S' @ q

output y
""",
    )
