"""The closed function set in NumPy.

In: nothing.  Out: for every function what is called, and which helpers a module must define.
Not here: the text of the helpers (templates/numpy/functions.py.j2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: NumPy's own functions.
NUMPY: Mapping[str, str] = {
    "tanh": "tanh",
    "exp": "exp",
    "log": "log",
    "log1p": "log1p",
    "expm1": "expm1",
    "sin": "sin",
    "cos": "cos",
    "sqrt": "sqrt",
    "square": "square",
    "abs": "abs",
    "sign": "sign",
    "floor": "floor",
    "maximum": "maximum",
    "minimum": "minimum",
    "where": "where",
}

#: Helpers of the generated module, in the order in which they are defined, and what each needs.
HELPERS: Mapping[str, tuple[str, ...]] = {
    "sigmoid": (),
    "relu": (),
    "softplus": (),
    "logsigmoid": (),
    "softsign": (),
    "elu": (),
    "leaky_relu": (),
    "selu": (),
    "silu": (),
    "silu_slope": (),
    "erf": (),
    "gaussian": (),
    "normal_tail": (),
    "gelu": ("gaussian", "normal_tail"),
    "gelu_slope": ("gaussian", "normal_tail"),
    "power": (),
    "clip": (),
    "hard_sigmoid": ("clip",),
    "hard_tanh": ("clip",),
    "gated": (),
}

COMPARISONS: Mapping[str, str] = {
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
}


def helpers_for(functions: Iterable[str]) -> tuple[str, ...]:
    """The helpers that `functions` need, in the order of their definition."""
    needed = set(functions)
    needed.update(part for name in tuple(needed) for part in HELPERS.get(name, ()))
    return tuple(name for name in HELPERS if name in needed)
