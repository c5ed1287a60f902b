"""The expressions of a cell as a tree, in the author's order, and their canonical text.

In: nodes.  Out: text that reads back as the same tree.
Not here: reading text (parse_expression.py), meaning (check_shapes.py), SymPy (to_sympy.py).

Nodes compare by content; where they stood in the file does not count. The tree is a copy of
Python's `ast` with exact numbers and places: `ast` itself rounds 0.1, is mutable and compares
by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from derive.errors import Place
from derive.widths import Dim


@dataclass(frozen=True, slots=True)
class Number:
    text: str
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A name; `h'` is Name("h_next", primed=True), which equals Name("h_next")."""

    name: str
    place: Place = field(compare=False, repr=False)
    primed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Transpose:
    """A matrix with its last two axes swapped; left of @ that of a name, in plain cells."""

    matrix: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """operator is one of + - * / @ **"""

    operator: str
    left: Node
    right: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """operator is one of < <= > >= == !=; only ever the first argument of `where`."""

    operator: str
    left: Node
    right: Node
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """axis: of a reduction that names one, or the width of `eye`.  eps: of `layer_norm`."""

    function: str
    args: tuple[Node, ...]
    place: Place = field(compare=False, repr=False)
    axis: Dim | None = None
    eps: Node | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """array[start:stop], along the last axis; None is the beginning, or the end."""

    array: Node
    start: Dim | None
    stop: Dim | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """One of `count` equal parts of an array: what a name of `a, b = split(v, 2)` stands for."""

    array: Node
    index: int
    count: int
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Split:
    """split(array, count), as it is read: all of a definition with several names."""

    array: Node
    count: int
    place: Place = field(compare=False, repr=False)


Node = Number | Name | Transpose | Negative | Binary | Compare | Call | Cut | Part | Split

_COMPARE, _ADD, _MULTIPLY, _NEGATE, _POWER, _ATOM = range(6)
_PRECEDENCE = {
    "+": _ADD,
    "-": _ADD,
    "*": _MULTIPLY,
    "/": _MULTIPLY,
    "@": _MULTIPLY,
    "**": _POWER,
}


def children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Call):
        return node.args
    if isinstance(node, (Binary, Compare)):
        return (node.left, node.right)
    if isinstance(node, Negative):
        return (node.operand,)
    if isinstance(node, Transpose):
        return (node.matrix,)
    if isinstance(node, (Cut, Part, Split)):
        return (node.array,)
    return ()


def mapped(node: Node, change: Callable[[Node], Node]) -> Node:
    """The node with every child changed."""
    if isinstance(node, Call):
        return replace(node, args=tuple(change(arg) for arg in node.args))
    if isinstance(node, (Binary, Compare)):
        return replace(node, left=change(node.left), right=change(node.right))
    if isinstance(node, Negative):
        return replace(node, operand=change(node.operand))
    if isinstance(node, Transpose):
        return replace(node, matrix=change(node.matrix))
    if isinstance(node, (Cut, Part, Split)):
        return replace(node, array=change(node.array))
    return node


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of reading."""
    if isinstance(node, (Binary, Compare)):
        yield from walk(node.left)
        yield node
        yield from walk(node.right)
        return
    yield node
    for child in children(node):
        yield from walk(child)


def quote(name: str) -> str:
    """A name in a message: quoted, unless its prime does that already."""
    return name if name.endswith("'") else f"'{name}'"


def names_of(node: Node) -> Iterator[Name]:
    return (part for part in walk(node) if isinstance(part, Name))


def to_text(node: Node, states: frozenset[str] = frozenset()) -> str:
    """Canonical text. The next value of a name in `states` is spelled with a prime."""
    return _print(node, _COMPARE, states)


def name_to_text(name: str, states: frozenset[str]) -> str:
    base = name.removesuffix("_next")
    return f"{base}'" if base != name and base in states else name


def _print(node: Node, least: int, states: frozenset[str]) -> str:
    """The text of `node`, in brackets if it binds less tightly than `least`."""
    text, precedence = _print_bare(node, states)
    return text if precedence >= least else f"({text})"


def _print_bare(node: Node, states: frozenset[str]) -> tuple[str, int]:
    if isinstance(node, Number):
        return node.text, _ATOM
    if isinstance(node, Name):
        if node.primed:
            return node.name.removesuffix("_next") + "'", _ATOM
        return name_to_text(node.name, states), _ATOM
    if isinstance(node, Transpose):
        return _print(node.matrix, _ATOM, states) + ".T", _ATOM
    if isinstance(node, Call):
        args = [_print(arg, _COMPARE, states) for arg in node.args]
        args += [] if node.axis is None else [str(node.axis)]
        args += [] if node.eps is None else [f"eps={_print(node.eps, _ADD, states)}"]
        return f"{node.function}({', '.join(args)})", _ATOM
    if isinstance(node, Cut):
        array = _print(node.array, _ATOM, states)
        stop = "" if node.stop is None else node.stop
        return f"{array}[{node.start or 0}:{stop}]", _ATOM
    if isinstance(node, Part):
        array = _print(node.array, _COMPARE, states)
        return f"split({array}, {node.count})[{node.index}]", _ATOM
    if isinstance(node, Split):
        return f"split({_print(node.array, _COMPARE, states)}, {node.count})", _ATOM
    if isinstance(node, Negative):
        return "-" + _print(node.operand, _NEGATE, states), _NEGATE
    if isinstance(node, Compare):
        left, right = (_print(side, _ADD, states) for side in (node.left, node.right))
        return f"{left} {node.operator} {right}", _COMPARE
    if node.operator == "**":
        # Python: tighter than a minus on its left, looser than one on its right.
        left = _print(node.left, _ATOM, states)
        return f"{left}**{_print(node.right, _NEGATE, states)}", _POWER
    precedence = _PRECEDENCE[node.operator]
    left = _print(node.left, precedence, states)
    right = _print(node.right, precedence + 1, states)
    return f"{left} {node.operator} {right}", precedence
