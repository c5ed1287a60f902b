"""What the functions of loops are called, and what they mean in a library.

In: a library in NumPy's manner.  Out: {name in a loop's text: function}.
Not here: the text (loop.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from derive.symbolic import functions

COMPARISONS: Mapping[str, str] = {
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
}

#: Name in functions.RULES, sqrt or square -> the same name in the text.
FUNCTIONS: Mapping[str, str] = {
    name: name for name in (*functions.RULES, "sqrt", "square") if name not in COMPARISONS
}

#: Functions that NumPy, PyTorch and jax.numpy call alike.
_SHARED = (
    "tanh", "exp", "log", "log1p", "expm1", "sin", "cos", "abs", "sign", "floor", "maximum",
    "minimum", "where", "sqrt", "square",
)  # fmt: skip

Functions = dict[str, Callable[..., Any]]


def meanings(xp: Any, **native: Callable[..., Any]) -> Functions:
    """Every function of FUNCTIONS, from the library's own where it has one: `native`."""
    f: Functions = {name: getattr(xp, name) for name in _SHARED}
    f |= {
        "sigmoid": lambda v: 1.0 / (1.0 + f["exp"](-v)),
        "relu": lambda v: f["where"](v > 0, v, 0.0),
        "softplus": lambda v: f["relu"](v) + f["log1p"](f["exp"](-f["abs"](v))),
        "logsigmoid": lambda v: -f["softplus"](-v),
        "softsign": lambda v: v / (1.0 + f["abs"](v)),
        "elu": lambda v: f["where"](v > 0, v, f["expm1"](v - f["relu"](v))),
        "leaky_relu": lambda v: f["where"](v > 0, v, 0.01 * v),
        "selu": lambda v: _SELU * f["where"](v > 0, v, _ALPHA * f["expm1"](v - f["relu"](v))),
        "gelu": lambda v: 0.5 * v * (1.0 + f["erf"](v / math.sqrt(2))),
        "silu": lambda v: v * f["sigmoid"](v),
        "hard_sigmoid": lambda v: f["clip"](v / 6.0 + 0.5, 0.0, 1.0),
        "hard_tanh": lambda v: f["clip"](v, -1.0, 1.0),
        "gaussian": lambda v: f["exp"](-0.5 * v * v),
        "gelu_slope": lambda v: (
            0.5 * (1.0 + f["erf"](v / math.sqrt(2))) + v * f["gaussian"](v) / math.sqrt(2 * math.pi)
        ),
        "silu_slope": lambda v: f["sigmoid"](v) * (1.0 + v * f["sigmoid"](-v)),
        "gated": lambda d, p: f["where"](d == 0, 0.0, d * p),
        "stop_gradient": lambda v: v,
        **native,
    }
    return f


_SELU, _ALPHA = float(functions.SELU_SCALE), float(functions.SELU_ALPHA)
