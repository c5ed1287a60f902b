"""Widths of the arrays of a paper's equations, as general as the equations allow.

In: definitions in the language, what is an input, a state, a parameter, and shapes that the paper
gives.  Out: a shape for every input, state and parameter.
Not here: whether the shapes fit (language/check_shapes.py).

Arrays that meet element by element have one width; the columns of a matrix are the width of what it
multiplies. Each width that this leaves has a letter: I of inputs, H of states, then others.
"""

from __future__ import annotations

from collections import Counter
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
    """Widths that are the same, by the names of arrays: W.0 and W.1 are a matrix's.

    arrays: those with two axes.  loose: widths of vectors that multiply a matrix as they are.
    """

    parent: dict[str, str] = field(default_factory=dict)
    matrices: dict[str, None] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    arrays: frozenset[str] = frozenset()
    loose: set[str] = field(default_factory=set)

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

    def axes(self, node: Node) -> tuple[str, ...]:
        """The widths of the axes of an expression; none of a number."""
        if isinstance(node, Name):
            name = node.name.removesuffix(NEXT) if node.primed else node.name
            if name in self.scalars:
                return ()
            if name in self.arrays:
                return self.find(f"{name}.0"), self.find(f"{name}.1")
            return (self.find(name),)
        if isinstance(node, Number):
            return ()
        if isinstance(node, Transpose):
            return self.axes(node.matrix)[::-1]
        if isinstance(node, Negative):
            return self.axes(node.operand)
        if isinstance(node, Binary) and node.operator == "@":
            return self.product(node)
        if isinstance(node, Call) and node.function == "outer":
            return tuple(axis for part in node.args for axis in self.axes(part)[-1:])
        found: tuple[str, ...] = ()
        parts = [self.axes(part) for part in children(node)]
        for axes in parts:
            if len(axes) == len(found):
                for a, b in zip(found, axes, strict=True):
                    self.join(a, b)
            found = max(found, axes, key=len)
        if len(found) > 1:
            self.loose |= {axis for axes in parts if len(axes) == 1 for axis in axes}
        return found[:-1] if isinstance(node, Call) and node.function in _SUMS else found

    def product(self, node: Binary) -> tuple[str, ...]:
        matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
        left: tuple[str, ...]
        if isinstance(matrix, Name) and matrix.name.removesuffix(NEXT) not in self.arrays:
            self.matrices[matrix.name] = None
            left = f"{matrix.name}.0", f"{matrix.name}.1"
            left = left[::-1] if isinstance(node.left, Transpose) else left
        else:
            left = self.axes(node.left)
        right = self.axes(node.right)
        if left and right:
            self.join(left[-1], right[-1])
        return (*(self.find(axis) for axis in left[:-1]), *right[:-1])


def shapes(
    definitions: Sequence[Definition],
    inputs: Sequence[str],
    states: Sequence[str],
    consts: Iterable[str],
    given: Mapping[str, Shape],
    late: Sequence[str] = (),
    arrays: frozenset[str] = frozenset(),
    along: Sequence[tuple[Node, Node, int]] = (),
) -> dict[str, Shape]:
    """{name: shape} of inputs, states, parameters, and of what is defined as far as it is known.

    given: shapes as the paper prints them.
    late: states that hold what another array was.  arrays: those with two axes.
    along: vectors that scale a matrix along one of its axes."""
    classes = _Classes(arrays=arrays)
    classes.scalars = {*consts, *(name for name, shape in given.items() if shape == (1,))}
    arrays_of_step = {*inputs, *states, *late, *(d.target for d in definitions)}
    classes.scalars |= _numbers(definitions, arrays_of_step)
    for definition in definitions:
        target = definition.target.removesuffix(NEXT) if definition.primed else definition.target
        axes = classes.axes(definition.expr)
        if not axes and target not in (*states, *late):
            classes.scalars.add(target)
        elif target in arrays:
            for k, axis in enumerate(axes if len(axes) == 2 else ()):
                classes.join(f"{target}.{k}", axis)
        elif target not in classes.scalars:
            classes.join(target, axes[-1] if axes else None)
    for vector, matrix, lies in along:
        own, whole = classes.axes(vector), classes.axes(matrix)
        if own and len(whole) == 2:
            classes.join(whole[lies], own[-1])
            classes.loose -= set(own)
    known = {definition.target for definition in definitions}
    params = [
        name
        for name in dict.fromkeys(_names(definitions))
        if name not in known and name not in inputs and name not in consts
        and name.removesuffix(NEXT) not in (*states, *late)
    ]  # fmt: skip
    letters = _letters(classes, inputs, states, params, given)
    ends = {classes.find(f"{name}.{k}") for name in arrays for k in (0, 1)}
    for width in {classes.find(name) for name in classes.loose} - ends:
        letters[width] = 1  # one number a row, which scales the whole matrix

    def dim(name: str) -> Dim:
        return letters[classes.find(name)]

    found: dict[str, Shape] = {}
    for name in (*inputs, *states, *late, *params):
        if name in classes.scalars:
            found[name] = (1,)
        elif name in classes.matrices or name in arrays:
            found[name] = (dim(f"{name}.0"), dim(f"{name}.1"))
        else:
            found[name] = (dim(name),)
    for name in known - set(found):
        if name not in (*classes.scalars, *arrays) and classes.find(name) in letters:
            found[name] = (dim(name),)
    return found


def _numbers(definitions: Sequence[Definition], arrays: set[str]) -> set[str]:
    """Parameters that are numbers: b of `w^T x + b`, and d of a root alone, `1 / sqrt(d)`."""
    count = Counter(_names(definitions))
    found: set[str] = set()
    for definition in definitions:
        terms = _terms(definition.expr)
        if any(isinstance(t, Call) and t.function in _SUMS for t in terms):
            plain = [t.name for t in terms if isinstance(t, Name)]
            alone = [name for name in plain if name not in arrays and count[name] == 1]
            sums = [t for t in terms if isinstance(t, Call) and t.function in _SUMS]
            if len(alone) + len(sums) == len(terms):
                found |= set(alone)
        found |= {name for name in _under_roots(definition.expr) if name not in arrays}
    return found


def _terms(node: Node) -> list[Node]:
    if isinstance(node, Binary) and node.operator in "+-":
        return [*_terms(node.left), *_terms(node.right)]
    return [node]


def _under_roots(node: Node) -> Iterable[str]:
    """Names that are all that stands under a root of a divisor."""
    if isinstance(node, Binary) and node.operator == "/":
        below = node.right
        if isinstance(below, Call) and below.function == "sqrt" and isinstance(below.args[0], Name):
            yield below.args[0].name
    for part in children(node):
        yield from _under_roots(part)


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
        double = name in classes.matrices or name in classes.arrays
        ends = [f"{name}.0", f"{name}.1"] if double else [name]
        if len(ends) == len(shape) and name not in classes.scalars:
            for end, dim in zip(ends, shape, strict=True):
                printed[dim] = classes.join(printed.get(dim), end) or end
    letters = {classes.find(end): dim for dim, end in reversed(printed.items())}
    taken = set(letters.values())
    state_ends = [
        end
        for name in states
        for end in ([f"{name}.0", f"{name}.1"] if name in classes.arrays else [name])
    ]
    of_states = {classes.find(end) for end in state_ends}
    matrix_ends = [f"{name}.{k}" for name in params if name in classes.matrices for k in (0, 1)]
    order = [
        *((name, _STATES if classes.find(name) in of_states else _INPUTS) for name in inputs),
        *((end, _STATES) for end in reversed(state_ends)),
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
