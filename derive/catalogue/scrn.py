"""SCRN: a slow context of exponential averages beside the hidden state.

Mikolov, Joulin, Chopra, Mathieu & Ranzato 2014, "Learning longer memory in recurrent neural
networks", arXiv 1412.7753. The softmax over words behind it belongs to the model. context: whether
the hidden state sees the context of this step or of the one before, as the authors' Torch code
does while its comment says otherwise. RecurrentLayers.jl and torchrecurrent put a tanh of both
behind, carry that as hidden state, and start alpha at 0 and 0.5; a typeset copy drops A x.
Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family, to_text


@family
def scrn(
    *,
    alpha: Annotated[float, "how much of the context stays"] = 0.95,
    context: Annotated[Literal["new", "previous"], "which one h' sees"] = "new",
) -> Text:
    """SCRN: s' = (1 - alpha) B x + alpha s, h' = sigmoid(A x + R h + P s')."""
    return Text(
        doc="Structurally constrained recurrent network. Mikolov et al. 2014, arXiv 1412.7753.",
        text=f"""
input  x: I
state  h: H, s: M
param  A: H x I, R: H x H, P: H x M, B: M x I
const  alpha = {to_text(alpha)}

s' = (1 - alpha) * (B @ x) + alpha * s
h' = sigmoid(A @ x + R @ h + P @ {"s'" if context == "new" else "s"})

output h'
""",
    )
