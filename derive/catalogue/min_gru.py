"""minGRU: no gate sees the state, so the step is linear in it and a parallel scan is legal.

Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201; with
log_space the candidate of its appendix B.3, positive, so that a scan may work with logarithms.
With log_state the state is l = log h, as in that scan: it begins at 0, which is h = 1, and y = h
is put out. The layers of the paper are affine, so there are biases; the code of lucidrains
(minGRU_pytorch) has none. Equation numbers not checked.
"""

from __future__ import annotations

from typing import Annotated, Any

from sympy import Eq

from derive.catalogue.option import Draft, family, stacked
from derive.errors import ArgumentError
from derive.symbolic.functions import HALF, exp, less, log, logsigmoid, sigmoid, softplus, where
from derive.symbolic.heads import arrays


def positive(v: Any) -> Any:
    """g of the paper: v + 1/2 where v >= 0, sigmoid(v) below."""
    return where(less(v, 0), sigmoid(v), v + HALF)


@family
def min_gru(
    *,
    log_space: Annotated[bool, "the positive candidate of the paper's log-space form"] = False,
    log_state: Annotated[bool, "the state is log h; needs log_space"] = False,
) -> Draft:
    """minGRU: h' = (1 - z) h + z n, where z and n see the input alone."""
    x, h, h_next, z, n, a = arrays("x h h_next z n a")
    W_z, W_n, b_z, b_n = arrays("W_z W_n b_z b_n")
    affine = W_n @ x + b_n
    if log_state:
        return _in_logarithms(log_space)
    return Draft(
        doc="minGRU. Feng et al. 2024, arXiv 2410.01201.",
        equations=[
            Eq(z, sigmoid(W_z @ x + b_z)),
            *([Eq(a, affine), Eq(n, positive(a))] if log_space else [Eq(n, affine)]),
            Eq(h_next, (1 - z) * h + z * n),
        ],
        states={"h": "H"},
        params=stacked({"W": ("H", "I"), "b": ("H",)}, "z n"),
    )


def _in_logarithms(log_space: bool) -> Draft:
    """l' = log((1 - z) e^l + z n), from logarithms of all three."""
    if not log_space:
        raise ArgumentError(
            "log_state of min_gru needs the positive candidate",
            hint="log_space=True, log_state=True",
        )
    x, log_h, log_h_next, k, a, keep, write, y = arrays("x l l_next k a keep write y")
    W_z, W_n, b_z, b_n = arrays("W_z W_n b_z b_n")
    return Draft(
        doc="minGRU, in logarithms. Feng et al. 2024, arXiv 2410.01201, appendix B.3.",
        equations=[
            Eq(k, W_z @ x + b_z),
            Eq(a, W_n @ x + b_n),
            Eq(keep, log_h - softplus(k)),
            Eq(write, where(less(a, 0), logsigmoid(a), log(a + HALF)) - softplus(-k)),
            Eq(log_h_next, keep + softplus(write - keep)),
            Eq(y, exp(log_h_next)),
        ],
        states={"l": "H"},
        params=stacked({"W": ("H", "I"), "b": ("H",)}, "z n"),
        outputs=("y",),
    )
