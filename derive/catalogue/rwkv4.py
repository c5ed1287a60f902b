"""RWKV-4: two sums weighted by exponentials of the key, and their quotient, for each channel.

Peng et al. 2023, "RWKV: reinventing RNNs for the transformer era", arXiv 2305.13048. w =
exp(decay) per step, u is a bonus for the present step. Stabilised as in the authors' kernel
(wkv_cuda): a and b are kept times exp(-o), o a running maximum; there o starts at -1e38, which
matters where exp(k) underflows. With token_shift every projection sees a mix of x and of the x
before; without it x alone. Starts in the code depend on the layer: decay from -5 to 3 over the
channels, u around log 0.3. The projection behind belongs to the block. Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family


@family
def rwkv4(
    *,
    token_shift: Annotated[bool, "r, k and v see m x + (1 - m) times the x before"] = True,
) -> Text:
    """RWKV-4: y = sigmoid(r) (a + e^(u + k) v) / (b + e^(u + k)); a and b decay by e^-w."""
    shift = "l' = x" if token_shift else ""

    def seen(k: str) -> str:
        return f"(m_{k} * x + (1 - m_{k}) * l)" if token_shift else "x"

    return Text(
        doc="RWKV-4. Peng et al. 2023, arXiv 2305.13048.",
        text=f"""
input  x: I
state  a: H, b: H, o: H{", l: I" if token_shift else ""}
param  W_r: H x I, W_k: H x I, W_v: H x I{", m_r: I, m_k: I, m_v: I" if token_shift else ""}
param  decay: H, u: H

r  = W_r @ {seen("r")}
k  = W_k @ {seen("k")}
v  = W_v @ {seen("v")}
w  = exp(decay)
p  = maximum(o, u + k)
y  = sigmoid(r) * (exp(o - p) * a + exp(u + k - p) * v) / (exp(o - p) * b + exp(u + k - p))
o' = maximum(o - w, k)
a' = exp(o - w - o') * a + exp(k - o') * v
b' = exp(o - w - o') * b + exp(k - o')
{shift}

output y
""",
    )
