"""HyperLSTM: a small LSTM that scales the rows of a large one's matrices at every step.

Ha, Dai & Le 2016, "HyperNetworks", arXiv 1609.09106. The small cell, of width M, sees h and x; its
output becomes three vectors of width E for each gate, which scale U h, W x and shift the sum. With
layer_norm gates and cell state are normalised, as in the paper and in hardmaru/supercell, which
has it in the small cell too. The scales start at 1 and the shifts at 0 there, by biases of the
embeddings. Gates i, f, g, o. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from derive.catalogue.option import Text, family


@family
def hyper_lstm(
    *,
    layer_norm: Annotated[bool, "of the four gates and of the cell state"] = True,
) -> Text:
    """HyperLSTM: gate = LN(d_h U h + d_x W x + d_b), the d from a small LSTM."""
    params, lines = "", ""
    for y in "ifgo":
        params += f"param  A_{y}: M x I, B_{y}: M x H, C_{y}: M x M, a_{y}: M\n"
        lines += f"s_{y} = A_{y} @ x + B_{y} @ h + C_{y} @ k + a_{y}\n"
    lines += "l'  = sigmoid(s_f) * l + sigmoid(s_i) * tanh(s_g)\n"
    lines += "k'  = sigmoid(s_o) * tanh(l')\n"
    for y in "ifgo":
        params += (
            f"param  W_{y}: H x I, U_{y}: H x H, Z_x{y}: E x M, Z_h{y}: E x M, Z_b{y}: E x M\n"
        )
        params += f"param  z_x{y}: E = 1, z_h{y}: E = 1, D_x{y}: H x E, D_h{y}: H x E\n"
        params += f"param  D_b{y}: H x E = 0, b_{y}: H\n"
        inner = (
            f"(D_h{y} @ (Z_h{y} @ k' + z_h{y})) * (U_{y} @ h)"
            f" + (D_x{y} @ (Z_x{y} @ k' + z_x{y})) * (W_{y} @ x) + D_b{y} @ (Z_b{y} @ k') + b_{y}"
        )
        if layer_norm:
            params += f"param  gamma_{y}: H = 1, beta_{y}: H\n"
            inner = f"gamma_{y} * layer_norm({inner}) + beta_{y}"
        lines += f"{y}   = {inner}\n"
    params += "param  gamma_c: H = 1, beta_c: H" if layer_norm else ""
    lines = lines.rstrip()
    return Text(
        doc="HyperLSTM. Ha, Dai & Le 2016, arXiv 1609.09106.",
        text=f"""
input  x: I
state  h: H, c: H, k: M, l: M
{params}

{lines}
c'  = sigmoid(f) * c + sigmoid(i) * tanh(g)
h'  = sigmoid(o) * tanh({"gamma_c * layer_norm(c') + beta_c" if layer_norm else "c'"})

output h'
""",
    )
