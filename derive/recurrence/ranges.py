"""Between which numbers the arrays of a Program lie.

In: a Program, intervals of some of its inputs.  Out: `Ranges`, an interval for each array.
Not here: intervals (symbolic/interval.py), what states keep from step to step (bounds.py).

Inputs and parameters are any numbers where nothing is said. Five rules are finer than arithmetic
with intervals, in which z and 1 - z vary by themselves:

| rule      | where                                   | gives                                    |
| --------- | --------------------------------------- | ---------------------------------------- |
| ends      | affine in z, and z between lo and hi    | between its values at lo and at hi       |
| mean      | (a v + b w) / (a + b), a and b above 0  | between v and w                          |
| largest   | v - maximum(v, w), v - max(v)           | at most 0                                |
| share     | v / sum(v), v at least 0                | between 0 and 1                          |
| unit      | v / sqrt(sum(v**2) + c), c at least 0   | between -1 and 1                         |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import sympy

from derive.program import Map, Matmul, Over, Program, Sum
from derive.program.program import Dim
from derive.recurrence.linear import coefficients
from derive.recurrence.written_out import WrittenOut
from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.interval import WHOLE, Interval, hull, image, meet, point, root

#: Of a share of a whole.
_SHARE = Interval(Fraction(0), Fraction(1))
_COUNT = Interval(Fraction(1))
_UNIT = Interval(Fraction(-1), Fraction(1))
#: How many symbols one after the other are put at their ends.
_DEPTH = 5


#: {(array, array): between what their quotient lies}
Quotients = Mapping[tuple[str, str], Interval]


class Ranges:
    """given: {input: its interval}; all others are the whole line.  quotients: of arrays that
    `written` keeps."""

    def __init__(
        self,
        program: Program,
        given: Mapping[str, Interval],
        written: WrittenOut | None = None,
        quotients: Quotients | None = None,
    ) -> None:
        self.program = program
        self.table = program.table()
        self.definitions = program.definitions()
        self.written = written or WrittenOut(program)
        self.quotients = quotients or {}
        self.known: dict[str, Interval] = {n: given.get(n, WHOLE) for n in program.inputs}

    def __getitem__(self, name: str) -> Interval:
        if name not in self.known:
            for equation in self.program.equations:  # in order, so that nothing is deep
                if equation.out not in self.known:
                    self.known[equation.out] = self._of_equation(equation).shortened()
                if equation.out == name:
                    break
        return self.known[name]

    # --- equations

    def _of_equation(self, equation: Map | Matmul | Sum) -> Interval:
        if isinstance(equation, Map):
            found = self.of(self.written.value(equation.out))
            found = meet(found, _UNIT) if self._is_unit(equation) else found
            return meet(found, _SHARE) if self._is_share(equation) else found
        if isinstance(equation, Sum):
            return self._of_sum(equation)
        one = self[equation.left] * self[equation.right]
        return _several(one, [])

    def _of_sum(self, equation: Sum) -> Interval:
        source = self[equation.source]
        if equation.over is Over.MAX:
            return source
        shape = self.table[equation.source].shape
        axes = equation.axes_of(self.table[equation.source], self.table[equation.out])
        if equation.over.keeps:
            before = self.definitions.get(equation.source)
            if isinstance(before, Map) and self._is_share(before, axes):
                return _SHARE
            return _several(source, [shape[k] for k in axes] + [""])
        total = _several(source, [shape[k] for k in axes])
        return meet(total, _COUNT) if self._holds_one(equation, axes) else total

    def _holds_one(self, equation: Sum, axes: tuple[int, ...]) -> bool:
        """Whether it is sum(exp(v - max(v))), one term of which is 1."""
        before = self.definitions.get(equation.source)
        if not isinstance(before, Map) or not isinstance(before.expr, functions.exp):
            return False
        inner = self.written.value(equation.source).args[0]
        for symbol in symbols_of(inner):
            atom = self.written.atoms.get(symbol)
            largest = self.definitions.get(atom.array) if atom else None
            if isinstance(largest, Sum) and largest.over is Over.MAX:
                below = self._below(symbol, inner)
                over = largest.axes_of(self.table[largest.source], self.table[largest.out])
                if over == axes and len(below) == 1 and inner.xreplace({symbol: below[0]}) == 0:
                    return True
        return False

    def _is_share(self, equation: Map, axes: tuple[int, ...] | None = None) -> bool:
        """Whether it is v / sum(v), the sum over these axes or any, with a v that is not below
        0 and a sum above 0."""
        if not equation.expr.is_Mul or len(equation.expr.args) != 2:
            return False
        for one, other in (equation.expr.args, equation.expr.args[::-1]):
            if one.is_Symbol and isinstance(other, sympy.Pow) and other.exp == -1:
                total = self.definitions.get(str(other.base))
                if isinstance(total, Sum) and total.source == one.name:
                    over = total.axes_of(self.table[total.source], self.table[total.out])
                    return (
                        total.over is Over.SUM
                        and axes in (None, over)
                        and self[total.source].from_zero
                        and self[total.out].positive
                    )
        return False

    # --- expressions

    def of(self, expr: Expr, depth: int = _DEPTH) -> Interval:
        """Between what an expression that is written out lies."""
        found = self._plain(expr)
        if expr.is_Add or expr.is_Mul:
            found = self._finer(expr, found, depth)
        return found.shortened()

    def _plain(self, expr: Expr) -> Interval:
        if expr.is_Symbol:
            return self._of_symbol(expr)
        if expr.is_Rational:
            return point(Fraction(int(expr.p), int(expr.q)))
        if expr.is_Add or expr.is_Mul:
            args = self._divided(expr) if expr.is_Mul and self.quotients else expr.args
            first, *others = (
                arg if isinstance(arg, Interval) else self._plain(arg) for arg in args
            )
            for other in others:
                first = first + other if expr.is_Add else first * other
            return first
        if expr.is_number and not expr.args:
            low = Fraction(str(sympy.N(expr, 30)))
            room = abs(low) / 10**25
            return Interval(low - room, low + room)
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            base, exponent = self.of(expr.base), expr.exp
            if exponent.is_Integer:
                return base.power(int(exponent)) if abs(int(exponent)) <= 64 else WHOLE
            return root(base, Fraction(str(exponent))) if exponent.is_Rational else WHOLE
        name = functions.NAME_OF_HEAD[functions.rule_of(expr).head]
        return image(name, [self.of(arg) for arg in expr.args])

    def _divided(self, expr: Expr) -> list[Expr | Interval]:
        """The factors of a product, with what is known of a quotient instead of two of them."""
        left: list[Expr | Interval] = list(expr.args)
        for (above, below), values in self.quotients.items():
            pair = [functions.symbol(above), 1 / functions.symbol(below)]
            if all(part in left for part in pair):
                left = [part for part in left if part not in pair] + [values]
        return left

    def _of_symbol(self, symbol: sympy.Symbol) -> Interval:
        if functions.is_size(symbol):
            return _COUNT
        atom = self.written.atoms.get(symbol)
        if atom is None:
            return self[symbol.name]
        if atom.mean:
            total = self.definitions[atom.array]
            assert isinstance(total, Sum)
            return self[total.source]
        return self[atom.array]

    def _finer(self, expr: Expr, found: Interval, depth: int) -> Interval:
        found = self._with_largest(expr, found, depth)
        if depth and (ends := self._between_ends(expr, depth)) is not None:
            found = meet(found, ends)
        if depth and (mean := self._weighted_mean(expr, depth)) is not None:
            found = meet(found, mean)
        return found

    def _is_unit(self, equation: Map) -> bool:
        """Whether it is v / |v|, with something added below the root or a least length."""
        parts = equation.expr.args if equation.expr.is_Mul else ()
        for v, power in zip(parts, parts[::-1], strict=True) if len(parts) == 2 else ():
            total = _square_of(self._opened(power)) if _is_power(power) else None
            length = self.definitions.get(str(total))
            if total is None or not v.is_Symbol or not isinstance(length, Sum):
                continue
            squares = self.definitions.get(length.source)
            one = self.table[length.out].shape == (1,)
            last = len(self.table[length.source].shape) - 1
            axes = length.axes_of(self.table[length.source], self.table[length.out])
            lies = equation.place(power.base.name) if power.base.is_Symbol else None
            whole = one or (axes == (last,) and lies == tuple(range(last)))
            if (
                length.over is Over.SUM
                and whole
                and isinstance(squares, Map)
                and squares.expr == functions.symbol(v.name) ** 2
                and squares.place(v.name) is None
                and equation.place(v.name) is None
            ):
                return True
        return False

    def _opened(self, expr: Expr) -> Expr:
        """With arrays of one shape written out, element by element."""
        for _ in range(4):
            inner = {}
            for symbol in symbols_of(expr):
                equation = self.definitions.get(symbol.name)
                if isinstance(equation, Map) and not equation.places:
                    shapes = {self.table[n].shape for n in (equation.out, *equation.operands)}
                    if len(shapes) == 1:
                        inner[symbol] = equation.expr
            if not inner:
                break
            expr = expr.xreplace(inner)
        return expr

    def _with_largest(self, expr: Expr, found: Interval, depth: int) -> Interval:
        """An atom that is the larger of two is at least each of them."""
        for symbol in symbols_of(expr):
            below = self._below(symbol, expr)
            if not below or not depth:
                continue
            affine = coefficients(expr, frozenset((symbol,)))
            slope = affine[0].get(symbol) if affine else None
            if slope is None or not slope.is_number:
                continue
            for value in below:
                other = self.of(expr.xreplace({symbol: value}), depth - 1)
                if slope > 0:
                    found = meet(found, Interval(other.lo, None, other.lo_open))
                else:
                    found = meet(found, Interval(None, other.hi, False, other.hi_open))
        return found

    def _below(self, symbol: sympy.Symbol, expr: Expr) -> list[Expr]:
        """Expressions that a symbol is at least as large as."""
        atom = self.written.atoms.get(symbol)
        equation = self.definitions.get(atom.array if atom else symbol.name)
        if isinstance(equation, Map) and isinstance(equation.expr, functions.maximum):
            if atom is not None and atom.place != tuple(range(len(atom.place))):
                return []
            value = self.written.value(equation.out)
            return list(value.args) if isinstance(value, functions.maximum) else []
        if isinstance(equation, Sum) and equation.over is Over.MAX and atom is not None:
            over = equation.axes_of(self.table[equation.source], self.table[equation.out])
            return [
                other
                for other in symbols_of(expr)
                if (own := self.written.atoms.get(other)) is not None
                and own.array == equation.source
                and not own.mean
                and tuple(p for k, p in enumerate(own.place) if k not in over) == atom.place
            ]
        return []

    def _between_ends(self, expr: Expr, depth: int) -> Interval | None:
        """Of the first symbol that stands more than once and in which `expr` is affine."""
        for symbol in symbols_of(expr):
            if expr.count(symbol) < 2:
                continue
            own = self._of_symbol(symbol)
            if own.lo is None or own.hi is None or own.lo == own.hi:
                continue
            affine = coefficients(expr, frozenset((symbol,)))
            if affine is None:
                continue
            terms, rest = affine
            ends = [
                self.of(rest + terms.get(symbol, functions.ZERO) * _number(end), depth - 1)
                for end in (own.lo, own.hi)
            ]
            return _mixed(ends, [own.lo_open, own.hi_open])
        return None

    def _weighted_mean(self, expr: Expr, depth: int) -> Interval | None:
        """Of a quotient whose denominator is a sum of weights above 0."""
        if not any(map(_divides_by_sum, sympy.preorder_traversal(expr))):
            return None
        above, below = sympy.fraction(sympy.together(expr))
        below = sympy.expand(below)
        weights: list[tuple[Expr, Expr]] = []
        for term in sympy.Add.make_args(below):
            number, symbols = term.as_coeff_Mul()
            if not (symbols.is_Symbol or symbols == 1) or not self.of(term, 0).positive:
                return None
            weights.append((symbols, number))
        symbols = frozenset(symbol for symbol, _ in weights if symbol != 1)
        affine = coefficients(sympy.expand(above), symbols)
        if affine is None:
            return None
        terms, rest = affine
        if rest != 0 and functions.ONE not in [symbol for symbol, _ in weights]:
            return None
        parts = [
            self.of(
                (rest if symbol == 1 else terms.get(symbol, functions.ZERO)) / number, depth - 1
            )
            for symbol, number in weights
        ]
        return _mixed(parts, [True] * len(parts))


def _mixed(parts: Sequence[Interval], opened: Sequence[bool]) -> Interval:
    """Of a mean of values in `parts`. opened: parts that are never all of it."""
    both = hull(parts)

    def is_open(lows: Sequence[Interval], low: Fraction | None) -> bool:
        reached = [part.lo == low and not part.lo_open for part in lows]
        alone = any(here and not out for here, out in zip(reached, opened, strict=True))
        return low is not None and not alone and not all(reached)

    hi = [part.turned() for part in parts]
    top = both.turned()
    return Interval(both.lo, both.hi, is_open(parts, both.lo), is_open(hi, top.lo))


def _several(one: Interval, dims: Sequence[Dim]) -> Interval:
    """Of a sum of terms of an interval, as many as the dimensions say; "": of 1 to so many."""
    if not dims:
        dims = ("?",)
    total = one
    for dim in dims:
        if isinstance(dim, int) and "" not in dims:
            total = total.times(Fraction(dim))
            continue
        lo = total.lo if total.from_zero else None
        hi = total.hi if total.not_positive else None
        total = Interval(lo, hi, total.lo_open and lo is not None, total.hi_open and hi is not None)
    return total


def _is_power(expr: Expr) -> bool:
    """Whether it is a power of an array; exp is one of SymPy's powers too."""
    return isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp)


