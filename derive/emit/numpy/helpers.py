"""The closed function set in NumPy.

In: the records of the closed set.  Out: for every function what is called, which helpers a module
must define, and the text of a helper that is made of others.
Not here: the text of the other helpers (templates/numpy/functions).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import COMPOSED
from derive.symbolic.code import Syntax, print_expression
from derive.symbolic.composed import composed, symbols

COMPARISONS: Mapping[str, str] = {
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
}

#: NumPy's own functions.
NUMPY: Mapping[str, str] = {
    **{name: record.numpy_own for name, record in TABLE.items() if record.numpy_own},
    "square": "square",
}

#: Helpers that are no functions of the closed set.
_PARTS = ("normal_tail", "power")

#: Helpers of the generated module, and which others each needs.
HELPERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_PARTS, ()),
    **{
        name: record.needs
        for name, record in TABLE.items()
        if not record.numpy_own and name not in (*COMPARISONS, "stop_gradient")
    },
}


def helpers_for(functions: Iterable[str]) -> tuple[str, ...]:
    """The helpers that `functions` need, each behind those that it needs itself."""
    used = set(functions)
    needed: dict[str, None] = {}

    def add(name: str) -> None:
        for part in HELPERS[name]:
            add(part)
        needed.setdefault(name)

    for name in HELPERS:
        if name in used:
            add(name)
    return tuple(needed)


@dataclass(frozen=True, slots=True)
class Composed:
    """A helper of one line."""

    arguments: str
    text: str


def composed_helpers(helpers: Iterable[str], syntax: Syntax, array: str) -> dict[str, Composed]:
    """Those of `helpers` that are made of others. array: the annotation of an array."""
    plain = replace(syntax, name=str)
    found = {}
    for name in helpers:
        if name in TABLE and TABLE[name].numpy == COMPOSED:
            arguments = symbols(name)
            text = print_expression(composed(name, arguments), plain, {})
            found[name] = Composed(", ".join(f"{symbol}: {array}" for symbol in arguments), text)
    return found
