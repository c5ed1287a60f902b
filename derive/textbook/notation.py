"""SymPy expression -> one line that a person reads, in any notation; and as text.

In: an expression of a cell, of a Program or of a Gradient, and an order of names.
Out: text with no more parentheses than precedence asks for.
Not here: the walk over an expression (symbolic/printer.py), LaTeX and MathML (inspect/), lines that
go on (inspect/text/line_breaking.py), lines of generated code (symbolic/code.py).

Text is written as an author of `.cell` files writes it. SymPy sorts terms and factors
alphabetically; `Order` puts them back: as in the author's own line, else by rank of names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy

from derive.program import formulas
from derive.symbolic import functions, heads
from derive.symbolic.functions import Expr
from derive.symbolic.printer import ATOM as ATOM
from derive.symbolic.printer import (
    COMPARISON,
    TERM,
    Printer,
    arguments,
    is_power,
)
from derive.symbolic.printer import POWER as POWER
from derive.symbolic.printer import PRODUCT as PRODUCT
from derive.symbolic.printer import SUM as SUM
from derive.symbolic.printer import Written as Written


@dataclass(frozen=True, slots=True)
class Order:
    """Name -> its place in reading order; names that are not in it come last, alphabetically.

    names_first: a factor that is a name stands before a call, and a call before a sum.
    products: places that count in a term that multiplies by a matrix and holds one of these
    names; such terms stand behind the others.
    """

    places: Mapping[str, int]
    names_first: bool = False
    products: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notation:
    """How one format writes names, numbers and the operations that differ between formats."""

    name: Callable[[str], str]
    size: Callable[[str], str]
    number: Callable[[Expr], Written]
    times: Callable[[Sequence[str]], str]
    over: Callable[[str, str], Written]
    bare_quotient: bool  # whether the parts of a quotient need no parentheses
    power: Callable[[str, str], Written]
    root: Callable[[str], str]
    function: Callable[[str, Sequence[str]], str]
    group: Callable[[str], str]
    product: Callable[[str, str], str]
    transposed: Callable[[str], str]
    outer: Callable[[str, str], str]
    comparison: Mapping[str, str]
    part: Callable[[str, str, str], str]  # of an array, from one width to another


def write(expr: Expr, notation: Notation, order: Order) -> str:
    return _Readable(notation, order).text(expr, SUM)


def order_in(line: str) -> Order:
    """The order in which names first appear in a line of text; h' counts as h_next."""
    found: dict[str, int] = {}
    for word in re.findall(r"[A-Za-z]\w*'?", line):
        found.setdefault(word.replace("'", "_next"), len(found))
    return Order(found)


class _Readable(Printer):
    def __init__(self, notation: Notation, order: Order) -> None:
        self.to = notation
        self.order = order

    def name(self, name: str) -> str:
        return self.to.name(name)

    def size(self, dim: str) -> str:
        return self.to.size(dim)

    def number(self, value: Expr) -> Written:
        return self.to.number(value)

    def group(self, inner: str) -> str:
        return self.to.group(inner)

    def juxtaposed(self, factors: Sequence[str]) -> str:
        return self.to.times(factors)

    # --- products and powers --------------------------------------------------------------------

    def is_negative(self, term: Expr) -> bool:
        return bool(term.as_coeff_Mul()[0].is_negative)

    def factors(self, product: Expr) -> tuple[Expr, list[Expr]]:
        coefficient, rest = product.as_coeff_Mul()
        parts = []
        for factor in sympy.Mul.make_args(rest):
            common, part = _common(factor)
            coefficient *= common
            parts.append(part)
        return coefficient, parts

    def denominator(self, coefficient: Expr) -> Expr:
        """3 of 2/3, which is no decimal."""
        if coefficient.is_Rational and coefficient.q != 1 and not is_decimal(coefficient):
            return sympy.Integer(coefficient.q)
        return functions.ONE

    def is_divisor(self, factor: Expr) -> bool:
        if not is_power(factor):
            return False
        exponent = arguments(factor)[1]
        return bool(exponent.is_number and exponent.is_negative)

    def quotient(self, above: Sequence[Expr], below: Sequence[Expr]) -> Written:
        if self.to.bare_quotient:
            return self.to.over(self.bare(above), self.bare(below))
        divisor = self.text(below[0], POWER) if len(below) == 1 else f"({self.times(below)})"
        return self.to.over(self.times(above), divisor)

    def bare(self, factors: Sequence[Expr]) -> str:
        return self.text(factors[0], SUM) if len(factors) == 1 else self.times(factors)

    def power(self, expr: Expr) -> Written:
        base, exponent = arguments(expr)
        if self.is_divisor(expr):
            return self.to.over("1", self.text(1 / expr, SUM if self.to.bare_quotient else POWER))
        if exponent == functions.HALF:
            return self.to.root(self.text(base, SUM)), ATOM
        return self.to.power(self.text(base, ATOM), self.text(exponent, ATOM))

    # --- functions and products of matrices -----------------------------------------------------

    def call(self, expr: Expr) -> Written:
        args = arguments(expr)
        if isinstance(expr, heads.matmul):
            matrix, vector = args
            return self.to.product(self.text(matrix, ATOM), self.text(vector, ATOM)), TERM
        if isinstance(expr, heads.transpose):
            return self.to.transposed(self.text(args[0], ATOM)), ATOM
        if isinstance(expr, formulas.outer):
            return self.to.outer(*(self.text(arg, PRODUCT) for arg in args)), ATOM
        if expr.func in heads.NAME_OF_OVER_AXES:
            return self.over_axes(heads.NAME_OF_OVER_AXES[expr.func], args), ATOM
        name = function_name(expr)
        if name in self.to.comparison:
            sides = [self.text(arg, SUM) for arg in args]
            return self.to.comparison[name].format(*sides), COMPARISON
        return self.to.function(name, [self.text(arg, COMPARISON) for arg in args]), ATOM

    def over_axes(self, name: str, args: tuple[Expr, ...]) -> str:
        """A function of whole arrays; an axis, a width and subscripts are written as names."""
        if name == "cut":
            start, stop = (_between_bars(bound) for bound in args[1:])
            return self.to.part(self.text(args[0], ATOM), start, "" if stop == "end" else stop)
        if name == "part":
            array, index, count = args
            whole = self.to.function("split", [self.text(array, COMPARISON), str(count)])
            return f"{whole}[{index}]"
        words = [
            self.to.name(_between_bars(arg))
            if functions.is_size(arg)
            else self.text(arg, COMPARISON)
            for arg in args
        ]
        return self.to.function(name, words)

    # --- order ----------------------------------------------------------------------------------

    def places(self, expr: Expr) -> tuple[list[int], str]:
        last = len(self.order.places)
        names = {s.name for s in expr.free_symbols if not functions.is_size(s)}
        places = sorted(self.order.places.get(name, last) for name in names) or [last + 1]
        return places, str(expr)

    def term_key(self, term: Expr) -> tuple[bool, list[int], str]:
        places, text = self.places(term)
        if self.order.products and term.has(heads.matmul):
            late = sorted(
                self.order.products[symbol.name]
                for symbol in term.free_symbols
                if symbol.name in self.order.products
            )
            if late:
                return True, late, text
        return False, places, text

    def factor_key(self, factor: Expr) -> tuple[int, int, list[int], str]:
        places, text = self.places(factor)
        kind = 0 if isinstance(factor, sympy.Symbol) else 2 if factor.is_Add else 1
        return kind if self.order.names_first else 0, places[0], [kind, *places], text


