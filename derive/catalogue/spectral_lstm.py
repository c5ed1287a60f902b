"""The LSTM with spectral normalisation: matrices of largest singular value 1, as estimated.

Miyato, Kataoka, Koyama & Yoshida 2018, "Spectral normalization for generative adversarial
networks", arXiv 1802.05957, on both matrices of an LSTM, as torch.nn.utils.spectral_norm does:
sigma = u' W v, with u and v from power iteration held fixed in a step. They are fixed arrays here;
iterate with v = W' u / |W' u| and u = W v / |W v| between updates. Gates in the order i, f, g, o.
Equation numbers not checked.
"""

from __future__ import annotations

from derive.catalogue.option import Text, family


@family
def spectral_lstm() -> Text:
    """LSTM with matrices of largest singular value 1."""
    return Text(
        doc="LSTM with spectral normalisation. Miyato et al. 2018, arXiv 1802.05957.",
        text="""
input  x: I
state  h: H, c: H
fixed  u_W: 4*H, v_W: I, u_U: 4*H, v_U: H
param  W: 4*H x I, U: 4*H x H, b: 4*H = 0

s_W = sum(u_W * (W @ v_W))
s_U = sum(u_U * (U @ v_U))
i, f, z, o = split((W / s_W) @ x + (U / s_U) @ h + b, 4)
c' = sigmoid(f) * c + sigmoid(i) * tanh(z)
h' = sigmoid(o) * tanh(c')

output h'
""",
    )
