"""The gated recurrent unit, in all its conventions.

Cho et al. 2014, arXiv 1406.1078: the reset gate acts on h before the product, and z
keeps the previous state. Chung, Gulcehre, Cho & Bengio 2014, arXiv 1412.3555: the
same with 1 - z for z. The reset gate after the product is the form of cuDNN, hence of PyTorch;
also called v1, lbr, linear_before_reset, reset_after.

| form                                     | reset  | keeps     | biases |
| ---------------------------------------- | ------ | --------- | ------ |
| PyTorch, cuDNN, Keras, ONNX with lbr     | after  | previous  | 2      |
| Cho et al., TensorFlow 1, Keras before 2 | before | previous  | 1      |
| Chung et al.                             | before | candidate | 1      |

With `biases=2`, b_hr, b_hz and b_hn go with the recurrent products. All but the b_hn inside
r * (U_n h + b_hn) could be added to the first ones; they are there to take over parameters.

Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from sympy import Eq

from derive.catalogue.option import Activation, Draft, family, function_of, stacked
from derive.symbolic.heads import arrays


@family
def gru(
    *,
    reset: Annotated[
        Literal["before", "after"], "whether r acts on h before or after the product with U_n"
    ] = "after",
    keeps: Annotated[
        Literal["previous", "candidate"], "what z multiplies: z*h + (1-z)*n, or (1-z)*h + z*n"
    ] = "previous",
    biases: Annotated[
        Literal[1, 2] | None, "vectors a gate; none: 2 with reset=after, 1 with reset=before"
    ] = None,
    activation: Annotated[Activation, "of the candidate n"] = "tanh",
    recurrent_activation: Annotated[Activation, "of the gates r and z"] = "sigmoid",
) -> Draft:
    """Gated recurrent unit; gates in the order r, z, n (the candidate)."""
    act, gate = function_of(activation), function_of(recurrent_activation)
    x, h, h_next, r, z, n = arrays("x h h_next r z n")
    W_r, W_z, W_n, U_r, U_z, U_n = arrays("W_r W_z W_n U_r U_z U_n")
    b_r, b_z, b_n, b_hr, b_hz, b_hn = arrays("b_r b_z b_n b_hr b_hz b_hn")
    params = stacked({"W": ("H", "I"), "U": ("H", "H"), "b": ("H",)}, "r z n")
    second: tuple[Any, ...] = (0, 0, 0)
    if biases == 2 or (biases is None and reset == "after"):
        second = (b_hr, b_hz, b_hn)
        params |= {str(b): ("H",) for b in second}
    c_r, c_z, c_n = second

    recurrent = U_n @ (r * h) + c_n if reset == "before" else r * (U_n @ h + c_n)
    kept = z * h + (1 - z) * n if keeps == "previous" else (1 - z) * h + z * n
    return Draft(
        doc="Gated recurrent unit. Cho et al. 2014, arXiv 1406.1078."
        + (" Reset after the product: cuDNN." if reset == "after" else "")
        + (" z writes: Chung et al. 2014, arXiv 1412.3555." if keeps == "candidate" else ""),
        equations=[
            Eq(r, gate(W_r @ x + b_r + U_r @ h + c_r)),
            Eq(z, gate(W_z @ x + b_z + U_z @ h + c_z)),
            Eq(n, act(W_n @ x + b_n + recurrent)),
            Eq(h_next, kept),
        ],
        states={"h": "H"},
        params=params,
    )
