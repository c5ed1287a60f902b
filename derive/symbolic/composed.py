"""Functions that are made of others, as expressions.

In: the name of a function of the closed set.  Out: an expression of other functions.
Not here: the formulas (`composed` in closed_set/), how they are printed (printer.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import sympy

from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import Expr

_HEADS = {name: record.head or sympy.sqrt for name, record in TABLE.items()}


def composed(name: str, args: Sequence[Expr]) -> Expr:
    """The function `name` of `args` by means of other functions."""
    formula = TABLE[name].composed
    assert formula is not None, name
    return cast(Expr, sympy.sympify(formula(_HEADS, *args)))


def symbols(name: str) -> tuple[sympy.Symbol, ...]:
    """Names for the arguments of a definition."""
    letters = ("v",) if TABLE[name].arity == 1 else ("u", "v", "w")
    return tuple(sympy.Symbol(letter, real=True) for letter in letters[: TABLE[name].arity])
