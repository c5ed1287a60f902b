"""The phased LSTM: each unit opens during a part of its own cycle and sleeps otherwise.

Neil, Pfeiffer & Liu 2016, "Phased LSTM: accelerating recurrent network training for long or
event-based sequences", arXiv 1610.09513, in the form of TensorFlow 1, PhasedLSTMCell: peepholes
are full matrices, and the remainder of a division passes the gradient of the time, of the phase
and of the division by the period, not of its own steps. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.symbolic.functions import floor, less, sigmoid, stop_gradient, tanh, where
from derive.symbolic.heads import arrays


@family
def phased_lstm(
    *,
    leak: Annotated[float, "slope of the openness k while a unit sleeps"] = 0.001,
    peephole: Annotated[bool, "i and f see the cell state, o the next one, by P_i P_f P_o"] = False,
) -> Draft:
    """Phased LSTM; inputs are the time and x."""
    x, time, h, c, h_next, c_next = arrays("x time h c h_next c_next")
    i, f, g, o, c_open, h_open = arrays("i f g o c_open h_open")
    period, phase, ratio_on, slope = arrays("period phase ratio_on leak")
    shifted, cycle, rising, k = arrays("shifted cycle rising k")
    a = {}
    for gate in "ifgo":
        W, U, b = arrays(f"W_{gate} U_{gate} b_{gate}")
        a[gate] = W @ x + U @ h + b
    params = stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "i f g o")
    if peephole:
        P_i, P_f, P_o = arrays("P_i P_f P_o")
        a["i"], a["f"], a["o"] = a["i"] + P_i @ c, a["f"] + P_f @ c, a["o"] + P_o @ c_open
        params |= stacked({"P": ("H", "H")}, "i f o")
    # mod(v, p) - v, which is -p floor(v / p), counts as a constant.
    remainder = shifted + stop_gradient(-period * floor(shifted / period))
    return Draft(
        doc="Phased LSTM. Neil, Pfeiffer & Liu 2016, arXiv 1610.09513.",
        equations=[
            Eq(i, sigmoid(a["i"])),
            Eq(f, sigmoid(a["f"])),
            Eq(g, tanh(a["g"])),
            Eq(c_open, f * c + i * g),
            Eq(o, sigmoid(a["o"])),
            Eq(h_open, o * tanh(c_open)),
            Eq(shifted, time - phase),
            Eq(cycle, remainder / period),
            Eq(rising, 2 * cycle / ratio_on),
            Eq(
                k,
                where(
                    less(cycle, ratio_on / 2),
                    rising,
                    where(less(cycle, ratio_on), 2 - rising, slope * cycle),
                ),
            ),
            Eq(c_next, k * c_open + (1 - k) * c),
            Eq(h_next, k * h_open + (1 - k) * h),
        ],
        states={"h": "H", "c": "H"},
        params=params | {"period": ("H",), "phase": ("H",), "ratio_on": ("H",)},
        consts={"leak": leak},
        inputs={"time": 1, "x": "I"},
    )
