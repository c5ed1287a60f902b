"""What a formula consists of, before it is known what its symbols are.

In: nodes from the parser.  Out: immutable nodes, each with its place.
Not here: reading (parse.py), meaning (translate.py).

A product keeps its factors in a row with the signs between them: whether `W x` multiplies by a
matrix and whether `f(x)` calls a function depends on what `W` and `f` are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Symbol:
    r"""A letter or word with its marks: `\tilde{h}_{t-1}` is h, ("tilde",), time -1.

    parts: what stands in its sub- and superscripts besides the time.  time: 0 for t, -1 for t-1;
    None without.  start: the index 0, as in h_0.  transposed: an exponent of T.
    """

    base: str
    accents: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    time: int | None = None
    transposed: bool = False
    start: bool = False
    at: int = field(default=0, compare=False)

    @property
    def key(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What is the same symbol at another time."""
        return self.base, self.accents, self.parts


@dataclass(frozen=True, slots=True)
class Number:
    text: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Function:
    r"""A function by its name: \tanh, \operatorname{softplus}."""

    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Sum:
    """terms: (sign, term); sign is + or -."""

    terms: tuple[tuple[str, Node], ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Product:
    """factors: (sign before it, factor). The sign is "" between factors side by side, else one of
    . * / and o (a product element by element)."""

    factors: tuple[tuple[str, Node], ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Fraction:
    above: Node
    below: Node
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Power:
    base: Node
    exponent: Node
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Group:
    """What stands in brackets, separated by commas or semicolons, or below each other."""

    bracket: str
    items: tuple[Node, ...]
    transposed: bool = False
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Around:
    """|v|, floor(v) and roots, by the name of the function."""

    function: str
    inner: Node
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Condition:
    relation: str
    left: Node
    right: Node
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Cases:
    """(value, conditions that all hold); none is "otherwise"."""

    rows: tuple[tuple[Node, tuple[Condition, ...]], ...]
    at: int = field(default=0, compare=False)


Node = (
    Symbol | Number | Function | Sum | Product | Fraction | Power | Group | Around | Cases
)  # fmt: skip


def children(node: Node | Condition) -> tuple[Node | Condition, ...]:
    if isinstance(node, Sum):
        return tuple(term for _, term in node.terms)
    if isinstance(node, Product):
        return tuple(factor for _, factor in node.factors)
    if isinstance(node, Fraction):
        return node.above, node.below
    if isinstance(node, Power):
        return node.base, node.exponent
    if isinstance(node, Group):
        return node.items
    if isinstance(node, Around):
        return (node.inner,)
    if isinstance(node, Condition):
        return node.left, node.right
    if isinstance(node, Cases):
        return tuple(part for value, conditions in node.rows for part in (value, *conditions))
    return ()


def changed(node: Node, change: Callable[[Symbol], Node]) -> Node:
    """The node with every symbol changed."""
    if isinstance(node, Symbol):
        return change(node)
    if isinstance(node, Sum):
        return replace(node, terms=tuple((sign, changed(t, change)) for sign, t in node.terms))
    if isinstance(node, Product):
        factors = tuple((sign, changed(f, change)) for sign, f in node.factors)
        return replace(node, factors=factors)
    if isinstance(node, Fraction):
        return replace(node, above=changed(node.above, change), below=changed(node.below, change))
    if isinstance(node, Power):
        base, exponent = changed(node.base, change), changed(node.exponent, change)
        return replace(node, base=base, exponent=exponent)
    if isinstance(node, Group):
        return replace(node, items=tuple(changed(item, change) for item in node.items))
    if isinstance(node, Around):
        return replace(node, inner=changed(node.inner, change))
    if isinstance(node, Cases):
        return replace(
            node,
            rows=tuple(
                (changed(value, change), tuple(_compared(c, change) for c in conditions))
                for value, conditions in node.rows
            ),
        )
    return node


def _compared(condition: Condition, change: Callable[[Symbol], Node]) -> Condition:
    left, right = changed(condition.left, change), changed(condition.right, change)
    return replace(condition, left=left, right=right)


def walk(node: Node | Condition) -> Iterator[Node | Condition]:
    yield node
    for child in children(node):
        yield from walk(child)


def symbols(node: Node | Condition) -> Iterator[Symbol]:
    return (part for part in walk(node) if isinstance(part, Symbol))
