"""AUGRU, AGRU and AIGRU: a GRU whose update follows an attention score given from outside.

Zhou, Mou, Fan, Pi, Bian, Zhou, Zhu & Gai 2018, "Deep interest evolution network for click-through
rate prediction", arXiv 1809.03672. augru scales the update gate by the score, agru puts the score
in its place, and aigru scales the input. z writes; oneDNN keeps (1 - a) u of h, with its gate u
for 1 - z. Gate biases start at 1 in the authors' code. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def augru(
    *,
    score: Annotated[Literal["augru", "agru", "aigru"], "scales z, is z, or scales x"] = "augru",
) -> Text:
    """GRU with an attention score a: h' = (1 - a z) h + a z n."""
    gates = "r n" if score == "agru" else "r z n"
    shapes = [(f"W_{k}: H x I", f"U_{k}: H x H", f"b_{k}: H") for k in gates.split()]
    params = "\n".join(f"param  {', '.join(shape)}" for shape in shapes)
    x = "(a * x)" if score == "aigru" else "x"
    z = {"augru": "a * z", "agru": "a", "aigru": "z"}[score]
    rows = [f"r  = sigmoid(W_r @ {x} + U_r @ h + b_r)"]
    if score != "agru":
        rows.append(f"z  = sigmoid(W_z @ {x} + U_z @ h + b_z)")
    rows += [f"n  = tanh(W_n @ {x} + U_n @ (r * h) + b_n)", f"h' = (1 - {z}) * h + {z} * n"]
    lines = "\n".join(rows)
    return Text(
        doc="Attentional GRU. Zhou et al. 2018, arXiv 1809.03672.",
        text=f"""
input  x: I, a: 1
state  h: H
{params}

{lines}

output h'
""",
    )
