"""Where axes are cut, so that joining and splitting is a matter of names alone.

In: the shapes of a cell.  Out: for every array and axis, the dimensions and numbers that it is
made of, in order.
Not here: shapes (shapes.py), equations (lower.py).

An axis that is a sum of widths is cut wherever `concat`, `split` or a slice demands it, and so are
all axes that meet it: the columns of `K` in `K @ concat(x, h)` at the width of x, its rows where
the result is split. What is left is cut into single dimensions and numbers in the order in which
its width is written. So nothing behind the language knows of sums of widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from derive.errors import CellError, Place
from derive.language import names
from derive.language.axes.shapes import SCALAR, Shape, Shapes, is_diagonal, operands_of, ways
from derive.language.tree import Binary, Call, Cut, Name, Negative, Node, Part, Transpose
from derive.symbolic import functions
from derive.widths import ZERO, Dim, Width


@dataclass(frozen=True, slots=True)
class _Within:
    """Axis `part` is what lies from `offset` on in axis `whole`."""

    whole: int
    offset: Width
    part: int


class Cuts:
    """Axes by number; `atoms` tells what one is made of, once all have been walked over."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.scope = shapes.scope
        self._parent: list[int] = []
        self._width: list[Width] = []
        self._within: list[_Within] = []
        self._of: dict[Node, tuple[int, ...]] = {}
        self.names: dict[str, tuple[int, ...]] = {}
        for name, shape in shapes.known.items():
            self.names[name] = tuple(map(self.new, shape))
        for state in self.scope.declaration.states:
            self.meet(self.names[state.name], self.names[names.next_of(state.name)])
        for definition in self.scope.declaration.definitions:
            target, value = self.names[definition.target], self.of(definition.expr)
            self.align(value, self.shape(definition.expr), target, shapes.known[definition.target])
        self._points = self._solve(self.scope.declaration.place)

    # --- results ----------------------------------------------------------------------------

    def atoms(self, name: str) -> tuple[tuple[Dim, ...], ...]:
        """What each axis of a name is made of."""
        return tuple(map(self.atoms_of, self.names[name]))

    def atoms_of(self, axis: int) -> tuple[Dim, ...]:
        points = self._points[self.root(axis)]
        return tuple((b - a).dim for a, b in pairwise(points))

    def bounds(self, axis: int) -> tuple[tuple[Width, Width], ...]:
        """Where each part of an axis begins and ends."""
        points = self._points[self.root(axis)]
        return tuple(pairwise(points))

    def axes(self, node: Node) -> tuple[int, ...]:
        return self._of[node]

    # --- axes that meet ---------------------------------------------------------------------

    def new(self, width: Width) -> int:
        self._parent.append(len(self._parent))
        self._width.append(width)
        return len(self._parent) - 1

    def root(self, axis: int) -> int:
        while self._parent[axis] != axis:
            axis = self._parent[axis]
        return axis

    def meet(self, one: Sequence[int], other: Sequence[int]) -> None:
        for a, b in zip(one, other, strict=True):
            first, second = sorted((self.root(a), self.root(b)))
            self._parent[second] = first

    def align(
        self, part: tuple[int, ...], shape: Shape, whole: tuple[int, ...], into: Shape
    ) -> None:
        if shape == SCALAR and into != SCALAR:
            return
        (place,) = ways(shape, into)
        self.meet(part, [whole[k] for k in place])

    def shape(self, node: Node) -> Shape:
        shape = self.shapes.of(node)
        assert shape is not None
        return shape

    def of(self, node: Node) -> tuple[int, ...]:
        """The axes of an expression."""
        if node not in self._of:
            self._of[node] = self._find(node)
        return self._of[node]

    def _find(self, node: Node) -> tuple[int, ...]:
        if self.shapes.is_constant(node):
            return (self.new(SCALAR[0]),)
        if isinstance(node, Name):
            return self.names[node.name]
        if isinstance(node, Negative):
            return self.of(node.operand)
        if isinstance(node, Transpose):
            *leading, rows, columns = self.of(node.matrix)
            return (*leading, columns, rows)
        if isinstance(node, Binary) and node.operator == "@":
            return self._product(node)
        if isinstance(node, Binary) and node.operator == "**":
            return self.of(node.left)
        if isinstance(node, (Cut, Part)):
            return self._part(node)
        if isinstance(node, Call) and node.function in functions.OVER_AXES:
            return self._over_axes(node)
        return self._elementwise(node)

    def _elementwise(self, node: Node) -> tuple[int, ...]:
        whole = self.shape(node)
        found = tuple(map(self.new, whole))
        for operand in operands_of(node):
            if not self.shapes.is_constant(operand):
                self.align(self.of(operand), self.shape(operand), found, whole)
        return found

    def _product(self, node: Binary) -> tuple[int, ...]:
        left, right = node.left, node.right
        if is_diagonal(left) or is_diagonal(right):
            diag, other = (left, right) if is_diagonal(left) else (right, left)
            assert isinstance(diag, Call)
            axes, vector = self.of(other), self.of(diag.args[0])
            axis = -2 if diag is left and len(axes) > 1 else -1
            self.meet(vector[-1:], [axes[axis]])
            leading, shape = axes[: len(axes) + axis], self.shape(other)[: len(axes) + axis]
            if vector[:-1]:
                self.align(vector[:-1], self.shape(diag.args[0])[:-1], leading, shape)
            return axes
        mine, theirs = self.of(left), self.of(right)
        self.meet(mine[-1:], theirs[-1:])
        lead = self._leading(mine[:-2], self.shape(left)[:-2], theirs[:-1], self.shape(right)[:-1])
        return (*lead, mine[-2])

    def _leading(
        self, mine: tuple[int, ...], of_mine: Shape, theirs: tuple[int, ...], of_theirs: Shape
    ) -> tuple[int, ...]:
        if len(mine) >= len(theirs):
            if theirs:
                self.align(theirs, of_theirs, mine, of_mine)
            return mine
        if mine:
            self.align(mine, of_mine, theirs, of_theirs)
        return theirs

    def _part(self, node: Cut | Part) -> tuple[int, ...]:
        *leading, last = self.of(node.array)
        shape = self.shape(node.array)
        if isinstance(node, Part):
            width = self.shape(node)[-1]
            start = width.times(node.index)
        else:
            start, stop = self.shapes.bounds(node, shape)
            width = stop - start
        part = self.new(width)
        self._within.append(_Within(last, start, part))
        return (*leading, part)

    def _over_axes(self, node: Call) -> tuple[int, ...]:
        if node.function == "eye":
            axis = self.new(Width.of(node.axis or 1))
            return (axis, axis)
        if node.function == "concat":
            return self._joined(node)
        if node.function == "outer":
            left, right = (self.of(arg) for arg in node.args)
            of_left, of_right = (self.shape(arg) for arg in node.args)
            lead = self._leading(left[:-1], of_left[:-1], right[:-1], of_right[:-1])
            return (*lead, left[-1], right[-1])
        axes = self.of(node.args[0])
        if node.function == "diag":
            return (*axes, axes[-1])
        if node.function in functions.KEEPING:
            return axes
        axis = self.shapes.axis(node, self.shape(node.args[0]))
        return (*axes[:axis], *axes[axis + 1 :]) or (self.new(SCALAR[0]),)

    def _joined(self, node: Call) -> tuple[int, ...]:
        leading = self.of(node.args[0])[:-1]
        whole = self.new(self.shape(node)[-1])
        offset = ZERO
        for arg in node.args:
            *others, part = self.of(arg)
            self.meet(leading, others)
            self._within.append(_Within(whole, offset, part))
            offset = offset + self.shape(arg)[-1]
        return (*leading, whole)

    # --- where they are cut -----------------------------------------------------------------

    def _solve(self, place: Place) -> dict[int, list[Width]]:
        roots = {self.root(axis) for axis in range(len(self._parent))}
        points = {root: [ZERO, self._width[root]] for root in sorted(roots)}
        while True:
            while self._spread(points):
                pass
            if not any([self._into_atoms(root, points) for root in points]):
                return points

    def _spread(self, points: dict[int, list[Width]]) -> bool:
        """Cuts of a part are cuts of the whole, and those of the whole within it its own."""
        changed = False
        for within in self._within:
            whole, part = points[self.root(within.whole)], points[self.root(within.part)]
            changed |= any([self._add(whole, within.offset + point) for point in part[:]])
            end = within.offset + part[-1]
            inside = [p for p in whole if within.offset.fits(p) and p.fits(end)]
            changed |= any([self._add(part, point - within.offset) for point in inside])
        return changed

    def _add(self, points: list[Width], point: Width) -> bool:
        if point in points:
            return False
        for k, after in enumerate(points):
            if point.fits(after):
                if not points[k - 1].fits(point):
                    break
                points.insert(k, point)
                return True
        else:
            after = points[-1]
        other = next(p for p in points if not (p.fits(point) or point.fits(p)))
        raise CellError(
            f"an axis of width {points[-1]} is cut at {other} and at {point}",
            place=self.scope.declaration.place,
            facts=("which of them comes first depends on the sizes",),
            hint="join and cut an array in the same order everywhere",
        )

    def _into_atoms(self, root: int, points: dict[int, list[Width]]) -> bool:
        """Cuts what is left of sums into single dimensions and numbers."""
        found = points[root]
        for a, b in pairwise(found):
            atoms = (b - a).atoms()
            if len(atoms) > 1:
                point = a
                for atom in atoms[:-1]:
                    point = point + Width.of(atom)
                    self._add(found, point)
                return True
        return False
