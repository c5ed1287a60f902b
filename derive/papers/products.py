"""Factors in a row -> an expression: what multiplies, what is a matrix, what is called.

In: a product of tree.py, and the translator that knows its factors.  Out: values.
Not here: single symbols, sums and functions (translate.py).

Factors side by side are taken from the right: `a W U h` is a * (W @ (U @ h)). A matrix that ends a
row multiplies what stands before it, as in `x W`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from derive.language import tree as cell
from derive.language.parse_expression import arity, usage
from derive.papers.roles import Macro, is_minus_one
from derive.papers.tree import Function, Group, Node, Number, Power, Product, Symbol
from derive.papers.values import Called, Columns, Matrix, Row, Value
from derive.symbolic import functions

if TYPE_CHECKING:
    from derive.papers.translate import Translator


@dataclass(frozen=True, slots=True)
class Products:
    """of: the translator, which knows the equation that is read."""

    of: Translator

    def product(self, node: Product) -> Value:
        self.divided(node)
        factors = self.applied(node)
        runs: list[tuple[str, list[Value]]] = []
        for k, (sign, value) in enumerate(factors):
            before = runs[-1][1] if runs else []
            below = value if sign == "/" and len(before) == 1 else None
            above = before[0] if below is not None else None
            if isinstance(above, cell.Number) and isinstance(below, cell.Number):
                # 1/2 W x is a half of W x.
                before[0] = cell.Binary("/", above, below, self.of.place(node.at))
                continue
            joins = not sign or (sign in "*." and self.multiplies(runs, factors, k))
            if runs and joins:
                runs[-1][1].append(value)
            else:
                runs.append((sign, [value]))
        found: Value | None = None
        for sign, run in runs:
            value = self.run(run, node.at)
            if sign == "x":
                self.of.note("\\otimes is read element by element, and not as an outer product")
            if found is None:
                found = value
                continue
            operator = "/" if sign == "/" else "*"
            left, right = self.of.as_vector(found, node.at), self.of.as_vector(value, node.at)
            found = cell.Binary(operator, left, right, self.of.place(node.at))
        assert found is not None
        return found

    def divided(self, node: Product) -> None:
        """What stands behind a slash is one factor: `1 / \\tau W x` may divide by the whole."""
        factors = node.factors
        for k, (sign, factor) in enumerate(factors):
            after = factors[k + 1 : k + 2]
            called = isinstance(after[0][1], Group) if after else False
            if sign != "/" or not after or after[0][0] or isinstance(factor, Function) or called:
                continue
            if isinstance(factor, Number) and k and isinstance(factors[k - 1][1], Number):
                continue
            raise self.of.error(
                "how much the slash divides by is not said", factor.at,
                "\\frac{1}{\\tau} W x_t", "a fraction or brackets say it",
            )  # fmt: skip

    def multiplies(
        self, runs: list[tuple[str, list[Value]]], factors: list[tuple[str, Value]], k: int
    ) -> bool:
        """Whether a dot or a star is the product with a matrix before it, or with one that ends
        the product."""
        before, value = runs[-1][1][-1] if runs else None, factors[k][1]
        if isinstance(before, Matrix):
            return not isinstance(value, Matrix) or k + 1 < len(factors)
        last = k + 1 == len(factors) or factors[k + 1][0]
        return bool(isinstance(value, Matrix) and before is not None and last)

    def applied(self, node: Product) -> list[tuple[str, Value]]:
        """The factors, functions applied to what follows them."""
        found: list[tuple[str, Value]] = []
        factors = list(node.factors)
        k = 0
        while k < len(factors):
            sign, factor = factors[k]
            following = factors[k + 1 : k + 2]
            after = following[0][1] if following and not following[0][0] else None
            power = after.exponent if isinstance(after, Power) else None
            group = after.base if isinstance(after, Power) else after
            called = isinstance(group, Group)
            base = factor.base if isinstance(factor, Power) else factor
            if called and isinstance(base, Symbol):
                value: Value = self.of.symbol(base, called=True)
                if isinstance(factor, Power):
                    value = (
                        replace(value, power=factor.exponent)
                        if isinstance(value, Called)
                        else self.of.value(factor)
                    )
            else:
                value = self.of.value(factor)
            k += 1
            if self.is_function(value):
                if isinstance(group, Group):
                    value = self.call(value, group.items, factor.at)
                    if power is not None:
                        raised = self.of.as_vector(value, factor.at)
                        value = self.of.raised_to(raised, power, factor.at)
                    k += 1
                else:
                    rest = []
                    while k < len(factors) and not factors[k][0]:
                        rest.append(("", factors[k][1]))
                        k += 1
                    if not rest:
                        raise self.of.error("a function is not applied to anything", factor.at)
                    inner: Node = Product(tuple(rest), rest[0][1].at) if rest[1:] else rest[0][1]
                    value = self.call(value, (inner,), factor.at)
            found.append((sign, value))
        return found

    def is_function(self, value: Value) -> bool:
        if isinstance(value, Columns):
            return all(isinstance(item, Called) for item in value.items)
        return isinstance(value, Called)

    def call(self, value: Value, arguments: Sequence[Node], at: int) -> Value:
        if isinstance(value, Columns):
            count = len(self.of.equation.left) if self.of.equation else 1
            if len(value.items) != count:
                what = f"{len(value.items)} functions, and {count} on the left"
                raise self.of.error(what, at)
            value = value.items[self.of.row]
        assert isinstance(value, Called)
        place = self.of.place(at)
        function = value.function
        if function == "concat":
            return Columns(
                tuple(self.of.value(a) for a in arguments), self.of.part_names(arguments), at
            )
        if function == "diag":
            return self.of.vector(arguments[0])
        if isinstance(function, Macro):
            result = self.expanded(function, arguments, at)
        elif function in ("maximum", "minimum"):
            result = self.of.vector(arguments[0])
            for argument in arguments[1:]:
                result = cell.Call(function, (result, self.of.vector(argument)), place)
            if len(arguments) < 2:  # over the units
                result = cell.Call(function[:3], (result,), place)
        else:
            over_axes = functions.OVER_AXES.get(function)
            wanted = over_axes[0] if over_axes else arity(function)
            if wanted != len(arguments):
                what = f"'{function}' takes {wanted} argument{'s' * (wanted > 1)}"
                raise self.of.error(what, at, usage(function), f"{len(arguments)} are given")
            result = cell.Call(function, tuple(map(self.of.vector, arguments)), place)
        if value.power is None:
            return result
        if is_minus_one(value.power):
            raise self.of.error("the power -1 of a function may mean its inverse", at, "1 / f(v)")
        return self.of.raised_to(result, value.power, at)

    def expanded(self, macro: Macro, arguments: Sequence[Node], at: int) -> cell.Node:
        if len(arguments) != 1 or macro.argument in self.of.bound:
            raise self.of.error("a function of the paper takes one argument", at)
        self.of.bound[macro.argument] = self.of.vector(arguments[0])
        try:
            return self.of.vector(macro.body)
        finally:
            del self.of.bound[macro.argument]

    def run(self, values: list[Value], at: int) -> Value:
        """Factors side by side."""
        if len(values) == 1:
            return values[0]
        last = values[-1]
        if isinstance(last, Matrix) and not all(isinstance(v, Matrix) for v in values):
            self.of.note(
                "vectors stand before matrices: a parameter is the transpose of the paper's"
            )
            self.of.flipped |= {
                name
                for value in values
                if isinstance(value, Matrix)
                for _, _, symbol in value.terms
                if symbol is not None
                for name in (self.of.parameter(symbol),)
            }
            found = values[0]
            for value in values[1:]:
                found = self.beside(value, found, at)
            return found
        found = last
        for value in reversed(values[:-1]):
            found = self.beside(value, found, at)
        return found

    def beside(self, value: Value, found: Value, at: int) -> cell.Node:
        """A factor, and what it multiplies."""
        if isinstance(value, Matrix):
            return self.times(value, found)
        if isinstance(value, Row):
            product = self.scaled(value.vector, found, at)
            return cell.Call("sum", (product,), self.of.place(value.at))
        if isinstance(found, Row) and not isinstance(value, cell.Number):
            raise self.of.error(
                "a vector times a transposed vector is a matrix", found.at, None,
                "a state that is a matrix is not read from a paper: write it as a .cell text, with "
                "'state S: D x K' and 'outer(v, k)'",
            )  # fmt: skip
        if isinstance(value, cell.Name) and (name := self.capital_array(value.name)):
            raise self.of.error(
                f"'{name}' stands before a vector as a matrix does", at,
                f"{name}_t \\odot v_t",
                "a state that is a matrix is not read from a paper: write it as a .cell text, with "
                f"'state {name}: D x K' and '{name} @ q'",
            )  # fmt: skip
        if isinstance(value, cell.Name) and value.name in self.of.small:
            inputs = {self.of.roles.name(key) for key in self.of.roles.inputs()}
            if isinstance(found, cell.Name) and found.name in inputs:
                symbol = self.of.small[value.name]
                self.of.note(f"{value.name} stands before an input, so it is a matrix")
                return self.applied_to(symbol, found, symbol.at)
        return self.scaled(value, found, at)

    def capital_array(self, name: str) -> str:
        """The name of an array that changes with time and has a capital letter, or ""."""
        plain = name.removesuffix("_next")
        known = any(self.of.roles.name(key) == plain for key in self.of.roles.arrays)
        return plain if known and plain[:1].isupper() else ""

    def scaled(self, left: Value, right: Value, at: int) -> cell.Node:
        a, b = self.of.as_vector(left, at), self.of.as_vector(right, at)
        return cell.Binary("*", a, b, self.of.place(at))

    def times(self, matrix: Matrix, vector: Value) -> cell.Node:
        """A matrix, or a sum of them, times a vector or joined vectors."""
        if isinstance(vector, Matrix) and len(vector.terms) == 1 and not vector.terms[0][1]:
            vector = self.of.as_vector(vector, matrix.at)
        place = self.of.place(matrix.at)
        found: cell.Node | None = None
        for sign, factors, symbol in matrix.terms:
            term = self.applied_to(symbol, vector, matrix.at)
            for factor in factors:
                term = cell.Binary("*", factor, term, place)
            if found is None:
                found = term if sign == "+" else cell.Negative(term, place)
            else:
                found = cell.Binary(sign, found, term, place)
        assert found is not None
        return found

    def applied_to(self, symbol: Symbol | None, vector: Value, at: int) -> cell.Node:
        place = self.of.place(at)
        if symbol is None:
            return self.of.as_vector(vector, at)
        name = self.of.parameter(symbol)
        if isinstance(vector, Columns):
            return self.parted(name, vector, symbol)
        if name in self.of.split:
            raise self.of.error(
                f"'{name}' multiplies joined vectors elsewhere, and one vector here", at
            )
        self.of.whole.add(name)
        matrix = cell.Name(name, place)
        left = cell.Transpose(matrix, place) if symbol.transposed else matrix
        return cell.Binary("@", left, self.of.as_vector(vector, at), place)

    def parted(self, name: str, vector: Columns, symbol: Symbol) -> cell.Node:
        """W [a, b] as W_a @ a + W_b @ b."""
        if symbol.transposed or name in self.of.whole:
            raise self.of.error(
                "joined vectors meet a matrix that is not split elsewhere", symbol.at
            )
        names = self.of.split.setdefault(name, vector.names)
        if len(names) != len(vector.names):
            raise self.of.error(
                f"'{name}' multiplies {len(names)} joined vectors elsewhere", symbol.at
            )
        shown = ", ".join(f"{name}_{part}" for part in names)
        self.of.note(f"{name} multiplies joined vectors: {shown}, side by side, are {name}")
        place = self.of.place(symbol.at)
        found: cell.Node | None = None
        for part, item in zip(names, vector.items, strict=True):
            operand = self.of.as_vector(item, vector.at)
            parameter = cell.Name(self.of.roles.fresh(f"{name}_{part}"), place)
            term: cell.Node = cell.Binary("@", parameter, operand, place)
            if isinstance(operand, cell.Number):
                term = parameter if operand.text == "1" else cell.Binary(
                    "*", operand, parameter, place
                )  # fmt: skip
            found = term if found is None else cell.Binary("+", found, term, place)
        assert found is not None
        return found
