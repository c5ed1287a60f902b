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

from derive import constants, names, scalar
from derive.declaration import Declaration
from derive.errors import CellError, Place
from derive.expression import (
    Binary,
    Call,
    Compare,
    Name,
    Negative,
    Node,
    Number,
    Transpose,
    names_of,
)
from derive.lower import ARITHMETIC, COMPARISONS
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

_OWN_HEADS: Mapping[str, Any] = {"sum": total, "mean": mean, "layer_norm": layer_norm}


def _apply(function: str, *args: Expr) -> Expr:
    if function == "power":
        return cast(Expr, sympy.Pow(*args))
    head = _OWN_HEADS.get(function) or scalar.RULES[function].head
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


# --- SymPy to expressions -------------------------------------------------------------------

_NOWHERE = Place("<sympy>", 1, 1, "")

_RELATIONS: Mapping[Any, str] = {
    sympy.StrictLessThan: "<",
    sympy.LessThan: "<=",
    sympy.StrictGreaterThan: ">",
    sympy.GreaterThan: ">=",
    sympy.Equality: "==",
    sympy.Unequality: "!=",
    scalar.less: "<",
    scalar.less_equal: "<=",
    scalar.equal: "==",
    scalar.not_equal: "!=",
}

_NAMES: Mapping[Any, str] = {
    **{rule.head: name for name, rule in scalar.RULES.items() if rule.public},
    **{head: name for name, head in _OWN_HEADS.items()},
}


def read(value: Any) -> Node:
    """The expression tree of a SymPy expression, or of a plain number."""
    try:
        expr = sympy.sympify(value, strict=True)
    except sympy.SympifyError:
        raise CellError(
            f"{value!r} is no SymPy expression", hint="x, h = derive.arrays('x h')"
        ) from None
    return _read(expr.xreplace({part: _exact(part) for part in expr.atoms(sympy.Float)}))


def _exact(value: Any) -> Any:
    """The rational that a float was written as: 1/10 for 0.1."""
    short = repr(float(value))
    return sympy.Rational(short if float(short) == value else str(value))


def _read(expr: Any) -> Node:
    if isinstance(expr, sympy.Symbol):
        if not names.is_identifier(expr.name):
            raise CellError(f"the symbol '{expr.name}' is no name of an array")
        return Name(expr.name, _NOWHERE)
    if expr.is_Rational:
        return _number(expr)
    if isinstance(expr, sympy.NumberSymbol):
        return Number(str(sympy.N(expr, constants.DIGITS)), _NOWHERE)
    if expr.is_Add:
        return _chain("+", [_read(term) for term in expr.as_ordered_terms()])
    if expr.is_Mul:
        return _product(expr)
    if isinstance(expr, sympy.Pow):
        return _power(*expr.args)
    if isinstance(expr, sympy.Piecewise):
        return _piecewise(expr.args)
    if isinstance(expr, (sympy.Max, sympy.Min)):
        name = "maximum" if isinstance(expr, sympy.Max) else "minimum"
        args = [_read(arg) for arg in sorted(expr.args, key=sympy.default_sort_key)]
        result = args[0]
        for arg in args[1:]:
            result = Call(name, (result, arg), _NOWHERE)
        return result
    if isinstance(expr, matmul):
        return Binary("@", _read(expr.args[0]), _read(expr.args[1]), _NOWHERE)
    if isinstance(expr, transpose) and isinstance(expr.args[0], sympy.Symbol):
        return Transpose(Name(expr.args[0].name, _NOWHERE), _NOWHERE)
    if isinstance(expr, scalar.where):
        condition, chosen, other = expr.args
        return Call("where", (_condition(condition), _read(chosen), _read(other)), _NOWHERE)
    name = _NAMES.get(getattr(expr, "func", None), "")
    if name:
        return Call(name, tuple(_read(arg) for arg in expr.args), _NOWHERE)
    raise CellError(
        f"'{expr}' is outside the functions of a cell",
        hint="sympy.tanh, exp, log, Abs, Max, Min, Piecewise, ..., and those of derive.scalar",
    )


