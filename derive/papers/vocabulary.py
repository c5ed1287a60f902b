"""Words of formulas: Greek letters, and how papers call functions.

In: nothing.  Out: tables.
Not here: what a letter stands for (roles.py).
"""

from __future__ import annotations

from derive.symbolic import functions

GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi"
    " pi varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta"
    " Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar".split()
)
#: How papers call functions of the language.
FUNCTIONS = {
    **{name: name for name in functions.PUBLIC_FUNCTIONS},
    "sigm": "sigmoid", "logistic": "sigmoid", "ReLU": "relu", "Relu": "relu", "ln": "log",
    "LN": "layer_norm", "LayerNorm": "layer_norm", "Tanh": "tanh", "Sigmoid": "sigmoid",
    "SiLU": "silu", "Swish": "silu", "swish": "silu", "GELU": "gelu", "SoftPlus": "softplus",
    "Softplus": "softplus", "max": "maximum", "min": "minimum", "sgn": "sign", "th": "tanh",
    "hardsigmoid": "hard_sigmoid", "hardtanh": "hard_tanh", "LeakyReLU": "leaky_relu",
    "Softmax": "softmax",
    "Linear": "Linear", "linear": "Linear", "Lin": "Linear",
    "detach": "stop_gradient", "sg": "stop_gradient", "ELU": "elu",
    "concat": "concat", "Concat": "concat", "Diag": "diag", "SELU": "selu", "Softsign": "softsign",
}  # fmt: skip
#: Functions that papers write and the language does not have.
UNKNOWN = frozenset("softmax Softmax argmax conv MLP LSTM GRU RNN det norm prod lim".split()) - set(
    FUNCTIONS
)
