"""Scalar mathematics over the closed function set: symbols, numbers and partial derivatives.

In: SymPy expressions over the arrays of one row.  Out: their partial derivatives.
Not here: what each function is (closed_set/), shapes, products and sums over units
(program/program.py), printing (printer.py, emit/, inspect/).

A SymPy symbol stands for one element of an array. Numbers are exact rationals, so that the
same text gives the same expression on every machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import sympy
from sympy import Integer, Pow, Rational

from derive.symbolic import closed_set
from derive.symbolic.closed_set.choice import absolute as absolute
from derive.symbolic.closed_set.choice import clip as clip
from derive.symbolic.closed_set.choice import floor as floor
from derive.symbolic.closed_set.choice import gated as gated
from derive.symbolic.closed_set.choice import maximum as maximum
from derive.symbolic.closed_set.choice import minimum as minimum
from derive.symbolic.closed_set.choice import sign as sign
from derive.symbolic.closed_set.choice import stop_gradient as stop_gradient
from derive.symbolic.closed_set.record import HALF as HALF
from derive.symbolic.closed_set.record import ONE as ONE
from derive.symbolic.closed_set.record import ZERO as ZERO
from derive.symbolic.closed_set.record import Expr as Expr
from derive.symbolic.closed_set.record import Function as Function
from derive.symbolic.closed_set.record import Scalar, pick
from derive.symbolic.closed_set.record import equal as equal
from derive.symbolic.closed_set.record import less as less
from derive.symbolic.closed_set.record import less_equal as less_equal
from derive.symbolic.closed_set.record import not_equal as not_equal
from derive.symbolic.closed_set.record import where as where
from derive.symbolic.closed_set.rectifiers import LEAKY_SLOPE as LEAKY_SLOPE
from derive.symbolic.closed_set.rectifiers import SELU_ALPHA as SELU_ALPHA
from derive.symbolic.closed_set.rectifiers import SELU_SCALE as SELU_SCALE
from derive.symbolic.closed_set.smooth import exp as exp

LARGE = Integer(10) ** 300  # what is not below it is infinite or NaN
LAYER_NORM_EPSILON = Rational("1e-5")


def symbol(name: str) -> sympy.Symbol:
    """The symbol that stands for one element of the array `name`."""
    return sympy.Symbol(name, real=True)


def size(dim: str | int) -> Expr:
    """The number of elements along a dimension, as a factor in an expression.

    The bars keep dimension names apart from array names: no array can be called "|H|".
    """
    return Integer(dim) if isinstance(dim, int) else sympy.Symbol(f"|{dim}|", positive=True)


def is_size(symbol_: Expr) -> bool:
    return isinstance(symbol_, sympy.Symbol) and symbol_.name.startswith("|")


def number(text: str) -> Expr:
    """The exact rational that decimal text denotes: number("0.1") is 1/10."""
    return Rational(text)


#: {name: record} of every function that is an application in an expression; sqrt is a power.
RULES: Mapping[str, Function] = {
    name: record for name, record in closed_set.TABLE.items() if record.head is not None
}
NAME_OF_HEAD: Mapping[Any, str] = {rule.head: name for name, rule in RULES.items()}

#: Functions along one axis of an array, the last or a named one; lowered to Sums and Maps.
REDUCTIONS: tuple[str, ...] = (
    "sum", "mean", "layer_norm", "max", "min", "norm", "logsumexp", "softmax", "cumsum",
)  # fmt: skip

#: Those that keep the axis.
KEEPING: tuple[str, ...] = ("layer_norm", "softmax", "cumsum")

#: Functions that look at whole arrays: the least and the most arguments.
OVER_AXES: Mapping[str, tuple[int, int]] = {
    **{name: (1, 2) for name in REDUCTIONS},
    "outer": (2, 2), "concat": (2, 100), "split": (2, 2), "diag": (1, 1), "eye": (1, 1),
}  # fmt: skip

#: Every name that means a function in `.cell` text and is no name for an array.
RESERVED: tuple[str, ...] = (
    *(name for name, record in closed_set.TABLE.items() if record.public),
    *REDUCTIONS[:3],
)

#: Every function of `.cell` text. Those that are not reserved are functions where they are called,
#: and may be names of arrays: cells may have an array called `norm`.
PUBLIC_FUNCTIONS: tuple[str, ...] = tuple(dict.fromkeys((*RESERVED, *OVER_AXES)))

#: Functions of one argument, for the options of cells.
ACTIVATIONS: tuple[str, ...] = tuple(
    name for name, record in closed_set.TABLE.items() if record.is_activation
)


def __getattr__(name: str) -> Any:
    """`functions.silu`: the SymPy class of any function of the closed set."""
    if name in RULES:
        return RULES[name].head
    if name in OVER_AXES and name != "split":
        heads = importlib.import_module("derive.symbolic.heads")  # which is made of functions
        return heads.OVER_AXES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_constant(expr: Expr) -> bool:
    """Whether `expr` is a number that SymPy can evaluate: without arrays, and without functions
    of the closed set that SymPy does not know."""
    return bool(expr.is_number) and not expr.atoms(Scalar)


class UnknownNode(Exception):
    """An expression holds a node outside the closed set; the caller names the equation."""


def partial(expr: Expr, by: sympy.Symbol, out: Expr | None = None) -> Expr:
    """d expr / d by, elementwise.

    Where `expr` is one function application whose derivative can be said in terms of its
    value, and `out` is the symbol of the array that holds that value, the result refers to
    `out`: sigmoid'(u) is out * (1 - out).
    """
    if expr == by:
        return ONE
    if not expr.has(by):
        return ZERO
    if expr.is_Add:
        return cast(Expr, sympy.Add(*(partial(term, by) for term in expr.args)))
    if expr.is_Mul:
        terms = []
        for k, factor in enumerate(expr.args):
            slope = partial(factor, by)
            if slope != 0:
                terms.append(sympy.Mul(*expr.args[:k], slope, *expr.args[k + 1 :]))
        return cast(Expr, sympy.Add(*terms))
    if isinstance(expr, Pow):
        return _partial_of_power(expr, by, out)
    if isinstance(expr, where):
        # The branch is chosen after its derivative is taken, so a NaN of the other is dropped.
        condition, chosen, other = cast(tuple[Expr, Expr, Expr], expr.args)
        slopes = partial(chosen, by), partial(other, by)
        return pick(condition, *slopes) if slopes != (ZERO, ZERO) else ZERO
    if isinstance(expr, gated):
        return _partial_of_gated(expr, by)
    rule = rule_of(expr)
    value = expr if out is None else out
    total: Expr = ZERO
    for argument, slope_of in zip(expr.args, rule.partials, strict=True):
        inner = partial(cast(Expr, argument), by)
        if inner != 0:
            total += slope_of(*expr.args, value) * inner
    return total


def _partial_of_gated(expr: Expr, by: sympy.Symbol) -> Expr:
    """As of d * p, without the NaN that p or its derivative may be where d is 0."""
    d, p = cast(tuple[Expr, Expr], expr.args)
    d_inner, p_inner = partial(d, by), partial(p, by)
    total: Expr = ZERO
    if d_inner != 0:
        finite = pick(less(absolute(p), LARGE), p, ZERO)
        total += pick(equal(d, ZERO), finite, p) * d_inner
    if p_inner != 0:
        total += gated(d, p_inner)
    return total


def _partial_of_power(expr: Pow, by: sympy.Symbol, out: Expr | None) -> Expr:
    base, exponent = cast(tuple[Expr, Expr], expr.args)
    if exponent.has(by):
        raise UnknownNode(f"{expr}: an exponent must be constant")
    inner = partial(base, by)
    if out is not None and exponent == HALF:
        return inner / (2 * out)
    return exponent * base ** (exponent - 1) * inner


def rule_of(expr: Expr) -> Function:
    """The rule of a function application; UnknownNode for anything outside the closed set."""
    name = NAME_OF_HEAD.get(expr.func)
    if name is None:
        raise UnknownNode(f"{type(expr).__name__}: {expr}")
    return RULES[name]
