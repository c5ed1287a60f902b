r"""Matrices that a paper writes out: `I - \beta k k^\top`, `\mathrm{diag}(w)`, `v k^\top`.

In: vectors.  Out: `Operator`, and what it makes of a vector, a matrix or another Operator.
Not here: matrices that are parameters (values.py), where factors stand (products.py).

The language multiplies a matrix and a vector, never two matrices. So S (I - b k k^T) becomes
S - b outer(S @ k, k): each term of an Operator acts by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from derive.errors import Place
from derive.language import tree as cell


@dataclass(frozen=True, slots=True)
class Term:
    """sign * factors * u v^T, or the diagonal matrix of u where v is None, or I where both are.

    factors: numbers, one a row.
    """

    sign: str = "+"
    factors: tuple[cell.Node, ...] = ()
    u: cell.Node | None = None
    v: cell.Node | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    terms: tuple[Term, ...]
    at: int

    @property
    def is_outer(self) -> bool:
        """Whether it is a sum of outer products, and so may be stored."""
        return all(term.v is not None for term in self.terms)

    def times(self, factor: cell.Node) -> Operator:
        return replace(
            self, terms=tuple(replace(t, factors=(factor, *t.factors)) for t in self.terms)
        )

    def transposed(self) -> Operator:
        turned = (t if t.v is None else replace(t, u=t.v, v=t.u) for t in self.terms)
        return replace(self, terms=tuple(turned))


def diagonal(u: cell.Node, at: int) -> Operator:
    return Operator((Term(u=u),), at)


def outer(u: cell.Node, v: cell.Node, at: int) -> Operator:
    return Operator((Term(u=u, v=v),), at)


IDENTITY = Term()


@dataclass(frozen=True, slots=True)
class Acting:
    """Expressions of one place. along: (vector, matrix, axis on which the vector lies)."""

    place: Place
    along: list[tuple[cell.Node, cell.Node, int]]

    def product(self, *factors: cell.Node) -> cell.Node:
        found, *rest = factors
        for factor in rest:
            found = cell.Binary("*", found, factor, self.place)
        return found

    def signed(self, parts: Iterable[tuple[str, cell.Node]]) -> cell.Node:
        found: cell.Node | None = None
        for sign, part in parts:
            if found is None:
                found = part if sign == "+" else cell.Negative(part, self.place)
            else:
                found = cell.Binary(sign, found, part, self.place)
        assert found is not None
        return found

    def dot(self, u: cell.Node, v: cell.Node) -> cell.Node:
        return cell.Call("sum", (self.product(u, v),), self.place)

    def outer(self, u: cell.Node, v: cell.Node) -> cell.Node:
        return cell.Call("outer", (u, v), self.place)

    def matrix(self, operator: Operator) -> cell.Node:
        """A sum of outer products as a matrix."""
        parts = []
        for term in operator.terms:
            assert term.u is not None and term.v is not None
            parts.append((term.sign, self.product(*term.factors, self.outer(term.u, term.v))))
        return self.signed(parts)

    def on_vector(self, operator: Operator, x: cell.Node) -> cell.Node:
        """operator x."""
        return self._applied(
            operator,
            x,
            lambda u: self.product(u, x),
            lambda u, v: self.product(self.dot(v, x), u),
        )

    def on_matrix(self, operator: Operator, S: cell.Node) -> cell.Node:
        """operator S."""
        return self._applied(
            operator,
            S,
            lambda u: self.scaled(u, S, 0),
            lambda u, v: self.outer(u, self.read_back(S, v)),
        )

    def after_matrix(self, S: cell.Node, operator: Operator) -> cell.Node:
        """S operator."""
        return self._applied(
            operator,
            S,
            lambda u: self.scaled(u, S, 1),
            lambda u, v: self.outer(cell.Binary("@", S, u, self.place), v),
        )

    def _applied(
        self,
        operator: Operator,
        whole: cell.Node,
        diagonal: Callable[[cell.Node], cell.Node],
        rank_one: Callable[[cell.Node, cell.Node], cell.Node],
    ) -> cell.Node:
        """The sum over terms: what I, the diagonal matrix of u, and u v^T make of `whole`."""
        parts = []
        for term in operator.terms:
            if term.u is None:
                value = whole
            elif term.v is None:
                value = diagonal(term.u)
            else:
                value = rank_one(term.u, term.v)
            parts.append((term.sign, self.product(*term.factors, value)))
        return self.signed(parts)

    def scaled(self, u: cell.Node, S: cell.Node, axis: int) -> cell.Node:
        """Each row of S (axis 0) or each column (axis 1) times its number."""
        self.along.append((u, S, axis))
        return cell.Binary("*", u, S, self.place)

    def read_back(self, S: cell.Node, v: cell.Node) -> cell.Node:
        """v^T S, as a vector."""
        turned = S.matrix if isinstance(S, cell.Transpose) else cell.Transpose(S, self.place)
        return cell.Binary("@", turned, v, self.place)

    def composed(self, a: Operator, b: Operator) -> Operator:
        """a b."""
        return Operator(tuple(self._terms(one, two) for one in a.terms for two in b.terms), a.at)

    def _terms(self, a: Term, b: Term) -> Term:
        sign = "+" if a.sign == b.sign else "-"
        factors = (*a.factors, *b.factors)
        if a.u is None or b.u is None:
            other = b if a.u is None else a
            return Term(sign, factors, other.u, other.v)
        if a.v is None:
            return Term(sign, factors, self.product(a.u, b.u), b.v)
        if b.v is None:
            return Term(sign, factors, a.u, self.product(a.v, b.u))
        return Term(sign, (*factors, self.dot(a.v, b.u)), a.u, b.v)
