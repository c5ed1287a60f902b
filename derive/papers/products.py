"""Factors in a row -> an expression: what multiplies, what is a matrix, what is called.

In: a product of tree.py, and the translator that knows its factors.  Out: values.
Not here: single symbols, sums and functions (translate.py).

Factors side by side are taken from the right: `a W U h` is a * (W @ (U @ h)). A matrix that ends a
row multiplies what stands before it, as in `x W`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from derive.language import tree as cell
from derive.papers.calls import Calls, is_function
from derive.papers.memories import SCALARS
from derive.papers.operators import Operator, outer
from derive.papers.tree import Function, Group, Node, Number, Power, Product, Symbol
from derive.papers.values import Called, Columns, Matrix, Row, Value

if TYPE_CHECKING:
    from derive.papers.translate import Translator


@dataclass(frozen=True, slots=True)
class Products:
    """of: the translator, which knows the equation that is read."""

    of: Translator

    @property
    def calls(self) -> Calls:
        return Calls(self.of)

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
            if found is None:
                found = value
                continue
            if sign == "x" and self.makes_a_matrix():
                u, v = self.of.as_vector(found, node.at), self.of.as_vector(value, node.at)
                found = outer(u, v, node.at)
                continue
            if sign == "x":
                self.of.note("\\otimes is read element by element, and not as an outer product")
            if sign == "mod":
                found = self.remainder(found, value, node.at)
                continue
            if (spread := self.spread(found, value, node.at)) is not None:
                found = spread
                continue
            operator = "/" if sign == "/" else "*"
            left, right = self.of.as_vector(found, node.at), self.of.as_vector(value, node.at)
            found = cell.Binary(operator, left, right, self.of.place(node.at))
        assert found is not None
        return found

    def remainder(self, above: Value, below: Value, at: int) -> cell.Node:
        """a mod b = a - b floor(a / b)."""
        place = self.of.place(at)
        a, b = self.of.as_vector(above, at), self.of.as_vector(below, at)
        whole = cell.Call("floor", (cell.Binary("/", a, b, place),), place)
        return cell.Binary("-", a, cell.Binary("*", b, whole, place), place)

    def makes_a_matrix(self) -> bool:
        """Whether the equation that is read defines a state with a capital letter, or a matrix."""
        left = self.of.equation.left[0] if self.of.equation else None
        if left is None:
            return False
        capital = left.base[0].isupper() and self.of.roles.is_state(left.key)
        return capital or self.of.ranks.get(self.of.roles.name(left.key), 1) > 1

    def spread(self, a: Value, b: Value, at: int) -> cell.Node | None:
        """`(1^T v) * S` of rows: a vector that scales all rows, or all columns, of a matrix."""
        for one, other in ((a, b), (b, a)):
            if not isinstance(one, Operator) or isinstance(other, Operator | Matrix | Columns):
                continue
            (term, *rest) = one.terms
            matrix = self.of.as_vector(other, at)
            if rest or term.factors or self.of.rank(matrix) < 2:
                continue
            for axis, vector, ones in ((0, term.u, term.v), (1, term.v, term.u)):
                if isinstance(ones, cell.Number) and ones.text == "1" and vector is not None:
                    return self.of.acting(at).scaled(vector, matrix, axis)
        return None

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
        if factors[k][0] == "." and before is not None:
            if any(isinstance(v, Row | Operator) for v in (before, value)):
                return True
            if self.axes(before) > 1 or (self.of.rows and self.axes(value) > 1):
                return True
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
            if is_function(value):
                cut = factors[k + 1][1] if k + 1 < len(factors) else None
                if isinstance(group, Group) and self.calls.is_split(value, group, cut):
                    value = self.calls.part(group, cut, factor.at)
                    k += 2
                elif isinstance(group, Group):
                    value = self.calls.call(value, group.items, factor.at)
                    if group.transposed:
                        value = self.of.transposed(value, factor.at)
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
                    value = self.calls.call(value, (inner,), factor.at)
            found.append((sign, value))
        return found

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

    def beside(self, value: Value, found: Value, at: int) -> Value:
        """A factor, and what it multiplies."""
        if isinstance(value, Matrix):
            return self.times(value, found)
        acting = self.of.acting(at)
        if isinstance(value, Operator):
            return self.operated(value, found, at)
        if isinstance(found, Operator):
            return self.before_operator(value, found, at)
        if isinstance(value, Row):
            if not isinstance(found, Matrix | Columns | Called | Row) and self.axes(found) > 1:
                return Row(acting.read_back(found, value.vector), value.at)
            if self.of.rows and not isinstance(found, Row):
                return outer(value.vector, self.of.as_vector(found, at), at)
            return acting.dot(value.vector, self.of.as_vector(found, at))
        if isinstance(found, Row):
            factor = self.of.as_vector(value, at)
            if self.is_number(factor):
                return Row(acting.product(factor, found.vector), found.at)
            if self.axes(factor) > 1:
                raise self.of.error("a matrix stands before a transposed vector", found.at)
            if self.of.rows:
                return acting.dot(factor, found.vector)
            return outer(factor, found.vector, at)
        if self.axes(value) > 1 and not self.is_number(found):
            return self.of_matrix(value, found, at)
        if self.of.rows and self.reads_back(value, found):
            return acting.read_back(self.of.as_vector(found, at), self.of.as_vector(value, at))
        if isinstance(value, cell.Name) and (name := self.capital_array(value.name)):
            raise self.of.error(
                f"'{name}' stands before a vector as a matrix does", at,
                f"{name}_t \\odot v_t",
                f"if it is a matrix, no equation says so, as '{name}_t = v_t k_t^\\top' does: "
                f"--as {name}=matrix",
            )  # fmt: skip
        if isinstance(value, cell.Name) and value.name in self.of.small:
            inputs = {self.of.roles.name(key) for key in self.of.roles.inputs()}
            if isinstance(found, cell.Name) and found.name in inputs:
                symbol = self.of.small[value.name]
                self.of.note(f"{value.name} stands before an input, so it is a matrix")
                return self.applied_to(symbol, found, symbol.at)
        return self.scaled(value, found, at)

    def axes(self, value: Value) -> int:
        """The number of axes of a value; 0 of what is no array."""
        if isinstance(value, Matrix | Columns | Called | Row | Operator):
            return 0
        return self.of.rank(value)

    def is_number(self, value: Value) -> bool:
        """Whether a factor is a number a row, as far as it shows."""
        if isinstance(value, cell.Name):
            name = value.name.removesuffix("_next")
            greek = name.split("_")[0] in SCALARS and not self.of.printed
            return greek or self.of.ranks.get(name, 1) == 0
        if isinstance(value, Matrix | Columns | Called | Row | Operator):
            return False
        return self.of.rank(value) == 0

    def of_matrix(self, matrix: Value, found: Value, at: int) -> cell.Node:
        """A matrix with the vector that stands behind it."""
        array, vector = self.of.as_vector(matrix, at), self.of.as_vector(found, at)
        if self.axes(vector) > 1 and not self.of.printed:
            raise self.of.error(
                "two matrices are multiplied, which no cell does", at, None,
                "the language multiplies a matrix and a vector, and (S_{t-1} (I - k k^T)) term by "
                "term",
            )  # fmt: skip
        return cell.Binary("@", array, vector, self.of.place(at))

    def reads_back(self, value: Value, found: Value) -> bool:
        """Whether a row stands before a matrix that the equation does not define."""
        left = (
            [self.of.roles.name(s.key) for s in self.of.equation.left] if self.of.equation else []
        )
        names = {n.name.removesuffix("_next") for n in cell.names_of(self.of.as_vector(found, 0))}
        return self.axes(found) > 1 and not self.is_number(value) and not names & set(left)

    def operated(self, operator: Operator, found: Value, at: int) -> Value:
        acting = self.of.acting(at)
        if isinstance(found, Operator):
            return acting.composed(operator, found)
        if isinstance(found, Row):
            raise self.of.error("a matrix stands before a transposed vector", found.at)
        array = self.of.as_vector(found, at)
        if self.is_number(array):
            return operator.times(array)
        if self.axes(array) > 1:
            return acting.on_matrix(operator, array)
        return acting.on_vector(operator, array)

    def before_operator(self, value: Value, operator: Operator, at: int) -> Value:
        acting = self.of.acting(at)
        if isinstance(value, Row):
            return Row(acting.on_vector(operator.transposed(), value.vector), value.at)
        array = self.of.as_vector(value, at)
        if self.axes(array) > 1:
            return acting.after_matrix(array, operator)
        return operator.times(array)

    def capital_array(self, name: str) -> str:
        """The name of an array that changes with time and has a capital letter, or ""."""
        plain = name.removesuffix("_next")
        known = any(self.of.roles.name(key) == plain for key in self.of.roles.arrays)
        return plain if known and plain[:1].isupper() and not plain.startswith("Delta") else ""

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
