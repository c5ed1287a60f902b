"""SymPy's side of a cell: symbols to write equations with, and expressions <-> SymPy.

In: expression trees.  Out: SymPy expressions in the author's names; and back.
Not here: the expressions of a Program, which are flat (lower.py).

    x, h, W, U, b = arrays("x h W U b")
    tanh(W @ x + U.T @ h + b)

A plain SymPy symbol does as well; then a product is `matmul(W, x)` and a transposed matrix
`transpose(W)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import sympy

from derive import scalar
from derive.language import constants
from derive.language.declaration import Declaration
from derive.language.expression import (
    Binary,
    Call,
    Compare,
    Name,
    Negative,
    Node,
    Transpose,
    names_of,
)
from derive.language.lower import ARITHMETIC, COMPARISONS
from derive.scalar import Expr


class _OverUnits(sympy.Function):  # type: ignore[misc]
    """A real function that looks at a whole array, not at one element."""

    def _eval_is_extended_real(self) -> bool:
        return True


def _declare(name: str, arity: int, attribute: str) -> Any:
    space = {"nargs": arity, "__module__": __name__, "__qualname__": attribute}
    return type(name, (_OverUnits,), space)


class matmul(_OverUnits):
    """matmul(W, v): the product of a matrix and a vector, never multiplied out."""

    nargs = 2


class transpose(_OverUnits):
    """transpose(W): the transposed matrix, for the left of a product."""

    nargs = 1

    def __matmul__(self, vector: Any) -> Expr:
        return cast(Expr, matmul(self, vector))


total = _declare("sum", 1, "total")
mean = _declare("mean", 1, "mean")
layer_norm = _declare("layer_norm", 1, "layer_norm")


class ArraySymbol(sympy.Symbol):  # type: ignore[misc]
    """A symbol that knows `W @ v` and `W.T`."""

    __slots__ = ()

    def __new__(cls, name: str) -> ArraySymbol:
        return cast(ArraySymbol, super().__new__(cls, name, real=True))

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        return ((self.name,), {})

    def __matmul__(self, vector: Any) -> Expr:
        return cast(Expr, matmul(self, vector))

    @property
    def T(self) -> Any:
        return transpose(self)


def arrays(text: str) -> tuple[ArraySymbol, ...]:
    """Symbols for the arrays of a cell: `x, h, h_next, W = arrays("x h h_next W")`."""
    return tuple(ArraySymbol(name) for name in text.replace(",", " ").split())


# --- expressions to SymPy -------------------------------------------------------------------

OWN_HEADS: Mapping[str, Any] = {"sum": total, "mean": mean, "layer_norm": layer_norm}


def _apply(function: str, *args: Expr) -> Expr:
    if function == "power":
        return cast(Expr, sympy.Pow(*args))
    head = OWN_HEADS.get(function) or scalar.RULES[function].head
    return cast(Expr, head(*args))


def _apply_opaquely(function: str, *args: Expr) -> Expr:
    return cast(Expr, sympy.Function(f"{function}_of", real=True)(*args))


def equations(declaration: Declaration) -> tuple[sympy.Eq, ...]:
    """The definitions as SymPy equations, in the author's names; constants are symbols."""
    return tuple(
        sympy.Eq(scalar.symbol(d.target), _Build(_apply).expr(d.expr), evaluate=False)
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
            return constants.evaluate(node, {})
        if isinstance(node, Name):
            return scalar.symbol(node.name)
        if isinstance(node, Transpose):
            return cast(Expr, transpose(scalar.symbol(node.matrix.name)))
        if isinstance(node, Negative):
            return -self.expr(node.operand)
        if isinstance(node, Binary):
            return self.binary(node)
        assert isinstance(node, Call)
        if node.function == "where":
            return self.where(node)
        args = [self.expr(arg) for arg in node.args]
        if node.function == "sqrt":
            return self.apply("power", args[0], scalar.HALF)
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
