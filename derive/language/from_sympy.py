"""SymPy expressions -> the expression tree that `.cell` text is parsed to.

In: a SymPy expression over symbols, and the order in which its names should be read.
Out: a `Node`.
Not here: the other way round (to_sympy.py), shapes.

SymPy sorts the terms of a sum and the factors of a product by name. A reader wants
`W_i @ x + U_i @ h + b_i` and `f * c`: gates first, then matrices, in declared order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy

from derive.errors import CellError, Place
from derive.language import constants, names
from derive.language.to_sympy import OWN_HEADS
from derive.language.tree import Binary, Call, Compare, Name, Negative, Node, Number, Transpose
from derive.symbolic import functions
from derive.symbolic.heads import NAME_OF_OVER_AXES, matmul, transpose

_NOWHERE = Place("<sympy>", 1, 1, "")

_RELATIONS: Mapping[Any, str] = {
    sympy.StrictLessThan: "<",
    sympy.LessThan: "<=",
    sympy.StrictGreaterThan: ">",
    sympy.GreaterThan: ">=",
    sympy.Equality: "==",
    sympy.Unequality: "!=",
    functions.less: "<",
    functions.less_equal: "<=",
    functions.equal: "==",
    functions.not_equal: "!=",
}

_NAMES: Mapping[Any, str] = {
    **{rule.head: name for name, rule in functions.RULES.items() if rule.public},
    **{head: name for name, head in OWN_HEADS.items()},
}


def read(value: Any, order: Sequence[str] = ()) -> Node:
    """The expression tree of a SymPy expression, or of a plain number.

    order: names in the order in which a reader expects them in sums and products.
    """
    try:
        expr = sympy.sympify(value, strict=True)
    except sympy.SympifyError:
        raise CellError(
            f"{value!r} is no SymPy expression", hint="x, h = derive.arrays('x h')"
        ) from None
    return _Reader(order).read(
        expr.xreplace({part: _exact(part) for part in expr.atoms(sympy.Float)})
    )


class _Reader:
    """Walks an expression; `order` ranks the names."""

    def __init__(self, order: Sequence[str]) -> None:
        self.order = {name: k for k, name in enumerate(order)}

    def rank(self, expr: Any) -> tuple[int, Any]:
        """The first place that one of the expression's names has in the order."""
        names = [symbol.name for symbol in expr.free_symbols]
        last = len(self.order)
        place = min((self.order.get(name, last) for name in names), default=last + 1)
        return place, sympy.default_sort_key(expr)

    def term_key(self, term: Any) -> tuple[bool, tuple[int, Any]]:
        """Positive terms first: 1 - f, not -f + 1."""
        return bool(term.could_extract_minus_sign()), self.rank(term)

    def factor_key(self, factor: Any) -> tuple[bool, tuple[int, Any]]:
        """Functions last: o * tanh(c)."""
        return not (factor.is_Symbol or factor.is_Add), self.rank(factor)

    def read(self, expr: Any) -> Node:
        if isinstance(expr, sympy.Symbol):
            if not names.is_identifier(expr.name):
                raise CellError(f"the symbol '{expr.name}' is no name of an array")
            return Name(expr.name, _NOWHERE)
        if expr.is_Rational:
            return _number(expr)
        if isinstance(expr, sympy.NumberSymbol):
            return Number(str(sympy.N(expr, constants.DIGITS)), _NOWHERE)
        if expr.is_Add:
            return _chain("+", [self.read(term) for term in sorted(expr.args, key=self.term_key)])
        if expr.is_Mul:
            return self.product(expr)
        if isinstance(expr, sympy.Pow):
            return self.power(*expr.args)
        if isinstance(expr, sympy.Piecewise):
            return self.piecewise(expr.args)
        if isinstance(expr, (sympy.Max, sympy.Min)):
            name = "maximum" if isinstance(expr, sympy.Max) else "minimum"
            args = [self.read(arg) for arg in sorted(expr.args, key=sympy.default_sort_key)]
            result = args[0]
            for arg in args[1:]:
                result = Call(name, (result, arg), _NOWHERE)
            return result
        if isinstance(expr, matmul):
            return Binary("@", self.read(expr.args[0]), self.read(expr.args[1]), _NOWHERE)
        if isinstance(expr, transpose):
            return Transpose(self.read(expr.args[0]), _NOWHERE)
        if getattr(expr, "func", None) in NAME_OF_OVER_AXES:
            return self.over_axes(NAME_OF_OVER_AXES[expr.func], expr.args)
        if isinstance(expr, functions.where):
            condition, chosen, other = expr.args
            return Call(
                "where", (self.condition(condition), self.read(chosen), self.read(other)), _NOWHERE
            )
        name = _NAMES.get(getattr(expr, "func", None), "")
        if name:
            return Call(name, tuple(self.read(arg) for arg in expr.args), _NOWHERE)
        raise CellError(
            f"'{expr}' is outside the functions of a cell",
            hint="sympy.tanh, exp, log, Abs, Max, Min, Piecewise, ...; those of derive.functions",
        )

    def over_axes(self, function: str, args: Sequence[Any]) -> Node:
        """A function of whole arrays; behind them an axis, and the epsilon of layer_norm."""
        if function not in functions.OVER_AXES:
            raise CellError(f"'{function}' is no function of a cell's text")
        widths = [_dim(arg) for arg in args if functions.is_size(arg)]
        rest = [arg for arg in args if not functions.is_size(arg)]
        eps = rest.pop() if function == "layer_norm" and len(rest) > 1 else None
        return Call(
            function,
            tuple(self.read(arg) for arg in rest),
            _NOWHERE,
            axis=widths[0] if widths else None,
            eps=None if eps is None else self.read(eps),
        )

    def product(self, expr: Any) -> Node:
        coefficient, factors = expr.as_coeff_mul()
        above: list[Node] = []
        below: list[Node] = []
        for factor in sorted(factors, key=self.factor_key):
            base, exponent = factor.as_base_exp()
            if not isinstance(factor, sympy.exp) and _divides(exponent):
                below.append(self.read(base ** (-exponent)))
            else:
                above.append(self.read(factor))
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

    def power(self, base: Any, exponent: Any) -> Node:
        if exponent == functions.HALF:
            return Call("sqrt", (self.read(base),), _NOWHERE)
        if _divides(exponent):
            one = Number("1", _NOWHERE)
            return Binary("/", one, self.read(base ** (-exponent)), _NOWHERE)
        if base == sympy.E:
            return Call("exp", (self.read(exponent),), _NOWHERE)
        return Binary("**", self.read(base), self.read(exponent), _NOWHERE)

    def piecewise(self, branches: tuple[Any, ...]) -> Node:
        value, condition = branches[0]
        if condition == sympy.true:
            return self.read(value)
        if len(branches) == 1:
            raise CellError(
                "a Piecewise needs a value for every case",
                facts=(f"beyond {condition} it has none",),
                hint="Piecewise((u, a < b), (v, True))",
            )
        rest = self.piecewise(branches[1:])
        return Call("where", (self.condition(condition), self.read(value), rest), _NOWHERE)

    def condition(self, condition: Any) -> Node:
        operator = _RELATIONS.get(getattr(condition, "func", None))
        if operator is None:
            raise CellError(
                f"'{condition}' is no single comparison", hint="Piecewise((u, a < b), (v, True))"
            )
        left, right = condition.args
        return Compare(operator, self.read(left), self.read(right), _NOWHERE)


def _divides(exponent: Any) -> bool:
    """Whether a power is written as a quotient. One such as v**-2.5 is not: the derivative of
    1 / v**2.5 has v**5, which overflows long before v**-3.5 vanishes."""
    whole = bool(exponent.is_Integer or exponent == -functions.HALF)
    return whole and bool(exponent < 0)


def _dim(symbol: Any) -> str | int:
    text = symbol.name.strip("|")
    return int(text) if text.isdigit() else text


def _exact(value: Any) -> Any:
    """The rational that a float was written as: 1/10 for 0.1."""
    short = repr(float(value))
    return sympy.Rational(short if float(short) == value else str(value))


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
