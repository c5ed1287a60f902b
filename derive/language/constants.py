"""Exact, bounded arithmetic on the constants of a cell.

In: expressions without arrays.  Out: rationals.
Not here: expressions over arrays (lower.py, to_sympy.py).

A text is data from anywhere, so no constant may take long: a value has to fit a double, and
one that is irrational, or whose fraction grows too long, is kept to 40 digits.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import mpmath
import sympy

from derive.errors import CellError, Place
from derive.language.parse_expression import usage
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Name,
    Negative,
    Node,
    Number,
    names_of,
    to_text,
)
from derive.symbolic import functions
from derive.symbolic.evaluate import MPMATH

DIGITS = 40
MAX_BITS = 4096
MAX_EXPONENT = 1000

_LARGEST = sympy.Integer(int(sys.float_info.max))
_SMALLEST = sympy.Rational(1, 2**1074)
_MAX_TENS = 400


class NotConstant(Exception):
    """An array stands where only constants may; carries the node."""

    def __init__(self, name: Name) -> None:
        super().__init__(name.name)
        self.name = name


def evaluate(node: Node, consts: Mapping[str, functions.Expr]) -> functions.Expr:
    """The rational that `node` denotes. NotConstant if it holds a name outside `consts`."""
    if isinstance(node, Number):
        return number(node)
    if isinstance(node, Name):
        if node.name not in consts:
            raise NotConstant(node)
        return consts[node.name]
    if isinstance(node, Negative):
        return -evaluate(node.operand, consts)
    if isinstance(node, Binary) and node.operator in _ARITHMETIC:
        left, right = evaluate(node.left, consts), evaluate(node.right, consts)
        return bounded(_ARITHMETIC[node.operator](left, right, node.place), node.place)
    if isinstance(node, Call) and node.function == "where":
        condition, chosen, other = node.args
        assert isinstance(condition, Compare)
        for name in names_of(node):  # an array in the branch that is not chosen is one as well
            if name.name not in consts:
                raise NotConstant(name)
        sides = evaluate(condition.left, consts), evaluate(condition.right, consts)
        return evaluate(chosen if COMPARE[condition.operator](*sides) else other, consts)
    if isinstance(node, Call) and node.function in functions.REDUCTIONS:
        value = evaluate(node.args[0], consts)
        known = {"layer_norm": functions.ZERO, "softmax": functions.ONE, "norm": abs(value)}
        return known.get(node.function, value)
    if isinstance(node, Call) and node.function in functions.OVER_AXES:
        raise NotConstant(Name(node.function, node.place))
    if isinstance(node, Call):
        args = [evaluate(arg, consts) for arg in node.args]
        if node.function == "clip" and args[1] > args[2]:
            raise upside_down(node, args[1], args[2])
        return apply(node.function, args, node.place)
    for name in names_of(node):
        if name.name not in consts:
            raise NotConstant(name)
    if not isinstance(node, Binary):  # a part of something that has axes
        raise NotConstant(Name(to_text(node), node.place))
    raise CellError(f"'{to_text(node)}' multiplies numbers with @", place=node.place, hint="a * b")


COMPARE: Mapping[str, Any] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
}


def number(node: Number) -> functions.Expr:
    mantissa, _, exponent = node.text.lower().partition("e")
    if len(exponent) > 5 or abs(int(exponent or "0")) > _MAX_TENS:
        if not mantissa.strip("0."):
            return functions.ZERO
        raise _beyond(node.text, node.place)
    return bounded(functions.number(node.text), node.place, node.text)


def bounded(value: functions.Expr, place: Place, shown: str | None = None) -> functions.Expr:
    """`value`, if a double can hold it; shortened if its fraction is very long."""
    magnitude = abs(value)
    if magnitude > _LARGEST or 0 < magnitude < _SMALLEST:
        raise _beyond(shown or _short(value), place)
    return _shorten(value) if bits(value) > MAX_BITS else value


def bits(value: functions.Expr) -> int:
    """How long the fraction of a rational is."""
    return int(value.p).bit_length() + int(value.q).bit_length()


def apply(function: str, args: list[functions.Expr], place: Place) -> functions.Expr:
    """An elementwise function of numbers."""
    shown = f"{function}({', '.join(map(_short, args))})"
    if function == "sqrt" and args[0] >= 0:
        return bounded(power(args[0], functions.HALF, place), place)
    with mpmath.workdps(DIGITS + 20):
        value = _FUNCTIONS[function](*map(MPMATH.number, args))
        if not isinstance(value, mpmath.mpf) or not mpmath.isfinite(value):
            raise CellError(f"{shown} is no real number", place=place)
        return bounded(_rational(value), place)


_FUNCTIONS: Mapping[str, Any] = {**MPMATH.functions, "sqrt": mpmath.sqrt}


def check_line(expr: functions.Expr, place: Place) -> None:
    """One line of a Program holds only numbers that fit a double, after multiplying out."""
    strange = expr.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I)
    assert not strange, f"{expr}: divisions and roots are checked where they are made"
    for value in sorted(expr.atoms(sympy.Rational), key=sympy.default_sort_key):
        bounded(value, place)


def check_power(base: functions.Expr, exponent: functions.Expr, place: Place) -> None:
    """Refuses ((9 * v)**1000)**1000 before SymPy multiplies it out."""
    if base == 0 and exponent < 0:
        raise CellError("this divides by zero", place=place)
    size = sum(bits(value) for value in base.atoms(sympy.Rational) if abs(value) != 1)
    if abs(exponent) > 1 and size * abs(exponent) > 4 * MAX_BITS:
        raise CellError("this multiplies out to a very large number", place=place)


def upside_down(node: Call, low: functions.Expr, high: functions.Expr) -> CellError:
    return CellError(
        "the lower bound of 'clip' lies above the upper one",
        place=node.args[1].place,
        facts=(f"the bounds are {_short(low)} and {_short(high)}",),
        hint=usage("clip"),
    )


def _divide(a: functions.Expr, b: functions.Expr, place: Place) -> functions.Expr:
    if b == 0:
        raise CellError("this divides by zero", place=place)
    return a / b


def power(base: functions.Expr, exponent: functions.Expr, place: Place) -> functions.Expr:
    if base == 0 and exponent < 0:
        raise CellError("this divides by zero", place=place)
    if exponent.is_Integer:
        if bits(base) * abs(int(exponent)) <= MAX_BITS:
            return base**exponent
    elif base < 0:
        shown = f"({_short(base)})**{_short(exponent)}"
        raise CellError(f"{shown} is no real number", place=place)
    elif bits(base) < 64 and bits(exponent) < 16:
        exact = base**exponent
        if exact.is_Rational:
            return exact
    with mpmath.workdps(DIGITS + 20):
        value = mpmath.power(MPMATH.number(base), MPMATH.number(exponent))
        if value and abs(mpmath.log10(abs(value))) > _MAX_TENS:
            raise _beyond(f"{_short(base)}**{_short(exponent)}", place)
        return _rational(value)


_ARITHMETIC: Mapping[str, Any] = {
    "+": lambda a, b, place: a + b,
    "-": lambda a, b, place: a - b,
    "*": lambda a, b, place: a * b,
    "/": _divide,
    "**": power,
}


def _rational(value: Any) -> functions.Expr:
    if value and abs(mpmath.log10(abs(value))) > _MAX_TENS:
        # Out of range by far: any number out of range will do for the error that follows.
        return _LARGEST * 10 if abs(value) > 1 else _SMALLEST / 10
    return functions.number(mpmath.nstr(value, DIGITS))


def _shorten(value: functions.Expr) -> functions.Expr:
    with mpmath.workdps(DIGITS + 20):
        return _rational(MPMATH.number(value))


def _beyond(shown: str, place: Place) -> CellError:
    return CellError(f"{shown} is beyond what a double holds", place=place)


def _short(value: functions.Expr) -> str:
    """A rational for a message, in at most a dozen characters."""
    if value.is_Integer and abs(value) < 10**9:
        return str(value)
    with mpmath.workdps(15):
        return str(mpmath.nstr(MPMATH.number(value), 6))
