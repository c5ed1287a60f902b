"""A shape for every name and expression of a cell whose arrays have axes.

In: a Scope.  Out: `Shapes`: {name: shape}, and the shape of any expression; or what is wrong.
Not here: cells of one width each (language/infer_widths.py, language/check_shapes.py), where axes
are cut (cuts.py).

A shape is a tuple of widths; that of a number is (1,). Three kinds of knowledge, used in this
order until nothing changes:

1. What follows from shapes that are known.
2. A parameter of unknown shape has that of what it meets; left of @ it is a matrix between what
   it meets and what comes out; cut by `split`, it has all parts of what each part meets.
3. A parameter that meets arrays of width 1 only is a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.errors import CellError
from derive.language import names
from derive.language.axes.messages import Messages
from derive.language.constants import NotConstant, evaluate
from derive.language.scope import Kind, Scope
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Cut,
    Name,
    Negative,
    Node,
    Part,
    Split,
    Transpose,
    children,
)
from derive.symbolic import functions
from derive.widths import ONE, ZERO, Width

Shape = tuple[Width, ...]
SCALAR: Shape = (ONE,)
MAX_AXES = 3


def ways(shape: Shape, whole: Shape) -> list[tuple[int, ...]]:
    """All ways in which the axes of `shape` are, in this order, some of those of `whole`."""
    if shape == whole:
        return [tuple(range(len(whole)))]
    found: list[tuple[int, ...]] = [()]
    for width in shape:
        found = [
            (*place, k)
            for place in found
            for k in range(place[-1] + 1 if place else 0, len(whole))
            if whole[k] == width
        ]
    return found


class Shapes:
    """Shapes of names, as far as they are known; `settle` finds what can be found."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.say = Messages(scope, self)
        self.known: dict[str, Shape] = {}
        self.pushing = False
        self.scalars = False
        self.changed = False
        declaration = scope.declaration
        for name, shape in scope.shapes.items():
            self.known[name] = tuple(map(Width.of, shape))
        for state in declaration.states:
            if state.name in self.known:
                self.known[names.next_of(state.name)] = self.known[state.name]

    # --- inference --------------------------------------------------------------------------

    def settle(self) -> list[CellError]:
        """Infers what can be inferred; then all that is wrong."""
        while self._round() or self._widened():
            pass
        errors: list[CellError] = []
        for definition in self.scope.declaration.definitions:
            try:
                shape = self.of(definition.expr)
                self._check_target(definition.target, shape, definition.expr)
            except CellError as error:
                if str(error) not in map(str, errors):  # each name of a split says the same
                    errors.append(error)
        return errors

    def _round(self) -> bool:
        for self.pushing, self.scalars in ((False, False), (True, False), (True, True)):
            self.changed = False
            for definition in self.scope.declaration.definitions:
                target = definition.target
                try:
                    shape = self.of(definition.expr, self.known.get(target))
                except CellError:
                    continue
                if shape is not None and target not in self.known:
                    self.known[target] = shape
                    self.changed = True
            if self.changed:
                return True
        return False

    def _widened(self) -> bool:
        """Whether a definition has more axes than it seemed while an operand was unknown."""
        for definition in self.scope.declaration.definitions:
            known = self.known.get(definition.target)
            if known is None or self.scope.kinds.get(definition.target) is not Kind.DEFINITION:
                continue
            try:
                shape = self.of(definition.expr)
            except CellError:
                continue
            if shape is not None and (len(shape) > len(known) or known == SCALAR != shape):
                self.known[definition.target] = shape
                return True
        return False

    def _check_target(self, target: str, shape: Shape | None, expr: Node) -> None:
        if self.scope.kinds.get(target) is not Kind.NEXT or shape is None:
            return
        wanted = self.known[target]
        if shape != SCALAR and len(ways(shape, wanted)) != 1:
            raise self.say.next_value(target.removesuffix(names.NEXT), wanted, shape, expr)

    def learn(self, node: Node, shape: Shape) -> Shape | None:
        """Take this shape for a parameter or definition of unknown shape. Returns what was learned,
        None where nothing was."""
        if isinstance(node, Transpose) and len(shape) > 1:
            return self.learn(node.matrix, (*shape[:-2], shape[-1], shape[-2])) and shape
        unknown = isinstance(node, Name) and node.name not in self.known
        if not unknown or not self.pushing or self.changed:
            return None
        assert isinstance(node, Name)
        if self.scope.kinds.get(node.name) not in (Kind.PARAM, Kind.DEFINITION):
            return None
        self.known[node.name] = shape
        self.changed = True
        return shape

    # --- shapes of expressions --------------------------------------------------------------

    def of(self, node: Node, expected: Shape | None = None) -> Shape | None:
        """The shape of an expression, None where it is not known yet; CellError where axes do not
        meet. expected: what would fit best, where nothing else tells."""
        if self.is_constant(node):
            return SCALAR
        if isinstance(node, Name):
            if node.name in self.known:
                return self.known[node.name]
            return self.learn(node, expected) if expected is not None else None
        if isinstance(node, Negative):
            return self.of(node.operand, expected)
        if isinstance(node, Transpose):
            return self.transposed(node, expected)
        if isinstance(node, Binary) and node.operator == "@":
            return self.product(node, expected)
        if isinstance(node, Binary) and node.operator == "**":
            return self.of(node.left, expected)
        if isinstance(node, (Cut, Part)):
            return self.part(node, expected)
        if isinstance(node, Split):
            raise self.say.split_alone(node)
        if isinstance(node, Call) and node.function in functions.OVER_AXES:
            return self.over_axes(node, expected)
        return self.elementwise(node, expected)

    def is_constant(self, node: Node) -> bool:
        try:
            evaluate(node, self.scope.consts)
        except NotConstant:
            return False
        return True

    def elementwise(self, node: Node, expected: Shape | None) -> Shape | None:
        operands = [each for each in operands_of(node) if not self.is_constant(each)]
        shapes = [self.of(each) for each in operands]
        whole = widest(shapes)
        if None in shapes:
            shapes = self._meet(operands, shapes, whole or expected)
            whole = widest(shapes)
            if whole is None and None in shapes:
                return None
        if whole is None:
            return SCALAR
        for operand, shape in zip(operands, shapes, strict=True):
            if shape is not None and shape != SCALAR and len(ways(shape, whole)) != 1:
                raise self.say.elementwise(node, operand, shape, whole, operands, shapes)
        return whole

    def _meet(
        self, operands: Sequence[Node], shapes: list[Shape | None], met: Shape | None
    ) -> list[Shape | None]:
        """The shapes; a parameter of unknown shape has the shape `met` that it meets, and is a
        scalar only once nothing else can be found (`scalars`)."""
        if met is None and self.scalars and SCALAR in shapes:
            met = SCALAR
        if met is None:
            return shapes
        return [
            self.of(operand, met) if shape is None else shape
            for operand, shape in zip(operands, shapes, strict=True)
        ]

    def transposed(self, node: Transpose, expected: Shape | None) -> Shape | None:
        swapped = None
        if expected is not None and len(expected) > 1:
            swapped = (*expected[:-2], expected[-1], expected[-2])
        shape = self.of(node.matrix, swapped)
        if shape is None:
            return None
        if len(shape) < 2:
            raise self.say.transposed_vector(node, shape)
        return (*shape[:-2], shape[-1], shape[-2])

    def product(self, node: Binary, expected: Shape | None) -> Shape | None:
        if is_diagonal(node.left) or is_diagonal(node.right):
            return self.diagonal(node, expected)
        left = self.of(node.left)
        right = self.of(node.right)
        vectors = expected is not None and right is not None and len(expected) == len(right) == 1
        if left is None and vectors and expected != SCALAR:
            left = self.of(node.left, (*expected, *right))  # type: ignore[misc]
        if right is None and left is not None and len(left) > 1:
            right = self.of(node.right, left[-1:])
        if left is None or right is None:
            return (*left[:-1],) if left is not None and len(left) == 2 else None
        return self.multiplied(node, left, right)

    def multiplied(self, node: Binary, left: Shape, right: Shape) -> Shape:
        if len(left) < 2:
            raise self.say.vector_left(node, left, right)
        if left[-1] != right[-1]:
            raise self.say.product(node, left, right)
        mine, theirs = left[:-2], right[:-1]
        if len(ways(theirs, mine)) == 1 or not theirs:
            leading = mine
        elif len(ways(mine, theirs)) == 1 or not mine:
            if not self.is_rowwise(node.right):
                raise self.say.two_matrices(node, left, right)
            leading = theirs
        else:
            raise self.say.product(node, left, right)
        if len(leading) + 1 > MAX_AXES:
            raise self.say.too_many(node, (*leading, left[-2]))
        return (*leading, left[-2])

    def diagonal(self, node: Binary, expected: Shape | None) -> Shape | None:
        """diag(v) @ A and A @ diag(v): A with its rows, or columns, multiplied by v."""
        scaled_rows = is_diagonal(node.left)
        diag, other = (node.left, node.right) if scaled_rows else (node.right, node.left)
        assert isinstance(diag, Call)
        whole = self.of(other, expected)
        if whole is None:
            return None
        axis = -2 if scaled_rows and len(whole) > 1 else -1
        vector = self.of(diag.args[0], whole[axis:][:1])
        if vector is None:
            return whole
        leading = whole[: len(whole) + axis]
        fits = vector[-1] == whole[axis] and (
            not vector[:-1] or len(ways(vector[:-1], leading)) == 1
        )
        if not fits:
            raise self.say.diagonal(node, vector, whole)
        return whole

    def part(self, node: Cut | Part, expected: Shape | None) -> Shape | None:
        whole = None
        if isinstance(node, Part) and expected is not None and expected != SCALAR:
            whole = (*expected[:-1], expected[-1].times(node.count))  # all parts are equal
        shape = self.of(node.array, whole)
        if shape is None:
            return None
        if isinstance(node, Part):
            width = shape[-1].part(node.count)
            if width is None:
                raise self.say.does_not_divide(node, shape)
            return (*shape[:-1], width)
        start, stop = self.bounds(node, shape)
        return (*shape[:-1], stop - start)

    def bounds(self, node: Cut, shape: Shape) -> tuple[Width, Width]:
        start = ZERO if node.start is None else Width.of(node.start)
        stop = shape[-1] if node.stop is None else Width.of(node.stop)
        if not stop.fits(shape[-1]) or not start.fits(stop) or start == stop:
            raise self.say.beyond(node, shape, start, stop)
        return start, stop

    # --- functions of whole arrays ----------------------------------------------------------

    def over_axes(self, node: Call, expected: Shape | None) -> Shape | None:
        if node.function == "eye":
            width = Width.of(node.axis or 1)
            return (width, width)
        if node.function == "concat":
            return self.joined(node)
        if node.function == "outer":
            return self.outer(node)
        if node.function == "diag":
            shape = self.of(node.args[0])
            return None if shape is None else (*shape, shape[-1])
        keeps = node.function in functions.KEEPING
        shape = self.of(node.args[0], expected if keeps else None)
        if shape is None:
            return None
        axis = self.axis(node, shape)
        return shape if keeps else (*shape[:axis], *shape[axis + 1 :]) or SCALAR

    def axis(self, node: Call, shape: Shape) -> int:
        """Which axis of its argument a reduction acts over."""
        if node.axis is None:
            return len(shape) - 1
        wanted = Width.of(node.axis)
        found = [k for k, width in enumerate(shape) if width == wanted]
        if len(found) != 1:
            raise self.say.axis(node, shape)
        return found[0]

    def joined(self, node: Call) -> Shape | None:
        shapes = [self.of(arg) for arg in node.args]
        known = [shape for shape in shapes if shape is not None]
        if len(known) < len(shapes):
            return None
        if any(shape[:-1] != known[0][:-1] for shape in known):
            raise self.say.joined(node, known)
        total = ZERO
        for shape in known:
            total = total + shape[-1]
        return (*known[0][:-1], total)

    def outer(self, node: Call) -> Shape | None:
        left, right = (self.of(arg) for arg in node.args)
        if left is None or right is None:
            return None
        mine, theirs = left[:-1], right[:-1]
        if not mine or not theirs:
            leading = mine or theirs
        elif len(ways(theirs, mine)) == 1:
            leading = mine
        elif len(ways(mine, theirs)) == 1:
            leading = theirs
        else:
            raise self.say.outer(node, left, right)
        if len(leading) + 2 > MAX_AXES:
            raise self.say.too_many(node, (*leading, left[-1], right[-1]))
        return (*leading, left[-1], right[-1])

    # --- what belongs to a row --------------------------------------------------------------

    def is_rowwise(self, node: Node) -> bool:
        """Whether an expression depends on anything but parameters."""
        if isinstance(node, Name):
            kind = self.scope.kinds.get(node.name)
            if kind is Kind.DEFINITION:
                exprs = {d.target: d.expr for d in self.scope.declaration.definitions}
                return self.is_rowwise(exprs[node.name])
            return kind not in (Kind.PARAM, Kind.CONST)
        return any(self.is_rowwise(child) for child in children(node))


def is_diagonal(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "diag"


def widest(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape with the most axes among those that are no scalars."""
    known = [shape for shape in shapes if shape is not None and shape != SCALAR]
    return max(known, key=len, default=None)


def operands_of(node: Node) -> tuple[Node, ...]:
    """What takes part in an elementwise expression; the sides of a comparison too."""
    if isinstance(node, Call) and node.function == "clip":
        return node.args[:1]
    found: list[Node] = []
    for child in children(node):
        found.extend((child.left, child.right) if isinstance(child, Compare) else (child,))
    return tuple(found)
