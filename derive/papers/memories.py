r"""Which arrays of a paper are matrices: `S_t = f_t S_{t-1} + v_t k_t^\top`.

In: equations, roles.  Out: how many axes each name has; whether vectors are rows.
Not here: products with such arrays (products.py, operators.py), their widths (widths.py).

Papers write vectors as columns, `v k^\top` and `S q`, or as rows, `k^\top v` and `q S`. A product
`k^\top v` is a matrix where vectors are rows, and a number where they are columns. They are rows
where a state is read as `q S`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from derive.errors import CellError
from derive.language import tree as cell
from derive.language.names import NEXT
from derive.papers.roles import Equation, Roles
from derive.papers.tree import Group, Node, Product, Sum, Symbol, walk
from derive.symbolic import functions

#: Greek letters that papers use for gates of one number.
SCALARS = frozenset("alpha beta gamma delta eta theta lambda zeta mu epsilon".split())
_DROPPING = frozenset(functions.REDUCTIONS) - set(functions.KEEPING)


def rank(node: cell.Node, ranks: Mapping[str, int]) -> int:
    """The number of axes of an expression."""
    if isinstance(node, cell.Name):
        name = node.name.removesuffix(NEXT) if node.primed else node.name
        return ranks.get(name, 1)
    if isinstance(node, cell.Number):
        return 0
    if isinstance(node, cell.Transpose):
        return rank(node.matrix, ranks)
    if isinstance(node, cell.Binary) and node.operator == "@":
        return max(rank(node.left, ranks) - 1, rank(node.right, ranks))
    if isinstance(node, cell.Call) and node.function == "outer":
        return max(rank(node.args[0], ranks), rank(node.args[1], ranks)) + 1
    most = max((rank(part, ranks) for part in cell.children(node)), default=0)
    if isinstance(node, cell.Call) and node.function in _DROPPING:
        return max(most - 1, 0)
    return most


def settled(
    equations: Sequence[Equation],
    roles: Roles,
    known: Mapping[str, int],
    rows: bool,
    translate: Callable[[Mapping[str, int], Equation, int], cell.Node],
) -> dict[str, int]:
    """{name: its number of axes}. known: of names whose shape is printed.

    Each round translates all equations with what the rounds before found; an equation that cannot
    be read yet says nothing.
    """
    ranks = {**dict.fromkeys(stored_outer_products(equations, roles, rows), 2), **known}
    for _ in range(len(equations) + 2):
        found = dict(known)
        for equation in equations:
            for row, symbol in enumerate(equation.left):
                name = roles.name(symbol.key)
                if name in known:
                    continue
                try:
                    found[name] = rank(translate(ranks, equation, row), ranks)
                except CellError:
                    if name in ranks:
                        found[name] = ranks[name]
                found[name] = max(found.get(name, 1), 1 if roles.is_state(symbol.key) else 0)
        if found == ranks:
            break
        ranks = found
    return ranks


def stored_outer_products(equations: Sequence[Equation], roles: Roles, rows: bool) -> Iterator[str]:
    r"""Names of states to which a product is added that ends in `v k^\top`, or `k^\top v`."""
    for equation in equations:
        terms = [t for _, t in equation.right.terms] if isinstance(equation.right, Sum) else []
        for term in (*terms, equation.right):
            if not isinstance(term, Product) or not roles.is_state(equation.left[0].key):
                continue
            if equation.left[0].base[0].isupper() and any(sign == "x" for sign, _ in term.factors):
                yield roles.name(equation.left[0].key)
            last = term.factors[-1][1]
            if rows and len(term.factors) > 1:
                last = term.factors[-2][1]
            array = isinstance(last, Symbol) and last.key in roles.arrays
            if (
                isinstance(last, Group | Symbol)
                and last.transposed
                and (array or isinstance(last, Group))
            ):
                yield roles.name(equation.left[0].key)


def vectors_are_rows(equations: Sequence[Equation], roles: Roles) -> bool:
    """Whether a state is read as `q S`, and never as `S q`, beside products `k^T v`."""
    rows = columns = products = False
    for equation in equations:
        own = {symbol.key for symbol in equation.left}
        for a, b in _neighbours(equation.right):
            if a.transposed and not b.transposed and {a.key, b.key} <= roles.arrays:
                products = products or not (roles.is_state(a.key) or roles.is_state(b.key))
            if a.key in own or b.key in own or a.transposed:
                continue
            rows = rows or (a.key in roles.arrays and _is_memory(b, roles))
            columns = columns or (_is_memory(a, roles) and b.key in roles.arrays)
    return rows and products and not columns


def _is_memory(symbol: Symbol, roles: Roles) -> bool:
    name = symbol.base[0].isupper() or len(symbol.base) > 1
    return symbol.key in roles.defined and name


def _neighbours(node: Node) -> Iterator[tuple[Symbol, Symbol]]:
    for part in walk(node):
        if isinstance(part, Product):
            for (_, a), (sign, b) in zip(part.factors, part.factors[1:], strict=False):
                if sign in ("", ".") and isinstance(a, Symbol) and isinstance(b, Symbol):
                    yield a, b
