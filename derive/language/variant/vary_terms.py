"""Single expressions, changed: a factor taken out, a parameter that is zero, another function.

In: a tree.  Out: a tree.
Not here: which expressions change (vary.py).
"""

from __future__ import annotations

from dataclasses import replace

from derive.errors import ArgumentError, Place
from derive.language.tree import (
    Binary,
    Call,
    Cut,
    Name,
    Negative,
    Node,
    Number,
    Part,
    Transpose,
    children,
    mapped,
    walk,
)
from derive.symbolic import functions

#: The functions of one argument that may stand for each other.
FUNCTIONS: tuple[str, ...] = (
    *(name for name, rule in functions.RULES.items() if rule.public and rule.arity == 1),
    "sqrt",
)
_NOWHERE = Place("<varied>", 1, 1, "")


def functions_in(node: Node) -> list[str]:
    """The functions of one argument that occur, each once, in order of reading."""
    found = (part.function for part in walk(node) if isinstance(part, Call))
    return [name for name in dict.fromkeys(found) if name in FUNCTIONS]


def swapped(node: Node, old: str, new: str) -> Node:
    """`new` in place of `old`; identity leaves the argument."""
    node = mapped(node, lambda part: swapped(part, old, new))
    if not isinstance(node, Call) or node.function != old:
        return node
    return node.args[0] if new == "identity" else replace(node, function=new)


def without_factor(node: Node, name: str) -> Node:
    """Without `name` wherever it is a factor of a product."""
    node = mapped(node, lambda part: without_factor(part, name))
    if isinstance(node, Binary) and node.operator in "*/":
        if isinstance(node.right, Name) and node.right.name == name:
            return node.left
        if node.operator == "*" and isinstance(node.left, Name) and node.left.name == name:
            return node.right
    return node


def zeroed(node: Node, name: str) -> Node | None:
    """With zero in place of `name`: its terms vanish. None is an expression that is zero."""
    if isinstance(node, Name):
        return None if node.name == name else node
    if isinstance(node, (Transpose, Cut, Part)) or _is_product_of_all(node):
        gone = any(zeroed(child, name) is None for child in children(node))
        return None if gone else mapped(node, lambda part: zeroed(part, name) or part)
    if isinstance(node, Negative):
        inner = zeroed(node.operand, name)
        return None if inner is None else replace(node, operand=inner)
    if isinstance(node, Binary):
        return _zeroed_pair(node, zeroed(node.left, name), zeroed(node.right, name), name)
    zero = Number("0", _NOWHERE)
    return mapped(node, lambda part: zeroed(part, name) or zero)


def _is_product_of_all(node: Node) -> bool:
    """Whether a function of whole arrays is zero where one of its arguments is."""
    return isinstance(node, Call) and node.function in ("outer", "diag")


def _zeroed_pair(node: Binary, left: Node | None, right: Node | None, name: str) -> Node | None:
    if left is not None and right is not None:
        return replace(node, left=left, right=right)
    if node.operator == "+":
        return right if left is None else left
    if node.operator == "-":
        return left if right is None else Negative(right, node.place)
    if right is None and node.operator == "/":
        raise ArgumentError(f"without '{name}' there is a division by zero")
    return None
