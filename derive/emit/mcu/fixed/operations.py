"""A step with known parameters -> equations of one operation each.

In: a Step, its parameters, lengths of dimensions.  Out: `Known`: a Step, and its parameters.
Not here: scales (scales.py), order (order.py).

Integers have a scale after each operation, so each has a name. A right-hand side is

| form                     | example                       |
| ------------------------ | ----------------------------- |
| a sum of products of two | c * f + g * i - 2 * b + 1/2   |
| a function of one array  | tanh(a)                       |
| a choice                 | where(a < b, u, v)            |
| a quotient               | u / v                         |

What depends on parameters alone is computed beforehand and becomes a parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sympy

from derive.emit.mcu.known import Known, known
from derive.kernel.signature import Array as Values
from derive.program import Array, Map, Namer, Program, Step
from derive.program.program import Equation, Places, names_in
from derive.symbolic import functions
from derive.symbolic.functions import Expr

_COMPARISONS = ("less", "less_equal", "equal", "not_equal")
_CHOICES = ("maximum", "minimum", "clip", "where")


def single(step: Step, params: Mapping[str, Values], sizes: Mapping[str, int]) -> Known:
    """params: {name: array} of the step's parts; sizes: of all dimensions."""
    return known(step, _Splitter(step.program, sizes).program(), params, sizes)


class _Splitter:
    def __init__(self, program: Program, sizes: Mapping[str, int]) -> None:
        self.source = program
        self.sizes = {functions.size(dim): sympy.Integer(n) for dim, n in sizes.items()}
        self.arrays = list(program.arrays)
        self.table = program.table()
        self.namer = Namer(self.table)
        self.equations: list[Equation] = []

    def program(self) -> Program:
        for equation in self.source.equations:
            if isinstance(equation, Map):
                self._split(equation)
            else:
                self.equations.append(equation)
        return replace(self.source, arrays=tuple(self.arrays), equations=tuple(self.equations))

    def _split(self, equation: Map) -> None:
        self.now = equation
        self.known: dict[Expr, Expr] = {}
        self.of_parts: set[str] = set()
        expr = self._single(equation.expr.xreplace(self.sizes))
        self._add(equation.out, expr)

    def _add(self, out: str, expr: Expr) -> None:
        places: Places = tuple(
            (name, place) for name, place in self.now.places if name in names_in(expr)
        )
        self.equations.append(Map(out, expr, places))

    # --- expressions ----------------------------------------------------------------------------

    def _atom(self, expr: Expr) -> Expr:
        """A symbol, of a new array where it is no array; a number as it is."""
        if expr.is_Symbol or not expr.free_symbols:
            return expr
        if expr not in self.known:
            name = self.namer(f"{self.now.out}_part")
            made = self._single(expr)
            per_row = any(self.table[n].per_row for n in names_in(made))
            array = Array(name, self.table[self.now.out].shape, per_row)
            self.arrays.append(array)
            self.table[name] = array
            self._add(name, made)
            self.known[expr] = functions.symbol(name)
        return self.known[expr]

    def _single(self, expr: Expr) -> Expr:
        """The same with new arrays for all but the last operation."""
        if expr.is_Symbol or not expr.free_symbols:
            return expr
        if expr.is_Add or expr.is_Mul:
            return self._sum(expr)
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            return self._power(expr)
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        if name == "stop_gradient":
            return self._single(expr.args[0])
        if name == "clip":
            value, low, high = expr.args
            inner = self._atom(functions.maximum(self._atom(value), low))
            return functions.minimum(inner, high)
        if name == "where":
            condition, chosen, other = expr.args
            of = functions.NAME_OF_HEAD[functions.rule_of(condition).head]
            head = functions.RULES[of].head
            test = head(*map(self._atom, condition.args))
            return functions.where(test, self._atom(chosen), self._atom(other))
        return expr.func(*map(self._atom, expr.args))

    def _sum(self, expr: Expr) -> Expr:
        terms = [self._term(term) for term in sympy.Add.make_args(expr)]
        if len(terms) == 1:
            return terms[0]
        kept = [self._atom(term) if _divides(term) else term for term in terms]
        return sympy.Add(*kept)

    def _term(self, term: Expr) -> Expr:
        """A number, times one array; a product of two; or a quotient."""
        number, rest = term.as_coeff_Mul()
        if not rest.free_symbols:
            return term
        above, below = [], []
        for factor in sympy.Mul.make_args(rest):
            if isinstance(factor, sympy.Pow) and factor.exp.is_number and factor.exp < 0:
                below.append(factor.base**-factor.exp)
            elif not factor.free_symbols:
                number = number * factor
            else:
                above.append(factor)
        if below:
            bottom = self._product(below)
            top = self._product(above) if above else functions.ONE
            quotient = self._atom(top) / self._atom(bottom)
            return quotient if number == 1 else number * self._atom(quotient)
        if len(above) == 1:
            return number * self._atom(above[0])
        product = self._product(above)
        if number in (1, -1):
            return number * product
        return number * self._atom(product)

    def _product(self, factors: list[Expr]) -> Expr:
        """All but the last two factors multiplied in arrays of their own."""
        atoms: list[Expr] = []
        for factor in factors:
            if isinstance(factor, sympy.Pow) and factor.exp.is_Integer and factor.exp > 1:
                atoms += [self._atom(factor.base)] * int(factor.exp)
            else:
                atoms.append(self._atom(factor))
        total = atoms[0]
        for atom in atoms[1:]:
            total = self._atom(total) * atom
        return total

    def _power(self, expr: Expr) -> Expr:
        base, exponent = expr.args
        if exponent.is_number and exponent < 0:
            return functions.ONE / self._atom(base ** (-exponent))
        if exponent.is_Integer:
            return self._product([expr])
        return sympy.Pow(self._atom(base), exponent)


def _divides(expr: Expr) -> bool:
    return any(
        isinstance(part, sympy.Pow) and part.exp.is_number and part.exp < 0
        for part in sympy.Mul.make_args(expr)
    )
