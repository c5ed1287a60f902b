"""What the functions of loops are called, and what they mean in a library.

In: a library in NumPy's manner.  Out: {name in a loop's text: function}.
Not here: the text (loop.py).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

from derive.symbolic.closed_set import TABLE

COMPARISONS: Mapping[str, str] = {
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
}

#: Name in functions.RULES, sqrt or square -> the same name in the text.
FUNCTIONS: Mapping[str, str] = {
    name: name for name in (*TABLE, "square") if name not in COMPARISONS
}

#: Functions that NumPy, PyTorch and jax.numpy call alike.
_SHARED = (*(record.numpy_own for record in TABLE.values() if record.numpy_own), "square")

Functions = dict[str, Callable[..., Any]]


def meanings(xp: Any, **native: Callable[..., Any]) -> Functions:
    """Every function of FUNCTIONS, from the library's own where it has one: `native`."""
    f: Functions = {name: getattr(xp, name) for name in _SHARED}
    for name, record in TABLE.items():
        if record.composed is not None:
            f[name] = functools.partial(record.composed, f)
    f.update(native)
    return f


def taking_numbers(torch: Any) -> Functions:
    """torch.maximum and torch.minimum take tensors only; a formula may give them a number."""

    def either(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda a, b: function(torch.as_tensor(a), torch.as_tensor(b))

    return {name: either(getattr(torch, name)) for name in ("maximum", "minimum")}


def native(library: Any, paths: Mapping[str, str]) -> Functions:
    """{name of a function: what lies at its path below `library`}."""
    return {name: operator.attrgetter(path)(library) for name, path in paths.items() if path}
