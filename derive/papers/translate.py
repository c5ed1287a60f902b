"""The right side of an equation -> an expression of the language.

In: nodes of tree.py, and roles.  Out: nodes of language/tree.py, each with its place in the LaTeX.
Not here: what symbols are (roles.py), widths (widths.py).

`W x`, `W \\cdot x` and `x W` are products with a matrix where `W` is a parameter with a capital
letter; `\\odot`, `\\circ` and a product with anything else are element by element. A matrix that
meets joined vectors, `W [h, x]`, is split into one matrix for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from derive.errors import CellError, Place
from derive.language import tree as cell
from derive.language.names import next_of
from derive.papers.memories import rank
from derive.papers.operators import IDENTITY, Acting, Operator, Term
from derive.papers.products import Products
from derive.papers.roles import Equation, Key, Roles, is_number, name_of
from derive.papers.tokens import Text
from derive.papers.tree import (
    Around,
    Cases,
    Condition,
    Fraction,
    Function,
    Group,
    Node,
    Number,
    Power,
    Product,
    Sum,
    Symbol,
    symbols,
)
from derive.papers.values import Called, Columns, Matrix, Row, Value

#: Small letters that are matrices where an input stands behind them.
SMALL_MATRICES = frozenset("uvw")


@dataclass
class Translator:
    """notes: what was concluded on the way.  split: {matrix: (names of its parts, how often)}.
    ranks: {name: its number of axes}, 1 where nothing is said.  rows: vectors are rows.
    printed: all shapes are given.  along: vectors that scale a matrix along one of its axes."""

    text: Text
    roles: Roles
    ranks: Mapping[str, int] = field(default_factory=dict)
    rows: bool = False
    printed: bool = False
    along: list[tuple[cell.Node, cell.Node, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    split: dict[str, tuple[str, ...]] = field(default_factory=dict)
    flipped: set[str] = field(default_factory=set)  # matrices behind their vectors
    whole: set[str] = field(default_factory=set)
    linear: list[tuple[str, int]] = field(default_factory=list)
    small: dict[str, Symbol] = field(default_factory=dict)
    delays: dict[Key, int] = field(default_factory=dict)
    equation: Equation | None = None
    gate: str = ""  # of several that one equation defines
    row: int = 0
    macros: tuple[Key, ...] = ()
    bound: dict[Key, cell.Node] = field(default_factory=dict)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def error(self, what: str, at: int, hint: str | None = None, *facts: str) -> CellError:
        return self.text.error(what, at, hint, facts)

    def place(self, at: int) -> Place:
        return self.text.place(at)

    def definition(self, equation: Equation, row: int) -> cell.Node:
        """The right side of an equation, for the row-th of the symbols on its left."""
        self.equation, self.row = equation, row
        right, count = equation.right, len(equation.left)
        each = isinstance(right, Group) and len(right.items) == count  # q, k = W x, V x
        several = count > 1 and not each
        self.gate = self.roles.name(equation.left[row].key) if several else ""
        return self.vector(equation.right)

    # --- values ----------------------------------------------------------------------------

    def vector(self, node: Node) -> cell.Node:
        """The value of a node that is a vector or a number."""
        return self.as_vector(self.value(node), node.at)

    def as_vector(self, value: Value, at: int) -> cell.Node:
        if isinstance(value, Operator):
            return self.as_array(value)
        if isinstance(value, Matrix):
            (_, factors, symbol), *rest = value.terms
            if rest and self.printed and all(s and not s.transposed for _, _, s in value.terms):
                return self.added(value)
            if rest or factors or symbol is None or symbol.transposed:
                raise self.error("this matrix multiplies nothing", value.at, "W x_t")
            name = self.parameter(symbol)
            if name not in self.roles.told and not self.printed:
                self.note(f"{name} multiplies no vector, so it is a vector itself")
            return cell.Name(name, self.place(value.at))
        if isinstance(value, Columns):
            count = len(self.equation.left) if self.equation else 1
            if count == len(value.items) > 1:
                return self.as_vector(value.items[self.row], at)
            raise self.error(
                "vectors are joined here, and no matrix multiplies them", value.at, "W [h, x]"
            )
        if isinstance(value, Called):
            raise self.error("a function is not applied to anything", value.at)
        return value.vector if isinstance(value, Row) else value

    def as_array(self, value: Operator) -> cell.Node:
        """Outer products as a matrix, diag(u) as u."""
        if value.is_outer:
            return self.acting(value.at).matrix(value)
        (term, *rest) = value.terms
        if rest or term.u is None:
            raise self.error("this matrix multiplies nothing", value.at, "S_{t-1} (I - k_t k_t^T)")
        diagonal = self.acting(value.at).product(*term.factors, term.u)
        return diagonal if term.sign == "+" else cell.Negative(diagonal, self.place(value.at))

    def added(self, value: Matrix) -> cell.Node:
        """Parameters with several axes that meet element by element."""
        acting = self.acting(value.at)
        parts = []
        for sign, factors, symbol in value.terms:
            assert symbol is not None
            name = cell.Name(self.parameter(symbol), self.place(symbol.at))
            parts.append((sign, acting.product(*factors, name)))
        return acting.signed(parts)

    def acting(self, at: int) -> Acting:
        return Acting(self.place(at), self.along)

    def matrices(self) -> frozenset[str]:
        """Arrays with two axes."""
        return frozenset(name for name, axes in self.ranks.items() if axes > 1)

    def rank(self, node: cell.Node) -> int:
        return rank(node, self.ranks)

    def no_matrix(self, node: Node) -> cell.Node:
        """A vector or a number, for a fraction or a power, where a matrix would become a vector."""
        value = self.value(node)
        single = isinstance(value, Matrix) and len(value.terms) == 1 and not self.printed
        if single and isinstance(value, Matrix) and value.terms[0][2] is not None:
            name = self.roles.name(value.terms[0][2].key)
            raise self.error(
                f"the matrix '{name}' stands in a fraction or a power", value.at,
                "\\frac{1}{2} W x_t", f"for a vector: --as {name}=vector",
            )  # fmt: skip
        return self.as_vector(value, node.at)

    def value(self, node: Node) -> Value:
        if isinstance(node, Symbol):
            return self.symbol(node, called=False)
        if isinstance(node, Number):
            return cell.Number(node.text.removeprefix("-"), self.place(node.at)) if not (
                node.text.startswith("-")
            ) else cell.Negative(
                cell.Number(node.text[1:], self.place(node.at)), self.place(node.at)
            )  # fmt: skip
        if isinstance(node, Function):
            return Called(node.name, node.at)
        if isinstance(node, Sum):
            return self.sum(node)
        if isinstance(node, Product):
            return Products(self).product(node)
        if isinstance(node, Fraction):
            above, below = self.no_matrix(node.above), self.no_matrix(node.below)
            return cell.Binary("/", above, below, self.place(node.at))
        if isinstance(node, Power):
            return self.power(node)
        if isinstance(node, Around):
            return cell.Call(node.function, (self.vector(node.inner),), self.place(node.at))
        if isinstance(node, Cases):
            return self.cases(node)
        return self.group(node)

    def symbol(self, symbol: Symbol, *, called: bool) -> Value:
        key, place = symbol.key, self.place(symbol.at)
        if key in self.bound:
            return self.bound[key]
        function = self.roles.function(symbol, called=called)
        if function is not None:
            if isinstance(function, str) and not self.roles.is_certain(symbol):
                shown = name_of(key)
                self.note(f"{shown}(...) is taken for {function};  --as {shown}=relu  for another")
            return Called(function, symbol.at)
        if key in self.roles.arrays:
            array = self.array(symbol, place)
            return self.transposed(array, symbol.at) if symbol.transposed else array
        if symbol.base == "pi" and not symbol.parts:
            return cell.Number("3.141592653589793", place)
        if (told := self.roles.told.get(self.roles.name(key))) and told[0] in "-.0123456789":
            return cell.Name(self.roles.name(key), place)
        if self.roles.is_matrix_like(symbol):
            return Matrix((("+", (), symbol),), symbol.at)
        vector = cell.Name(self.parameter(symbol), place)
        if symbol.base in SMALL_MATRICES and key not in self.roles.shaped:
            self.small[vector.name] = symbol
        return Row(vector, symbol.at) if symbol.transposed else vector

    def parameter(self, symbol: Symbol) -> str:
        name = self.roles.name(symbol.key)
        return self.roles.fresh(f"{name}_{self.gate}") if self.gate else name

    def array(self, symbol: Symbol, place: Place) -> cell.Node:
        assert self.equation is not None
        key, roles = symbol.key, self.roles
        lag = roles.lag(symbol, self.equation) + roles.shifts.get(key, 0)
        name = roles.name(key)
        if lag > 0:
            raise self.error(
                f"'{name}' is read at a step that comes later", symbol.at, None,
                "a cell reads its inputs of this step and its states of the one before",
            )  # fmt: skip
        if lag == 0:
            if roles.is_state(key):
                return cell.Name(next_of(name), place, primed=True)
            return cell.Name(name, place)
        if key in roles.defined and lag == -1:
            return cell.Name(name, place)
        steps = -lag - (key in roles.defined)
        self.delays[key] = max(steps, self.delays.get(key, 0))
        return cell.Name(delayed(roles, key, steps), place)

    def sum(self, node: Sum) -> Value:
        matrix = self.matrix_sum(node)
        if matrix is not None:
            return matrix
        values = [(sign, self.value(term), term) for sign, term in node.terms]
        if (operator := self.operator_sum(values, node.at)) is not None:
            return operator
        found: cell.Node | None = None
        for sign, part, term in values:
            value = self.as_vector(part, term.at)
            place = self.place(term.at)
            if found is None:
                found = value if sign == "+" else cell.Negative(value, place)
            else:
                found = cell.Binary(sign, found, value, place)
        assert found is not None
        return found

    def operator_sum(self, values: Sequence[tuple[str, Value, Node]], at: int) -> Operator | None:
        """`I - k k^T` and `diag(w) - k a^T`; None where the sum is an array by itself."""
        terms: list[Term] = []
        for sign, value, _ in values:
            if isinstance(value, Matrix) and len(value.terms) == 1 and self.is_unit(value):
                terms.append(replace(IDENTITY, sign=sign, factors=value.terms[0][1]))
            elif isinstance(value, Operator):
                turned = {"+": "-", "-": "+"} if sign == "-" else {"+": "+", "-": "-"}
                terms += [replace(t, sign=turned[t.sign]) for t in value.terms]
            elif self.is_number(value) and any(isinstance(v, Operator) for _, v, _ in values):
                terms.append(replace(IDENTITY, sign=sign, factors=(self.as_vector(value, at),)))
            else:
                return None
        found = Operator(tuple(terms), at)
        return None if found.is_outer else found

    def is_number(self, value: Value) -> bool:
        """Whether a term is a number that changes, which stands for itself times I beside a matrix.
        A plain 1 is a matrix of ones."""
        return not isinstance(value, cell.Number) and Products(self).is_number(value)

    def is_unit(self, value: Matrix) -> bool:
        symbol = value.terms[0][2]
        return symbol is None or (symbol.base == "I" and not symbol.parts)

    def matrix_sum(self, node: Sum) -> Matrix | None:
        """`W - W^T - \\gamma I` as a matrix; None if a term is none."""
        terms = []
        for sign, term in node.terms:
            factors = [f for _, f in term.factors] if isinstance(term, Product) else [term]
            *before, last = factors
            if not isinstance(last, Symbol) or not self.roles.is_matrix_like(last):
                return None
            inner = [s for f in before for s in symbols(f)]
            if any(s.key in self.roles.arrays or self.roles.is_matrix_like(s) for s in inner):
                return None
            unit = last.base == "I" and not last.parts
            scalars = tuple(self.vector(f) for f in before)
            terms.append((sign, scalars, None if unit else last))
        is_one = any(symbol is not None and symbol.transposed for _, _, symbol in terms) or any(
            symbol is None for _, _, symbol in terms
        )
        return Matrix(tuple(terms), node.at) if is_one or len(terms) > 1 else None

    def power(self, node: Power) -> Value:
        place = self.place(node.at)
        e = ("e", (), ())
        if isinstance(node.base, Symbol) and node.base.key == e and e not in self.roles.arrays:
            return cell.Call("exp", (self.vector(node.exponent),), place)
        base = self.value(node.base)
        if isinstance(base, Matrix):
            self.no_matrix(node.base)
        if isinstance(base, Called):
            return replace(base, power=node.exponent)
        return self.raised_to(self.as_vector(base, node.at), node.exponent, node.at)

    def raised_to(self, base: cell.Node, power: Node, at: int) -> cell.Node:
        """base**power; a power that is no number is exp(power * log(base))."""
        place, exponent = self.place(at), self.vector(power)
        if is_number(power):
            return cell.Binary("**", base, exponent, place)
        logarithm = cell.Call("log", (base,), place)
        return cell.Call("exp", (cell.Binary("*", exponent, logarithm, place),), place)

    def cases(self, node: Cases) -> cell.Node:
        *rows, (last, conditions) = node.rows
        if conditions and not rows:
            raise self.error("the other case is missing", node.at, "\\text{otherwise}")
        self.covered(node)
        found = self.vector(last)
        for value, conditions in reversed(rows):
            if not conditions:
                raise self.error("'otherwise' stands last", value.at)
            chosen = self.vector(value)
            for condition in reversed(conditions):
                chosen = self.where(condition, chosen, found)
            found = chosen
        return found

    def covered(self, node: Cases) -> None:
        """The last of two cases holds wherever the first does not."""
        (_, first), (_, last) = node.rows[0], node.rows[-1]
        if len(node.rows) != 2 or len(first) != 1 or len(last) != 1:
            return
        (one,), (other,) = first, last
        mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
        opposite = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
        wanted = opposite[one.relation]
        straight = (other.relation, other.left, other.right) == (wanted, one.left, one.right)
        crossed = (other.relation, other.left, other.right) == (
            mirrored[wanted], one.right, one.left,
        )  # fmt: skip
        if not (straight or crossed):
            raise self.error(
                "the last case does not hold wherever the first does not", other.at,
                "\\text{otherwise}",
            )  # fmt: skip

    def where(self, condition: Condition, chosen: cell.Node, other: cell.Node) -> cell.Node:
        place = self.place(condition.at)
        left, right = self.vector(condition.left), self.vector(condition.right)
        compared = cell.Compare(condition.relation, left, right, place)
        return cell.Call("where", (compared, chosen, other), place)

    def group(self, node: Group) -> Value:
        if len(node.items) == 1:
            value = self.value(node.items[0])
            return self.transposed(value, node.at) if node.transposed else value
        # [x^T, h^T]^T joins x and h.
        items = tuple(self.value(item) for item in node.items)
        return Columns(items, self.part_names(node.items), node.at)

    def transposed(self, value: Value, at: int) -> Value:
        if isinstance(value, Matrix):
            flipped = [
                (sign, factors, None if s is None else replace(s, transposed=not s.transposed))
                for sign, factors, s in value.terms
            ]
            return replace(value, terms=tuple(flipped))
        if isinstance(value, Operator):
            return value.transposed()
        if not isinstance(value, Row | Columns | Called) and self.rank(value) > 1:
            place = self.place(at)
            return (
                value.matrix if isinstance(value, cell.Transpose) else cell.Transpose(value, place)
            )
        return value.vector if isinstance(value, Row) else Row(self.as_vector(value, at), at)

    def part_names(self, items: Sequence[Node]) -> tuple[str, ...]:
        """How the parts of a matrix are called that is split: by the arrays it meets."""
        found = []
        for k, item in enumerate(items):
            arrays = [s for s in symbols(item) if s.key in self.roles.arrays]
            earlier = [s for s in arrays if s.time is not None and s.time < 0]
            chosen = earlier or arrays
            name = self.roles.name(chosen[-1].key) if chosen else str(k + 1)
            found.append(name if name not in found else f"{name}{k + 1}")
        return tuple(found)


def delayed(roles: Roles, key: Key, steps: int) -> str:
    """The state that holds what an array was `steps` steps ago."""
    suffix = "before" if steps == 1 else f"before{steps}"
    return roles.fresh(f"{roles.name(key)}_{suffix}")