def _number(value: Any) -> Node:
    if value < 0:
        return Negative(_number(-value), _NOWHERE)
    if value.is_Integer:
        return Number(str(value), _NOWHERE)
    places = _decimal_places(int(value.q))
    if places is not None:
        digits = str(value * 10**places).rjust(places + 1, "0")
        return Number(f"{digits[:-places]}.{digits[-places:]}", _NOWHERE)
    return Binary("/", _number(sympy.Integer(value.p)), _number(sympy.Integer(value.q)), _NOWHERE)


def _decimal_places(denominator: int) -> int | None:
    """How many places a fraction has as a decimal; None if it does not end, or is long."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    places = max(twos, fives)
    return places if denominator == 1 and places <= 300 else None


def _chain(operator: str, nodes: list[Node]) -> Node:
    """a + b + c; a negative term is subtracted."""
    result = _negate_first(nodes[0]) if operator == "+" else nodes[0]
    for node in nodes[1:]:
        if operator == "+" and isinstance(node, Negative):
            result = Binary("-", result, node.operand, _NOWHERE)
        else:
            result = Binary(operator, result, node, _NOWHERE)
    return result


def _negate_first(node: Node) -> Node:
    """-(a * b) as -a * b, which is the same and reads better in front of a sum."""
    if not isinstance(node, Negative) or not isinstance(node.operand, Binary):
        return node
    product = node.operand
    if product.operator not in ("*", "/"):
        return node
    left = _negate_first(Negative(product.left, _NOWHERE))
    return Binary(product.operator, left, product.right, _NOWHERE)


def _product(expr: Any) -> Node:
    coefficient, factors = expr.as_coeff_mul()
    above: list[Node] = []
    below: list[Node] = []
    for factor in sorted(factors, key=sympy.default_sort_key):
        base, exponent = factor.as_base_exp()
        if not isinstance(factor, sympy.exp) and exponent.is_Rational and exponent < 0:
            below.append(_read(base ** (-exponent)))
        else:
            above.append(_read(factor))
    magnitude = abs(coefficient)
    if magnitude != 1 or not above:
        exact = _number(magnitude)
        if isinstance(exact, Binary):
            below.append(exact.right)
            exact = exact.left
        if exact != Number("1", _NOWHERE) or not above:
            above.insert(0, exact)
    result = _chain("*", above)
    for node in below:
        result = Binary("/", result, node, _NOWHERE)
    return Negative(result, _NOWHERE) if coefficient < 0 else result


def _power(base: Any, exponent: Any) -> Node:
    if exponent == scalar.HALF:
        return Call("sqrt", (_read(base),), _NOWHERE)
    if exponent.is_Rational and exponent < 0:
        one = Number("1", _NOWHERE)
        return Binary("/", one, _read(base ** (-exponent)), _NOWHERE)
    if base == sympy.E:
        return Call("exp", (_read(exponent),), _NOWHERE)
    return Binary("**", _read(base), _read(exponent), _NOWHERE)


def _piecewise(branches: tuple[Any, ...]) -> Node:
    value, condition = branches[0]
    if condition == sympy.true:
        return _read(value)
    if len(branches) == 1:
        raise CellError(
            "a Piecewise needs a value for every case",
            facts=(f"beyond {condition} it has none",),
            hint="Piecewise((u, a < b), (v, True))",
        )
    rest = _piecewise(branches[1:])
    return Call("where", (_condition(condition), _read(value), rest), _NOWHERE)


def _condition(condition: Any) -> Node:
    operator = _RELATIONS.get(getattr(condition, "func", None))
    if operator is None:
        raise CellError(
            f"'{condition}' is no single comparison", hint="Piecewise((u, a < b), (v, True))"
        )
    left, right = condition.args
    return Compare(operator, _read(left), _read(right), _NOWHERE)
