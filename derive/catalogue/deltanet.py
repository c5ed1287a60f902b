"""DeltaNet: the delta rule writes what the memory does not yet return for the key.

Schlag, Irie & Schmidhuber 2021, "Linear transformers are secretly fast weight programmers", arXiv
2102.11174; in the form of Yang, Wang, Zhang, Shen & Kim 2024, arXiv 2406.06484, and of
flash-linear-attention: silu, then q and k of length 1, with 1e-6 under the root. The first paper
has another feature map and a sum in place of the length. With negative, b lies in (0, 2) and the
transition may have negative eigenvalues (Grazzi et al. 2024, arXiv 2411.12537). K^-1/2 on the
read-out is left out. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family


@family
def deltanet(
    *,
    negative: Annotated[bool, "b in (0, 2) in place of (0, 1)"] = False,
) -> Text:
    """DeltaNet: S' = S + b (v - S k) k."""
    twice = "2 * " if negative else ""
    return Text(
        doc="DeltaNet. Schlag et al. 2021, arXiv 2102.11174; Yang et al. 2024, arXiv 2406.06484.",
        text=f"""
input  x: I
state  S: N x D x K
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I, w_b: N x I

q_s = silu(W_q @ x)
k_s = silu(W_k @ x)
q   = q_s / sqrt(sum(q_s**2) + 1e-6)
k   = k_s / sqrt(sum(k_s**2) + 1e-6)
v   = silu(W_v @ x)
b   = {twice}sigmoid(w_b @ x)
S'  = S + outer(b * (v - S @ k), k)
y   = S' @ q

output y
""",
    )
