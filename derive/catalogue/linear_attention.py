"""Linear attention, or a transformer as a recurrent network.

Katharopoulos, Vyas, Pappas & Fleuret 2020, "Transformers are RNNs: fast autoregressive
transformers with linear attention", arXiv 2006.16236. The feature map is elu + 1, and the read-out
is divided by phi(q) z + 1e-6, as in the authors' code (fast-transformers). flash-linear-attention
leaves both out by default and scales q by K^-1/2, which W_q holds here. Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def linear_attention(
    *,
    normalised: Annotated[bool, "the read-out is divided by phi(q) z + 1e-6"] = True,
    feature_map: Annotated[Literal["elu", "identity"], "phi of q and k: elu + 1, or none"] = "elu",
) -> Text:
    """Linear attention: a matrix memory that adds up outer products, with its normaliser."""
    phi = "elu({}) + 1" if feature_map == "elu" else "{}"
    read = "y  = S' @ q"
    if normalised:
        read = "z' = z + k\ny  = S' @ q / (sum(z' * q) + 1e-6)"
    return Text(
        doc="Linear attention. Katharopoulos et al. 2020, arXiv 2006.16236.",
        text=f"""
input  x: I
state  S: N x D x K{", z: N x K" if normalised else ""}
param  W_q: N x K x I, W_k: N x K x I, W_v: N x D x I

q  = {phi.format("W_q @ x")}
k  = {phi.format("W_k @ x")}
v  = W_v @ x
S' = S + outer(v, k)
{read}

output y
""",
    )