#: Names of functions that are one word in the name of an array: layer_norm_c.
_WORDS = tuple(name for name in functions.PUBLIC_FUNCTIONS if "_" in name)


def words(name: str) -> list[str]:
    """The parts of a name, between underscores."""
    for word in _WORDS:
        if name.startswith(f"{word}_"):
            return [word.replace("_", ""), *name[len(word) + 1 :].split("_")]
    return name.split("_")


def _between_bars(symbol: Expr) -> str:
    return str(symbol).strip("|")


def function_name(expr: Expr) -> str:
    """What a function is called in `.cell` text."""
    if expr.func in heads.NAME_OF_OVER_AXES:
        return heads.NAME_OF_OVER_AXES[expr.func]
    own = {heads.total: "sum", heads.mean: "mean", heads.layer_norm: "layer_norm"}
    own[formulas.sum_rows] = "sum_rows"
    return own.get(expr.func) or functions.NAME_OF_HEAD[functions.rule_of(expr).head]


def _common(factor: Expr) -> tuple[Expr, Expr]:
    """2 and a - b of the factor 2 a - 2 b, which SymPy multiplies out."""
    common, rest = factor.primitive() if factor.is_Add else (functions.ONE, factor)
    return (common, rest) if common.is_Integer else (functions.ONE, factor)


def is_decimal(value: Expr) -> bool:
    """Whether a rational ends as a decimal within a few places and is no simple fraction."""
    denominator = int(value.q)
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1 and value.q not in (2, 4)


# --- text -----------------------------------------------------------------------------------

_SIGNS = {"less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!="}


def decimal(value: Expr) -> str:
    """A number as one types it: exact where it ends as a decimal, else as a double."""
    if value.is_Integer:
        return str(value)
    return repr(float(value))


def _text_number(value: Expr) -> Written:
    if value.is_Rational and not value.is_Integer and not is_decimal(value):
        return f"{value.p} / {value.q}", PRODUCT if value > 0 else SUM
    return decimal(value), ATOM if value.is_nonnegative else SUM


TEXT = Notation(
    name=str,
    size=lambda dim: f"|{dim}|",
    number=_text_number,
    times=" * ".join,
    over=lambda above, below: (f"{above} / {below}", PRODUCT),
    bare_quotient=False,
    power=lambda base, exponent: (f"{base}**{exponent}", POWER),
    root=lambda inner: f"sqrt({inner})",
    function=lambda name, args: f"{name}({', '.join(args)})",
    group=lambda inner: f"({inner})",
    product=lambda matrix, vector: f"{matrix} @ {vector}",
    transposed=lambda matrix: f"{matrix}.T",
    outer=lambda a, b: f"outer({a}, {b})",
    comparison={name: f"{{0}} {sign} {{1}}" for name, sign in _SIGNS.items()},
    part=lambda array, start, stop: f"{array}[{start}:{stop}]",
)
