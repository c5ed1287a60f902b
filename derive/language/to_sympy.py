"""Expression trees of the language to SymPy.

In: expression trees.  Out: SymPy expressions in the author's names.
Not here: the way back (from_sympy.py), the expressions of a Program, which are flat (lower.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import sympy

from derive.language import constants
from derive.language.declaration import Declaration
from derive.language.lower import ARITHMETIC, COMPARISONS
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Cut,
    Name,
    Negative,
    Node,
    Part,
    Transpose,
    names_of,
)
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.heads import OVER_AXES, layer_norm, matmul, mean, total, transpose

_PLAIN = functions.RESERVED


def _bound(text: str) -> Expr:
    """A bound of a cut: no array, and so between bars, as sizes are."""
    return cast(Expr, functions.symbol(f"|{text}|"))


OWN_HEADS: Mapping[str, Any] = {"sum": total, "mean": mean, "layer_norm": layer_norm}


def _apply(function: str, *args: Expr) -> Expr:
    if function == "power":
        return cast(Expr, sympy.Pow(*args))
    head = OWN_HEADS.get(function) or functions.RULES[function].head
    return cast(Expr, head(*args))


def _apply_opaquely(function: str, *args: Expr) -> Expr:
    return cast(Expr, sympy.Function(f"{function}_of", real=True)(*args))


def equations(declaration: Declaration) -> tuple[sympy.Eq, ...]:
    """The definitions as SymPy equations, in the author's names; constants are symbols."""
    return tuple(
        sympy.Eq(functions.symbol(d.target), _Build(_apply).expr(d.expr), evaluate=False)
        for d in declaration.definitions
    )


def canonical(declaration: Declaration) -> tuple[tuple[str, Expr], ...]:
    """What two equal cells have in common. Functions are opaque, so that SymPy orders terms
    and collects numbers but never turns exp(log(v)) into v: those compute differently."""
    build = _Build(_apply_opaquely)
    return tuple((d.target, build.expr(d.expr)) for d in declaration.definitions)


class _Build:
    def __init__(self, apply: Callable[..., Expr]) -> None:
        self.apply = apply

    def expr(self, node: Node) -> Expr:
        if not isinstance(node, Name) and not any(True for _ in names_of(node)):
            with suppress(constants.NotConstant):  # eye(H) holds no names either
                return constants.evaluate(node, {})
        if isinstance(node, Name):
            return functions.symbol(node.name)
        if isinstance(node, Transpose):
            return cast(Expr, transpose(self.expr(node.matrix)))
        if isinstance(node, Cut):
            bounds = [_bound(str(bound or 0)) for bound in (node.start, node.stop or "end")]
            return cast(Expr, OVER_AXES["cut"](self.expr(node.array), *bounds))
        if isinstance(node, Part):
            numbers = map(sympy.Integer, (node.index, node.count))
            return cast(Expr, OVER_AXES["part"](self.expr(node.array), *numbers))
        if isinstance(node, Negative):
            return -self.expr(node.operand)
        if isinstance(node, Binary):
            return self.binary(node)
        assert isinstance(node, Call)
        if node.function == "where":
            return self.where(node)
        args = [self.expr(arg) for arg in node.args]
        if node.axis is not None or node.eps is not None or node.function not in _PLAIN:
            args += [] if node.axis is None else [functions.symbol(f"|{node.axis}|")]
            args += [] if node.eps is None else [self.expr(node.eps)]
            return cast(Expr, OVER_AXES[node.function](*args))
        if node.function == "sqrt":
            return self.apply("power", args[0], functions.HALF)
        return self.apply(node.function, *args)

    def binary(self, node: Binary) -> Expr:
        left, right = self.expr(node.left), self.expr(node.right)
        if node.operator == "@":
            return cast(Expr, matmul(left, right))
        if node.operator == "**":
            if right.is_Rational and not right.is_Integer:
                root = self.apply("power", left, abs(right))
                return root if right > 0 else 1 / root
            if right.is_Integer:
                constants.check_power(left, right, node.place)
            return cast(Expr, left**right)
        return cast(Expr, ARITHMETIC[node.operator](left, right))

    def where(self, node: Call) -> Expr:
        condition, chosen, other = node.args
        assert isinstance(condition, Compare)
        head, swap = COMPARISONS[condition.operator]
        left, right = self.expr(condition.left), self.expr(condition.right)
        test = head(right, left) if swap else head(left, right)
        return self.apply("where", test, self.expr(chosen), self.expr(other))
