"""Widths of the arrays of a paper's equations, as general as the equations allow.

In: definitions in the language, what is an input, a state, a parameter, and shapes that the paper
gives.  Out: a shape for every input, state and parameter.
Not here: whether the shapes fit (language/check_shapes.py).

Arrays that meet element by element have one width; the columns of a matrix are the width of what it
multiplies. Each width that this leaves has a letter: I of inputs, H of states, then others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from derive.language.declaration import Definition, Dim
from derive.language.names import NEXT
from derive.language.tree import (
    Binary,
    Call,
    Name,
    Negative,
    Node,
    Number,
    Transpose,
    children,
)
from derive.symbolic import functions

_INPUTS, _STATES, _OTHERS = "I J K L", "H P Q R", "M N D E F G O S V X Y Z"
#: Functions whose result has width 1.
_SUMS = frozenset(functions.REDUCTIONS) - set(functions.KEEPING)

Shape = tuple[Dim, ...]


@dataclass(slots=True)
class _Classes:
    """Widths that are the same, by the names of arrays: W.0 and W.1 are a matrix's."""

    parent: dict[str, str] = field(default_factory=dict)
    matrices: dict[str, None] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)

    def find(self, name: str) -> str:
        root = self.parent.setdefault(name, name)
        while self.parent[root] != root:
            root = self.parent[root]
        return root

    def join(self, a: str | None, b: str | None) -> str | None:
        if a is None or b is None:
            return a or b
        a, b = self.find(a), self.find(b)
        self.parent[b] = a
        return a

    def of(self, node: Node) -> str | None:
        """The width of an expression; None where it is that of a number."""
        if isinstance(node, Name):
            name = node.name.removesuffix(NEXT) if node.primed else node.name
            return None if name in self.scalars else self.find(name)
        if isinstance(node, Number | Transpose):
            return None
        if isinstance(node, Negative):
            return self.of(node.operand)
        if isinstance(node, Binary) and node.operator == "@":
            return self.product(node)
        parts = children(node)
        found: str | None = None
        for part in parts:
            found = self.join(found, self.of(part))
        return None if isinstance(node, Call) and node.function in _SUMS else found

    def product(self, node: Binary) -> str:
        matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
        assert isinstance(matrix, Name)
        self.matrices[matrix.name] = None
        rows, columns = f"{matrix.name}.0", f"{matrix.name}.1"
        if isinstance(node.left, Transpose):
            rows, columns = columns, rows
        self.join(columns, self.of(node.right))
        return self.find(rows)


def shapes(
    definitions: Sequence[Definition],
    inputs: Sequence[str],
    states: Sequence[str],
    consts: Iterable[str],
    given: Mapping[str, Shape],
    late: Sequence[str] = (),
) -> dict[str, Shape]:
    """{name: shape} of inputs, states, parameters, and of what is defined as far as it is known.

    given: shapes as the paper prints them.
    late: states that hold what another array was."""
    classes = _Classes()
    classes.scalars = {*consts, *(name for name, shape in given.items() if shape == (1,))}
    for definition in definitions:
        target = definition.target.removesuffix(NEXT) if definition.primed else definition.target
        width = classes.of(definition.expr)
        if width is None and target not in (*states, *late):
            classes.scalars.add(target)
        elif target not in classes.scalars:
            classes.join(target, width)
    known = {definition.target for definition in definitions}
    params = [
        name
        for name in dict.fromkeys(_names(definitions))
        if name not in known and name not in inputs and name not in consts
        and name.removesuffix(NEXT) not in (*states, *late)
    ]  # fmt: skip
    letters = _letters(classes, inputs, states, params, given)

    def dim(name: str) -> Dim:
        return letters[classes.find(name)]

    found: dict[str, Shape] = {}
    for name in (*inputs, *states, *late, *params):
        if name in classes.scalars:
            found[name] = (1,)
        elif name in classes.matrices:
            found[name] = (dim(f"{name}.0"), dim(f"{name}.1"))
        else:
            found[name] = (dim(name),)
    for name in known - set(found):
        if name not in classes.scalars and classes.find(name) in letters:
            found[name] = (dim(name),)
    return found


def _names(definitions: Sequence[Definition]) -> Iterable[str]:
    from derive.language.tree import names_of

    for definition in definitions:
        yield from (name.name for name in names_of(definition.expr))


def _letters(
    classes: _Classes,
    inputs: Sequence[str],
    states: Sequence[str],
    params: Sequence[str],
    given: Mapping[str, Shape],
) -> dict[str, Dim]:
    """A dimension for each width: the paper's, where it gives one, else a letter."""
    printed: dict[Dim, str] = {}
    for name, shape in given.items():
        ends = [f"{name}.0", f"{name}.1"] if name in classes.matrices else [name]
        if len(ends) == len(shape) and name not in classes.scalars:
            for end, dim in zip(ends, shape, strict=True):
                printed[dim] = classes.join(printed.get(dim), end) or end
    letters = {classes.find(end): dim for dim, end in reversed(printed.items())}
    taken = set(letters.values())
    of_states = {classes.find(name) for name in states}
    matrix_ends = [f"{name}.{k}" for name in params if name in classes.matrices for k in (0, 1)]
    order = [
        *((name, _STATES if classes.find(name) in of_states else _INPUTS) for name in inputs),
        *((name, _STATES) for name in reversed(states)),
        *((name, _OTHERS) for name in (*matrix_ends, *params)),
    ]
    for name, pool in order:
        root = classes.find(name)
        if root not in letters:
            letter = next(x for x in (*pool.split(), *_OTHERS.split(), "D1", "D2", "D3", "D4", "D5")
                          if x not in taken)  # fmt: skip
            letters[root] = letter
            taken.add(letter)
    return letters
