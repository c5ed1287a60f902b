"""The LSTM with variational dropout: one mask a sequence, given once.

Gal & Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
networks", arXiv 1512.05287. m_x and m_h do not change with time: 0, or 1 divided by the
probability to keep. With gates=untied every gate has masks of its own, with tied all share one
pair. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family


@family
def variational_lstm(
    *,
    masks_of: Annotated[Literal["tied", "untied"], "one pair of masks, or one a gate"] = "tied",
) -> Text:
    """LSTM with masks on x and h that do not change with time."""
    ends = [""] if masks_of == "tied" else [f"_{k}" for k in "ifgo"]
    masks = ", ".join(f"m_x{end}: I once, m_h{end}: H once" for end in ends)

    def seen(k: str) -> str:
        end = "" if masks_of == "tied" else f"_{k}"
        return f"W_{k} @ (m_x{end} * x) + U_{k} @ (m_h{end} * h) + b_{k}"

    return Text(
        doc="LSTM with variational dropout. Gal & Ghahramani 2016, arXiv 1512.05287.",
        text=f"""
input  x: I, {masks}
state  h: H, c: H
param  W_i: H x I, W_f: H x I, W_g: H x I, W_o: H x I
param  U_i: H x H, U_f: H x H, U_g: H x H, U_o: H x H
param  b_i: H, b_f: H, b_g: H, b_o: H

i  = sigmoid({seen("i")})
f  = sigmoid({seen("f")})
g  = tanh({seen("g")})
o  = sigmoid({seen("o")})
c' = f * c + i * g
h' = o * tanh(c')

output h'
""",
    )
