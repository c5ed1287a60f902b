"""The LSTM with coupled input and forget gates.

Greff, Srivastava, Koutnik, Steunebrink & Schmidhuber 2017, "LSTM: a search space odyssey", arXiv
1503.04069, variant CIFG: f = 1 - i. Others couple i = 1 - f. It is the same function with the sign
of that gate's parameters turned round; option `gate` says whose parameters there are. No
peepholes: for those, and projection, see lstm(coupled=True). Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.errors import ArgumentError
from derive.symbolic.heads import arrays


@family
def cifg(
    *,
    gate: Annotated[Literal["forget", "input"], "which gate has parameters"] = "forget",
    forget_bias: Annotated[float, "added to the forget gate's pre-activation at run time"] = 0.0,
    activation: Annotated[Activation, "of the candidate g and of the output"] = "tanh",
    recurrent_activation: Annotated[Activation, "of the gates"] = "sigmoid",
) -> Draft:
    """LSTM with coupled gates: i = 1 - f, or f = 1 - i with gate="input"."""
    if forget_bias and gate == "input":
        raise ArgumentError(
            "forget_bias of cifg needs a forget gate with parameters",
            hint=f"gate=forget, forget_bias={forget_bias:g}",
        )
    act, squash = function_of(activation), function_of(recurrent_activation)
    x, h, c, h_next, c_next = arrays("x h c h_next c_next")
    i, f, g, o, bias = arrays("i f g o forget_bias")
    W_i, W_f, W_g, W_o = arrays("W_i W_f W_g W_o")
    U_i, U_f, U_g, U_o = arrays("U_i U_f U_g U_o")
    b_i, b_f, b_g, b_o = arrays("b_i b_f b_g b_o")

    if gate == "forget":
        a = W_f @ x + U_f @ h + b_f
        gates = [Eq(f, squash(a + bias if forget_bias else a)), Eq(i, 1 - f)]
    else:
        gates = [Eq(i, squash(W_i @ x + U_i @ h + b_i)), Eq(f, 1 - i)]
    return Draft(
        doc="LSTM with coupled input and forget gates. Greff et al. 2017, arXiv 1503.04069, CIFG.",
        equations=[
            *gates,
            Eq(g, act(W_g @ x + U_g @ h + b_g)),
            Eq(o, squash(W_o @ x + U_o @ h + b_o)),
            Eq(c_next, f * c + i * g),
            Eq(h_next, o * act(c_next)),
        ],
        states={"h": "H", "c": "H"},
        params=stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, f"{gate[0]} g o"),
        consts={"forget_bias": forget_bias} if forget_bias else {},
    )