def _square_of(power: Expr) -> sympy.Symbol | None:
    """s of 1 / sqrt(s + c), or of 1 / maximum(sqrt(s), c)."""
    if not _is_power(power):
        return None
    base, exponent = power.args
    if exponent == -1 and isinstance(base, functions.maximum):
        roots = [root for arg in base.args for root in _roots(arg)]
        if len(roots) != 1:
            return None
        base, exponent = roots[0].args[0], -roots[0].args[1]
    elif exponent == -1 and len(_roots(base)) == 1:
        (found,) = _roots(base)
        base, exponent = found.args[0], -found.args[1]
    if exponent != sympy.Rational(-1, 2):
        return None
    number, rest = base.as_coeff_Add()
    return rest if rest.is_Symbol and number >= 0 else None


def _roots(expr: Expr) -> list[Expr]:
    """sqrt(s), or where(0 < s, sqrt(s), 0), as a norm is written."""
    if isinstance(expr, functions.where) and expr.args[2] == 0:
        expr = expr.args[1]
    half = _is_power(expr) and expr.exp == sympy.Rational(1, 2)
    return [expr] if half else []


def symbols_of(expr: Expr) -> list[sympy.Symbol]:
    return sorted(
        (s for s in expr.free_symbols if not functions.is_size(s)), key=lambda s: str(s.name)
    )


def _divides_by_sum(part: Expr) -> bool:
    return isinstance(part, sympy.Pow) and part.exp == -1 and part.base.is_Add


def _number(value: Fraction) -> Expr:
    return sympy.Rational(value.numerator, value.denominator)
