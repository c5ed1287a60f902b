"""SGRN, the simple gated recurrent network: gate and candidate share their product of the input.

doi 10.1049/gtd2.12056 (2021), as in torchrecurrent (SGRNCell) and RecurrentLayers.jl. The input is
let in by i = 1 - f, and its product and bias are those of the gate. Read in those programs, not in
the paper: equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def sgrn() -> Text:
    """SGRN: f = sigmoid(a + U h + c), h' = tanh((1 - f) a + f h), a = W x + b."""
    return Text(
        doc="Simple gated recurrent network. doi 10.1049/gtd2.12056, 2021.",
        text="""
input  x: I
state  h: H
param  W: H x I, U: H x H, b: H, c: H

a  = W @ x + b
f  = sigmoid(a + U @ h + c)
h' = tanh((1 - f) * a + f * h)

output h'
""",
    )
