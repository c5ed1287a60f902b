"""Whether a cell is checked as arrays with axes: all others are checked as arrays of one width.

It is where an array has axes or a width that is a sum, where arrays are cut, made into matrices or
reduced along an axis, and where something is fixed, given once or has a start value: only
language/axes knows these.

In: a Declaration.  Out: a bool.
Not here: any check.
"""

from __future__ import annotations

from derive.language.declaration import Declaration, Declared
from derive.language.tree import (
    Binary,
    Call,
    Cut,
    Name,
    Node,
    Part,
    Split,
    Transpose,
    children,
    names_of,
    walk,
)
from derive.symbolic import functions


def needs_axes(declaration: Declaration) -> bool:
    if declaration.fixed or any(declared.once for declared in declaration.inputs):
        return True
    if any(state.start is not None for state in declaration.states):
        return True
    groups = ((declaration.inputs, 1), (declaration.states, 1), (declaration.params, 2))
    if any(_has_axes(declared, plain) for group, plain in groups for declared in group):
        return True
    look = _Look(declaration)
    return any(look.at(definition.expr) for definition in declaration.definitions)


def _has_axes(declared: Declared, plain: int) -> bool:
    """Whether there are more than `plain` axes, or one is a sum."""
    shape = declared.shape or ()
    sums = any(isinstance(dim, str) and not dim.isidentifier() for dim in shape)
    return sums or len(shape) > plain


class _Look:
    def __init__(self, declaration: Declaration) -> None:
        self.rowwise = {
            *(declared.name for declared in (*declaration.inputs, *declaration.states)),
            *(definition.target for definition in declaration.definitions),
        }
        self.shaped = {declared.name for declared in declaration.params if declared.shape}
        self.declared = set(self.shaped)
        self.declared |= {const.name for const in declaration.consts}

    def at(self, node: Node, left: bool = False) -> bool:
        """Whether an expression holds what only language/axes knows. left: stands left of @."""
        if isinstance(node, (Cut, Part, Split)):
            return True
        if isinstance(node, Call):
            new = node.function in functions.OVER_AXES and node.function not in functions.RESERVED
            if new or node.axis is not None or node.eps is not None:
                return True
        if isinstance(node, Transpose):
            plain = isinstance(node.matrix, Name) and node.matrix.name not in self.shaped
            return not (plain or (left and isinstance(node.matrix, Name)))
        if isinstance(node, Binary) and node.operator == "@":
            made = not isinstance(node.left, (Name, Transpose)) and self.is_matrix(node.left)
            return made or self.at(node.left, left=True) or self.at(node.right)
        return any(self.at(child) for child in children(node))

    def is_matrix(self, node: Node) -> bool:
        """Whether an expression is made of parameters alone, so that it may be a matrix.

        `a * W @ x` is none: it is `a * (W @ x)` without its brackets, unless both are declared.
        """
        names = {name.name for name in names_of(node)}
        if not names or names & self.rowwise:
            return False
        scaled = any(
            isinstance(part, Binary) and part.operator in ("*", "/", "@") for part in walk(node)
        )
        return names <= self.declared or not scaled
