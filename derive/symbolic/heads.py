"""What a cell's equations hold besides scalar functions: products, sums over units, arrays.

In: names.  Out: SymPy classes and symbols to write equations with.
Not here: scalar functions (functions.py); trees of the language (language/to_sympy.py).

    x, h, W, U, b = arrays("x h W U b")
    tanh(W @ x + U.T @ h + b)

A plain SymPy symbol does as well; then a product is `matmul(W, x)` and a transposed matrix
`transpose(W)`.
"""

from __future__ import annotations

from typing import Any, cast

import sympy

from derive.symbolic import functions
from derive.symbolic.functions import Expr


class _OverUnits(sympy.Function):  # type: ignore[misc]
    """A real function that looks at a whole array, not at one element."""

    #: Also of a number, as in `cumsum(0)`: SymPy cannot say which one it is.
    is_number = False

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


def _open(name: str, attribute: str) -> Any:
    """A head that takes one argument or more: an axis, or an epsilon, may follow."""
    space = {"__module__": __name__, "__qualname__": attribute, "__new__": _with_axis}
    return type(name, (_OverUnits,), space)


def _with_axis(cls: Any, *args: Any, **options: Any) -> Any:
    """`functions.max(C, "N")`: an axis is a name, or a width such as "4*H"."""
    named = (functions.symbol(f"|{arg}|") if isinstance(arg, str) else arg for arg in args)
    return super(_OverUnits, cls).__new__(cls, *named, **options)


#: Functions of whole arrays by their name in `.cell` text. Behind the arrays come the axis and
#: the epsilon, where they are given.
OVER_AXES: dict[str, Any] = {
    name: _open(name, f"OVER_AXES[{name!r}]")
    for name in (
        "sum", "mean", "layer_norm", "max", "min", "norm", "logsumexp", "softmax", "cumsum",
        "outer", "concat", "diag", "eye", "cut", "part", "cumsum_back", "einsum",
    )
}  # fmt: skip


NAME_OF_OVER_AXES: dict[Any, str] = {head: name for name, head in OVER_AXES.items()}


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
