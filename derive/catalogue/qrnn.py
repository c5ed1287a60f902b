"""QRNN, the quasi-recurrent network: gates from a window of inputs, and a pooling in time.

Bradbury, Merity, Xiong & Socher 2016, "Quasi-recurrent neural networks", arXiv 1611.01576: f-, fo-
and ifo-pooling. f keeps the previous state, as in the paper; in the authors' code F writes and 1 -
F keeps. A window of 2 sees the input before, of 1 the present one. Biases as in the code. Equation
numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family

POOLS = {
    "f": "c' = f * c + (1 - f) * z",
    "fo": "c' = f * c + (1 - f) * z\nh  = o * c'",
    "ifo": "c' = f * c + i * z\nh  = o * c'",
}
SHIFT = "\nl' = x"


@family
def qrnn(
    *,
    pooling: Annotated[Literal["fo", "f", "ifo"], "which gates there are"] = "fo",
    window: Annotated[Literal[2, 1], "how many inputs the gates see"] = 2,
) -> Text:
    """QRNN: c' = f c + (1 - f) z, h = o c', where z, f, o see a window of x."""
    gates = "z" + pooling
    shapes = [
        f"W_{k}: H x I, " + (f"V_{k}: H x I, " if window == 2 else "") + f"b_{k}: H" for k in gates
    ]
    params = "\n".join(f"param  {shape}" for shape in shapes)
    lines = ""
    for k in gates:
        inner = f"W_{k} @ x + " + (f"V_{k} @ l + " if window == 2 else "") + f"b_{k}"
        lines += f"{k}  = {'tanh' if k == 'z' else 'sigmoid'}({inner})\n"
    lines = lines.rstrip()
    return Text(
        doc="Quasi-recurrent network. Bradbury et al. 2016, arXiv 1611.01576.",
        text=f"""
input  x: I
state  c: H{", l: I" if window == 2 else ""}
{params}

{lines}
{POOLS[pooling]}{SHIFT if window == 2 else ""}

output {"c'" if pooling == "f" else "h"}
""",
    )
