"""What is wrong with axes that do not meet: shapes by name, the rule, and what to type.

In: an expression and the shapes of its parts.  Out: a CellError.
Not here: finding it (shapes.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from derive.errors import CellError
from derive.language.scope import Kind, Scope
from derive.language.tree import Binary, Call, Cut, Name, Node, Part, Split, Transpose, walk
from derive.widths import Width

if TYPE_CHECKING:
    from derive.language.axes.shapes import Shapes

Shape = tuple[Width, ...]

_VERBS = {"+": "adds", "-": "subtracts", "*": "multiplies", "/": "divides"}


def shown(shape: Sequence[Width]) -> str:
    return " x ".join(map(str, shape))


class Messages:
    def __init__(self, scope: Scope, shapes: Shapes) -> None:
        self.scope = scope
        self.shapes = shapes
        self.text = scope.text

    def error(self, what: str, node: Node, *facts: str, hint: str | None = None) -> CellError:
        facts = (*facts, *self.scope.advise(node.place))
        return CellError(what, place=node.place, facts=facts, hint=hint)

    def short(self, node: Node) -> str:
        text = self.text(node)
        text = text if len(text) <= 40 else text[:37] + "..."
        return text if isinstance(node, (Name, Call)) else f"'{text}'"

    def size(self, node: Node, shape: Shape) -> str:
        """h has width H, W is H x I."""
        verb = "has width" if len(shape) == 1 else "is"
        return f"{self.short(node)} {verb} {shown(shape)}"

    def bracketed(self, node: Node) -> str:
        return self.scope.bracketed(node)

    # --- elementwise ------------------------------------------------------------------------

    def elementwise(
        self,
        node: Node,
        operand: Node,
        shape: Shape,
        whole: Shape,
        operands: Sequence[Node],
        shapes: Sequence[Shape | None],
    ) -> CellError:
        """One operand's axes are not, in one way, some of those of the result."""
        from derive.language.axes.shapes import ways

        at = next(k for k, each in enumerate(shapes) if each == whole)
        other = operands[at]
        facts = [self.size(other, whole), self.size(operand, shape)]
        verb = _VERBS.get(node.operator, "joins") if isinstance(node, Binary) else "takes"
        if ways(shape, whole):
            what = f"'{self.text(node)}' {verb} arrays that meet in two ways"
            v, w = self.text(operand), self.bracketed(other)
            hint = f"diag({v}) @ {w}   for its rows, or  {w} @ diag({v})"
            if isinstance(node, Binary) and node.operator != "*":
                spread = f"outer({v}, 1 + 0 * {v})"
                sides = (spread, w) if operand is node.left else (w, spread)
                hint = f"{sides[0]} {node.operator} {sides[1]}   for its rows"
            return self.error(what, operand, *facts, hint=hint)
        if len(shape) == len(whole) == 1:
            what = f"'{self.text(node)}' {verb} arrays of different width"
            matrix = self.scope.fresh("W")
            wanted = f"param {matrix}: {whole[0]} x {shape[0]}"
            hint = f"{matrix} @ {self.bracketed(operand)}   with  {wanted}"
            return self.error(what, operand, *facts, hint=hint)
        what = f"'{self.text(node)}' {verb} arrays whose axes do not meet"
        rule = "an operand's axes have to be, in this order, some of those of the other"
        hint = f"outer({self.text(other)}, {self.text(operand)})   has the axes of both"
        if len(shape) == len(whole) > 1 and tuple(reversed(shape[-2:])) == whole[-2:]:
            hint = f"{self.bracketed(operand)}.T"
        elif len(shape) > 1 or len(whole) > 1:
            hint = f"sum, or a product, over the axes that {self.text(operand)} has alone"
            missing = [width for width in shape if width not in whole]
            if missing:
                hint = f"sum({self.text(operand)}, {missing[0]})   has no axis {missing[0]}"
        return self.error(what, operand, *facts, rule, hint=hint)

    def next_value(self, state: str, wanted: Shape, shape: Shape, expr: Node) -> CellError:
        measure = "width" if len(wanted) == len(shape) == 1 else "shape"
        what = f"the next value of '{state}' has another {measure} than '{state}'"
        verb = "has width" if len(wanted) == 1 else "is"
        facts = (f"{state} {verb} {shown(wanted)}", self.size(expr, shape))
        return self.error(what, expr, *facts, hint=f"state {state}: {shown(shape)}")

    # --- products ---------------------------------------------------------------------------

    def vector_left(self, node: Binary, left: Shape, right: Shape) -> CellError:
        what = f"'{self.text(node.left)}' stands left of @ and is no matrix"
        facts = (self.size(node.left, left), self.size(node.right, right))
        hint = f"{self.scope.fresh('W')} @ {self.bracketed(node.right)}   with a parameter"
        if left == right:
            hint = (
                f"sum({self.bracketed(node.left)} * {self.bracketed(node.right)})   for two vectors"
            )
        elif len(right) > 1 and left[-1] == right[-1]:
            hint = f"{self.bracketed(node.right)} @ {self.bracketed(node.left)}"
        elif len(right) > 1 and left[-1] == right[-2]:
            hint = f"{self.bracketed(node.right)}.T @ {self.bracketed(node.left)}"
        return self.error(what, node.left, *facts, hint=hint)

    def product(self, node: Binary, left: Shape, right: Shape) -> CellError:
        columns = left[-1]
        facts = (self.size(node.left, left), self.size(node.right, right))
        if columns != right[-1]:
            ends = (
                f"a last axis {right[-1]}" if len(right) > 1 else f"a vector of width {right[-1]}"
            )
            what = f"'{self.text(node)}' multiplies {columns} columns with {ends}"
            hint = None
            if left[-2] == right[-1]:
                hint = f"{self.bracketed(node.left)}.T @ {self.bracketed(node.right)}"
            elif len(right) > 1 and right[-2] == columns:
                hint = f"{self.text(node.left)} @ {self.bracketed(node.right)}.T"
            elif isinstance(node.left, Name):
                shape = (*left[:-1], right[-1])
                hint = f"param {node.left.name}: {shown(shape)}"
            return self.error(what, node.right, *facts, hint=hint)
        what = f"'{self.text(node)}' multiplies arrays whose leading axes do not meet"
        rule = "the axes before the last two of a matrix are those of the vector before its last"
        matrix = node.left.name if isinstance(node.left, Name) else self.scope.fresh("W")
        hint = f"param {matrix}: {shown((*right[:-1], *left[-2:]))}"
        return self.error(what, node.right, *facts, rule, hint=hint)

    def two_matrices(self, node: Binary, left: Shape, right: Shape) -> CellError:
        what = f"'{self.text(node)}' multiplies two matrices"
        facts = (self.size(node.left, left), self.size(node.right, right))
        hint = f"{self.text(node.left)} @ ({self.bracketed(node.right)} @ v)"
        return self.error(what, node.right, *facts, hint=hint)

    def diagonal(self, node: Binary, vector: Shape, whole: Shape) -> CellError:
        diag, other = (node.left, node.right)
        if not (isinstance(diag, Call) and diag.function == "diag"):
            diag, other = other, diag
        assert isinstance(diag, Call)
        what = f"'{self.text(node)}' scales an axis by a vector of another width"
        facts = (self.size(diag.args[0], vector), self.size(other, whole))
        swapped = f"{self.bracketed(other)} @ {self.text(diag)}"
        if diag is node.right:
            swapped = f"{self.text(diag)} @ {self.bracketed(other)}"
        return self.error(what, diag, *facts, hint=swapped)

    def transposed_vector(self, node: Transpose, shape: Shape) -> CellError:
        what = f"'{self.text(node)}' transposes a vector"
        hint = f"sum({self.text(node.matrix)} * v)   for a product of two vectors"
        return self.error(what, node, self.size(node.matrix, shape), hint=hint)

    def outer(self, node: Call, left: Shape, right: Shape) -> CellError:
        what = f"'{self.text(node)}' joins arrays whose leading axes do not meet"
        facts = (self.size(node.args[0], left), self.size(node.args[1], right))
        hint = f"{shown((*left[:-1], right[-1]))} for {self.short(node.args[1])}"
        return self.error(what, node, *facts, hint=hint)

    def too_many(self, node: Node, shape: Sequence[Width]) -> CellError:
        what = f"'{self.text(node)}' has more than three axes"
        hint = "sum over one of them first"
        return self.error(what, node, f"it would be {shown(shape)}", hint=hint)

    # --- axes and parts ---------------------------------------------------------------------

    def axis(self, node: Call, shape: Shape) -> CellError:
        arg = node.args[0]
        twice = sum(str(width) == str(node.axis) for width in shape) > 1
        what = f"'{self.text(node)}' acts over an axis that {self.short(arg)} has "
        what += "twice" if twice else "not"
        text = self.text(arg)
        if node.function in ("max", "min") and str(node.axis) in self.scope.kinds:
            hint = f"{node.function}imum({text}, {node.axis})"
            return self.error(what, node, self.size(arg, shape), hint=hint)
        hint = f"{node.function}({text}, {shape[0]})"
        if twice or len(shape) == 1:
            hint = f"{node.function}({text})   acts over the last axis"
        return self.error(what, node, self.size(arg, shape), hint=hint)

    def joined(self, node: Call, shapes: Sequence[Shape]) -> CellError:
        what = f"'{self.text(node)}' joins arrays that differ in more than their last axis"
        facts = (self.size(arg, s) for arg, s in zip(node.args, shapes, strict=True))
        hint = "all axes but the last have to be the same"
        return self.error(what, node, *facts, hint=hint)

    def does_not_divide(self, node: Part, shape: Shape) -> CellError:
        width, count = shape[-1], node.count
        what = f"{width} does not divide into {count} equal parts"
        hint = f"a width of {count}*{width if str(width).isidentifier() else 'H'}"
        name = node.array.name if isinstance(node.array, Name) else None
        if name is not None and self.scope.kinds.get(name) in (Kind.STATE, Kind.INPUT):
            kind = str(self.scope.kinds[name].value)
            hint = f"{kind} {name}: {shown((*shape[:-1], Width.of('P').times(count)))}"
        return self.error(what, node, self.size(node.array, shape), hint=hint)

    def beyond(self, node: Cut, shape: Shape, start: Width, stop: Width) -> CellError:
        what = f"'{self.text(node)}' cuts beyond the width"
        if start == stop or (not start.fits(stop) and stop.fits(shape[-1])):
            what = f"'{self.text(node)}' holds nothing"
        elif len({*stop.names()} - {*shape[-1].names()}):
            what = f"'{self.text(node)}' cuts at {stop}, which may lie beyond the width"
        hint = f"{self.text(node.array)}[0:{shape[-1]}]   is all of it"
        return self.error(what, node, self.size(node.array, shape), hint=hint)

    def split_alone(self, node: Split) -> CellError:
        letters = ", ".join("abcdefgh"[: node.count]) if node.count <= 8 else "a, b, ..."
        what = f"'{self.text(node)}' is {node.count} arrays"
        return self.error(what, node, hint=f"{letters} = {self.text(node)}")

    def unknown(self, name: str) -> CellError:
        """A parameter whose shape nothing tells."""
        scope = self.scope
        use = scope.vector_uses.get(name)
        place = use.place if use else scope.places[name]
        fact = f"it stands in '{use.text}'" if use else "nothing uses it"
        state = next(iter(scope.declaration.states), None)
        likely = tuple(map(Width.of, (state.shape if state else None) or ("H",)))
        what = f"the shape of '{name}' cannot be inferred"
        product = self._product_of(name)
        if product is not None:
            what = f"the shape of the matrix '{name}' cannot be inferred"
            vector = self.shapes.of(product.right) or likely
            likely = (*vector[:-1], likely[-1] if len(vector) == 1 else vector[-1], vector[-1])
        facts = (fact, *scope.advise(place))
        hint = f"param {name}: {shown(likely)}"
        return CellError(what, place=place, facts=facts, hint=hint)

    def _product_of(self, name: str) -> Binary | None:
        """The first product that `name` is the matrix of."""
        for definition in self.scope.declaration.definitions:
            for node in walk(definition.expr):
                if isinstance(node, Binary) and node.operator == "@":
                    left = node.left.matrix if isinstance(node.left, Transpose) else node.left
                    if isinstance(left, Name) and left.name == name:
                        return node
        return None
