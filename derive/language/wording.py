"""One wording for mistakes that two checkers find: of cells of one width each, and of axes.

In: a Scope, an expression, and shapes.  Out: what is wrong, facts, hints.
Not here: finding mistakes (check_shapes.py, axes/shapes.py); mistakes that only one of the two can
find.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.scope import Scope
from derive.language.tree import Binary, Call, Name, Node, Transpose

VERBS = {"+": "adds", "-": "subtracts", "*": "multiplies", "/": "divides"}


def short(scope: Scope, node: Node) -> str:
    """An expression in a fact: a name as it is, another one in quotes, a long one cut off."""
    text = scope.text(node)
    text = text if len(text) <= 40 else text[:37] + "..."
    return text if isinstance(node, (Name, Call)) else f"'{text}'"


def sized(scope: Scope, node: Node, shape: Sequence[object]) -> str:
    """For example "h has width H" or "W is H x I"."""
    return f"{short(scope, node)} {of_size(shape)}"


def of_size(shape: Sequence[object]) -> str:
    return f"{'has width' if len(shape) == 1 else 'is'} {' x '.join(map(str, shape))}"


# --- what is wrong --------------------------------------------------------------------------


def different_width(scope: Scope, node: Node) -> str:
    verb = VERBS.get(node.operator, "joins") if isinstance(node, Binary) else "takes"
    return f"'{scope.text(node)}' {verb} arrays of different width"


def columns_and_vector(scope: Scope, node: Binary, columns: object, vector: object) -> str:
    return f"'{scope.text(node)}' multiplies {columns} columns with a vector of width {vector}"


def other_next(state: str, measure: str = "width") -> str:
    return f"the next value of '{state}' has another {measure} than '{state}'"


def unknown_shape(name: str, *, matrix: bool) -> str:
    return f"the shape of {'the matrix ' if matrix else ''}'{name}' cannot be inferred"


# --- what to type ---------------------------------------------------------------------------


def projected(scope: Scope, matrix: str, node: Node) -> str:
    return f"{scope.fresh(matrix)} @ {scope.bracketed(node)}"


def project(scope: Scope, node: Node, width: object) -> str:
    """To bring an operand to another width."""
    if not isinstance(node, Name):
        example = projected(scope, "W", node)
        return f"bring both to one width with a matrix, for example  {example}"
    target = scope.fresh(f"{node.name}_{str(width).lower()}" if str(width).isalnum() else "v")
    product = projected(scope, f"W_{node.name}", node)
    return f"project {node.name} first, for example  {target} = {product}"


def next_of_width(scope: Scope, state: str, expr: Node, shape: Sequence[object]) -> str:
    """For a next value of another width than its state."""
    if isinstance(expr, Name):
        return f"state {state}: {' x '.join(map(str, shape))}"
    return f"{state}' = {projected(scope, f'W_{state}', expr)}"


def other_matrix(scope: Scope, node: Binary, *, swapped: bool) -> str:
    """For a matrix whose columns are not as many as the vector is wide. swapped: its rows are."""
    matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
    if swapped:
        turned = matrix if isinstance(node.left, Transpose) else Transpose(matrix, node.place)
        return scope.text(Binary("@", turned, node.right, node.place))
    first = matrix.name if isinstance(matrix, Name) else "W"
    suffix = node.right.name if isinstance(node.right, Name) else "2"
    product = projected(scope, f"{first}_{suffix}", node.right)
    return f"{product}   with a matrix of its own"
