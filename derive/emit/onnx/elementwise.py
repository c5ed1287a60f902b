"""A SymPy expression of arrays as ONNX nodes.

In: an expression over the closed set of functions, and what each array is called.  Out: the name
of its value.
Not here: alignment of axes (recurrence.py), the functions' formulas (symbolic/closed_set/).

ONNX Runtime has some operators in float32 only: in float64 those functions are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy

from derive.emit.onnx.nodes import Nodes
from derive.symbolic import functions
from derive.symbolic.closed_set import TABLE
from derive.symbolic.code import value_of
from derive.symbolic.composed import composed
from derive.symbolic.functions import Expr

#: Operators that ONNX Runtime's CPU provider has in float32 alone.
_SINGLE = frozenset({"HardSwish", "Softplus", "Softsign", "Elu", "Selu"})
#: W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969)
#: 631-637: erf(v) = v P(v^2) / Q(v^2) for |v| < 0.46875, and 1 - exp(-v^2) R(|v|) / S(|v|) up to 4;
#: from there to 6, where erf rounds to 1, the latter's fraction counts for less than 2e-8.
_ERF_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_ERF_FAR = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
#: SymPy's own comparisons, which formulas of functions have.
_RELATIONS = {
    sympy.Gt: "Greater", sympy.Ge: "GreaterOrEqual", sympy.Lt: "Less", sympy.Le: "LessOrEqual",
    sympy.Eq: "Equal",
}  # fmt: skip
_COMPARISONS = {"less": "Less", "less_equal": "LessOrEqual", "equal": "Equal"}


def elementwise(
    expr: Expr, nodes: Nodes, name: Callable[[str], str], sizes: Mapping[str, int], doc: str = ""
) -> str:
    """The nodes of `expr`; the last one has the doc."""
    writer = _Writer(nodes, name, sizes)
    found = writer.value(expr)
    if doc and nodes.nodes and nodes.nodes[-1].output[0] == found:
        nodes.nodes[-1].doc_string = doc
    return found


class _Writer:
    def __init__(self, nodes: Nodes, name: Callable[[str], str], sizes: Mapping[str, int]) -> None:
        self.nodes, self.name, self.sizes = nodes, name, sizes
        self.known: dict[Expr, str] = {}

    def value(self, expr: Expr) -> str:
        if expr not in self.known:
            self.known[expr] = self._value(expr)
        return self.known[expr]

    def _value(self, expr: Expr) -> str:
        if functions.is_constant(expr):
            return self.nodes.number(value_of(expr))
        if expr.is_Symbol:
            if functions.is_size(expr):
                return self.nodes.number(float(self.sizes[expr.name.strip("|")]))
            return self.name(expr.name)
        if expr.is_Add:
            return self.sum(expr)
        if expr.is_Mul:
            return self.product(expr)
        if expr.is_Pow and not isinstance(expr, functions.exp):
            base, exponent = expr.args
            return self.power(base, value_of(exponent))
        if type(expr) in _RELATIONS:
            return self.nodes.node(_RELATIONS[type(expr)], *map(self.value, expr.args))
        return self.call(expr)

    def sum(self, expr: Expr) -> str:
        terms = sorted(expr.args, key=lambda term: (_is_negative(term), str(term)))
        total = self.value(terms[0])
        for term in terms[1:]:
            if _is_negative(term):
                total = self.nodes.node("Sub", total, self.value(-term))
            else:
                total = self.nodes.node("Add", total, self.value(term))
        return total

    def product(self, expr: Expr) -> str:
        above, below, coefficient = [], [], 1.0
        for factor in sorted(expr.args, key=str):
            if functions.is_constant(factor):
                coefficient *= value_of(factor)
            elif (
                factor.is_Pow
                and functions.is_constant(factor.args[1])
                and (exponent := value_of(factor.args[1])) < 0
            ):
                below.append(self.power(factor.args[0], -exponent))
            else:
                above.append(self.value(factor))
        total = above[0] if above else self.nodes.number(1.0)
        for factor_name in above[1:]:
            total = self.nodes.node("Mul", total, factor_name)
        for factor_name in below:
            total = self.nodes.node("Div", total, factor_name)
        if coefficient == -1:
            return self.nodes.node("Neg", total)
        if coefficient == 1:
            return total
        return self.nodes.node("Mul", total, self.nodes.number(coefficient))

    def power(self, base: Expr, exponent: float) -> str:
        if exponent < 0:
            return self.nodes.node("Div", self.nodes.number(1.0), self.power(base, -exponent))
        value = self.value(base)
        if exponent in (1, 2):
            return value if exponent == 1 else self.nodes.node("Mul", value, value)
        if exponent == 0.5:
            return self.nodes.node("Sqrt", value)
        return self.nodes.node("Pow", value, self.nodes.number(exponent))

    def call(self, expr: Expr) -> str:
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        if name == "stop_gradient":
            return self.value(expr.args[0])
        if name in _COMPARISONS:
            return self.nodes.node(_COMPARISONS[name], *map(self.value, expr.args))
        if name == "not_equal":
            return self.nodes.node("Not", self.nodes.node("Equal", *map(self.value, expr.args)))
        if name == "log1p":
            return self.log1p(self.value(expr.args[0]))
        if name == "expm1":
            return self.expm1(self.value(expr.args[0]))
        if name == "relu" and self.nodes.real.itemsize == 8:
            # ONNX Runtime cannot load a Relu that a Clip in float64 follows (its ReluClipFusion).
            return self.nodes.node("Max", self.value(expr.args[0]), self.nodes.number(0.0))
        if name == "erf" and self.nodes.real.itemsize == 8:
            return self.erf(self.value(expr.args[0]))
        operator = TABLE[name].onnx
        single = self.nodes.real.itemsize == 4
        # Attributes are float32 numbers: 0.01 is another one in float64.
        if operator and (single or not (operator[1] or operator[0] in _SINGLE)):
            attributes: dict[str, Any] = dict(operator[1])
            return self.nodes.node(operator[0], *map(self.value, expr.args), **attributes)
        return self.value(composed(name, expr.args))

    def log1p(self, v: str) -> str:
        """log(u) v / (u - 1) with u = 1 + v; v where u is 1 (Higham 2002, section 1.14.1)."""
        one = self.nodes.number(1.0)
        u = self.nodes.node("Add", one, v)
        ratio = self.nodes.node("Div", v, self.nodes.node("Sub", u, one))
        exact = self.nodes.node("Mul", self.nodes.node("Log", u), ratio)
        large = self.nodes.node("Less", self.nodes.number(1e3), v)
        chosen = self.nodes.node("Where", large, self.nodes.node("Log", u), exact)
        return self.nodes.node("Where", self.nodes.node("Equal", u, one), v, chosen)

    def expm1(self, v: str) -> str:
        """2 tanh(v/2) / (1 - tanh(v/2)) for small v, exp(v) - 1 for others."""
        one = self.nodes.number(1.0)
        half = self.nodes.node("Tanh", self.nodes.node("Mul", v, self.nodes.number(0.5)))
        below = self.nodes.node("Sub", one, half)
        small = self.nodes.node("Div", self.nodes.node("Add", half, half), below)
        large = self.nodes.node("Sub", self.nodes.node("Exp", v), one)
        near = self.nodes.node("Less", self.nodes.node("Abs", v), one)
        return self.nodes.node("Where", near, small, large)

    def erf(self, v: str) -> str:
        """For float64, in which ONNX Runtime has no Erf: from numbers that it has."""
        node, number = self.nodes.node, self.nodes.number
        size = node("Min", node("Abs", v), number(6.0))
        square = node("Mul", size, size)
        near = node("Mul", v, self.fraction(square, _ERF_NEAR))
        bell = node("Mul", node("Exp", node("Neg", square)), self.fraction(size, _ERF_FAR))
        far = node("Mul", node("Sign", v), node("Sub", number(1.0), bell))
        return node("Where", node("Less", size, number(0.46875)), near, far)

    def fraction(self, v: str, terms: tuple[Sequence[float], Sequence[float]]) -> str:
        """A quotient of polynomials by Horner's rule, the highest power first."""

        def polynomial(highest: float, *others: float) -> str:
            product = v if highest == 1 else self.nodes.node("Mul", self.nodes.number(highest), v)
            for term in others[:-1]:
                total = self.nodes.node("Add", product, self.nodes.number(term))
                product = self.nodes.node("Mul", total, v)
            return self.nodes.node("Add", product, self.nodes.number(others[-1]))

        above, below = terms
        return self.nodes.node("Div", polynomial(*above), polynomial(*below))


def _is_negative(term: Expr) -> bool:
    if functions.is_constant(term):
        return value_of(term) < 0
    numbers = [f for f in term.args if functions.is_constant(f)] if term.is_Mul else []
    return bool(numbers) and value_of(numbers[0]) < 0
