"""What is wrong with axes that do not meet: shapes by name, the rule, and what to type.

In: an expression and the shapes of its parts.  Out: a CellError.
Not here: finding it (shapes.py); what cells of one width can get wrong too (language/wording.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from derive.errors import CellError
from derive.language import wording
from derive.language.scope import Kind, Scope
from derive.language.tree import Binary, Call, Cut, Name, Node, Part, Split, Transpose, walk
from derive.widths import Width

if TYPE_CHECKING:
    from derive.language.axes.shapes import Shapes

Shape = tuple[Width, ...]


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
        return wording.short(self.scope, node)

    def size(self, *sized: tuple[Node, Shape]) -> str:
        """For example "h has width H, W is H x I"."""
        return ", ".join(wording.sized(self.scope, node, shape) for node, shape in sized)

    def declared(self, node: Node, shape: Sequence[Width]) -> str | None:
        """The declaration of an array with another shape; None where no line declares one."""
        if not isinstance(node, Name):
            return None
        kind = self.scope.kinds.get(node.name)
        if kind not in (Kind.INPUT, Kind.STATE, Kind.PARAM):
            return None
        return f"{kind.value} {node.name}: {shown(shape)}"

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
        """The axes of an operand are not among those of the result, or are in several ways."""
        from derive.language.axes.shapes import ways

        at = next(k for k, each in enumerate(shapes) if each == whole)
        other = operands[at]
        fact = self.size((other, whole), (operand, shape))
        hint: str | None
        verb = wording.VERBS.get(node.operator, "joins") if isinstance(node, Binary) else "takes"
        if ways(shape, whole):
            what = f"'{self.text(node)}' {verb} arrays that meet in two ways"
            v, w = self.text(operand), self.bracketed(other)
            hint = f"diag({v}) @ {w}   for its rows, or  {w} @ diag({v})"
            if isinstance(node, Binary) and node.operator != "*":
                spread = f"outer({v}, 1 + 0 * {v})"
                sides = (spread, w) if operand is node.left else (w, spread)
                hint = f"{sides[0]} {node.operator} {sides[1]}   for its rows"
            return self.error(what, operand, fact, hint=hint)
        if len(shape) == len(whole) == 1:
            what = wording.different_width(self.scope, node)
            hint = wording.project(self.scope, operand, whole[0])
            return self.error(what, operand, fact, hint=hint)
        what = f"'{self.text(node)}' {verb} arrays whose axes do not meet"
        rule = "an operand's axes have to be, in this order, some of those of the other"
        missing = [width for width in shape if width not in whole]
        if len(shape) == len(whole) > 1 and tuple(reversed(shape[-2:])) == whole[-2:]:
            hint = f"{self.bracketed(operand)}.T"
        elif missing:
            hint = f"sum({self.text(operand)}, {missing[0]})   has no axis {missing[0]}"
        else:  # the same axes in another order
            ordered = tuple(width for width in whole if width in shape)
            hint = self.declared(operand, ordered)
        return self.error(what, operand, fact, rule, hint=hint)

    def next_value(self, state: str, wanted: Shape, shape: Shape, expr: Node) -> CellError:
        measure = "width" if len(wanted) == len(shape) == 1 else "shape"
        what = wording.other_next(state, measure)
        fact = f"{state} {wording.of_size(wanted)}, {self.size((expr, shape))}"
        hint = f"state {state}: {shown(shape)}"
        if measure == "width":
            hint = wording.next_of_width(self.scope, state, expr, shape)
        return self.error(what, expr, fact, hint=hint)

    # --- products ---------------------------------------------------------------------------

    def vector_left(self, node: Binary, left: Shape, right: Shape) -> CellError:
        what = f"'{self.text(node.left)}' stands left of @ and is no matrix"
        fact = self.size((node.left, left), (node.right, right))
        hint = f"{self.scope.fresh('W')} @ {self.bracketed(node.right)}   with a parameter"
        if left == right:
            hint = (
                f"sum({self.bracketed(node.left)} * {self.bracketed(node.right)})   for two vectors"
            )
        elif len(right) > 1 and left[-1] == right[-1]:
            hint = f"{self.bracketed(node.right)} @ {self.bracketed(node.left)}"
        elif len(right) > 1 and left[-1] == right[-2]:
            hint = f"{self.bracketed(node.right)}.T @ {self.bracketed(node.left)}"
        return self.error(what, node.left, fact, hint=hint)

    def product(self, node: Binary, left: Shape, right: Shape) -> CellError:
        columns = left[-1]
        fact = self.size((node.left, left), (node.right, right))
        hint: str | None = None
        if columns != right[-1] and len(left) == 2 and len(right) == 1:
            what = wording.columns_and_vector(self.scope, node, columns, right[-1])
            hint = wording.other_matrix(self.scope, node, swapped=left[-2] == right[-1])
            return self.error(what, node.right, fact, hint=hint)
        if columns != right[-1]:
            what = f"'{self.text(node)}' multiplies {columns} columns with a last axis {right[-1]}"
            if left[-2] == right[-1]:
                hint = f"{self.bracketed(node.left)}.T @ {self.bracketed(node.right)}"
            elif len(right) > 1 and right[-2] == columns:
                hint = f"{self.text(node.left)} @ {self.bracketed(node.right)}.T"
            elif isinstance(node.left, Name):
                shape = (*left[:-1], right[-1])
                hint = f"param {node.left.name}: {shown(shape)}"
            return self.error(what, node.right, fact, hint=hint)
        what = f"'{self.text(node)}' multiplies arrays whose leading axes do not meet"
        rule = "the axes before the last two of a matrix are those of the vector before its last"
        matrix = node.left.name if isinstance(node.left, Name) else self.scope.fresh("W")
        hint = f"param {matrix}: {shown((*right[:-1], *left[-2:]))}"
        return self.error(what, node.right, fact, rule, hint=hint)

    def two_matrices(self, node: Binary, left: Shape, right: Shape) -> CellError:
        what = f"'{self.text(node)}' multiplies two matrices"
        fact = self.size((node.left, left), (node.right, right))
        hint = f"{self.text(node.left)} @ ({self.bracketed(node.right)} @ v)"
        return self.error(what, node.right, fact, hint=hint)

    def diagonal(self, node: Binary, vector: Shape, whole: Shape) -> CellError:
        diag, other = (node.left, node.right)
        if not (isinstance(diag, Call) and diag.function == "diag"):
            diag, other = other, diag
        assert isinstance(diag, Call)
        what = f"'{self.text(node)}' scales an axis by a vector of another width"
        fact = self.size((diag.args[0], vector), (other, whole))
        swapped = f"{self.bracketed(other)} @ {self.text(diag)}"
        if diag is node.right:
            swapped = f"{self.text(diag)} @ {self.bracketed(other)}"
        return self.error(what, diag, fact, hint=swapped)

    def transposed_vector(self, node: Transpose, shape: Shape) -> CellError:
        what = f"'{self.text(node)}' transposes a vector"
        hint = f"sum({self.text(node.matrix)} * v)   for a product of two vectors"
        return self.error(what, node, self.size((node.matrix, shape)), hint=hint)

    def outer(self, node: Call, left: Shape, right: Shape) -> CellError:
        what = f"'{self.text(node)}' joins arrays whose leading axes do not meet"
        fact = self.size((node.args[0], left), (node.args[1], right))
        hint = self.declared(node.args[1], (*left[:-1], right[-1]))
        return self.error(what, node, fact, hint=hint)

    def too_many(self, node: Node, shape: Sequence[Width]) -> CellError:
        what = f"'{self.text(node)}' has more than three axes"
        hint: str | None = None
        if isinstance(node, Call) and len(node.args) > 1:
            first, *others = map(self.text, node.args)
            hint = f"{node.function}({', '.join([f'sum({first}, {shape[0]})', *others])})"
        elif isinstance(node, Binary):
            hint = f"{self.text(node.left)} @ sum({self.text(node.right)}, {shape[0]})"
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
            return self.error(what, node, self.size((arg, shape)), hint=hint)
        hint = f"{node.function}({text}, {shape[0]})"
        if twice or len(shape) == 1:
            hint = f"{node.function}({text})   acts over the last axis"
        return self.error(what, node, self.size((arg, shape)), hint=hint)

    def joined(self, node: Call, shapes: Sequence[Shape]) -> CellError:
        what = f"'{self.text(node)}' joins arrays that differ in more than their last axis"
        sized = zip(node.args, shapes, strict=True)
        most = max(shapes, key=len)
        other = next(k for k, s in enumerate(shapes) if s[:-1] != most[:-1])
        rule = "all axes but the last have to be the same"
        hint = self.declared(node.args[other], (*most[:-1], shapes[other][-1]))
        return self.error(what, node, self.size(*sized), rule, hint=hint)

    def does_not_divide(self, node: Part, shape: Shape) -> CellError:
        width, count = shape[-1], node.count
        what = f"{width} does not divide into {count} equal parts"
        multiple = Width.of("P").times(count)
        facts = [self.size((node.array, shape))]
        hint = self.declared(node.array, (*shape[:-1], multiple))
        if hint is None:
            facts.append(f"a width that does is {multiple}, for any P")
        return self.error(what, node, *facts, hint=hint)

    def beyond(self, node: Cut, shape: Shape, start: Width, stop: Width) -> CellError:
        what = f"'{self.text(node)}' cuts beyond the width"
        if start == stop or (not start.fits(stop) and stop.fits(shape[-1])):
            what = f"'{self.text(node)}' holds nothing"
        elif len({*stop.names()} - {*shape[-1].names()}):
            what = f"'{self.text(node)}' cuts at {stop}, which may lie beyond the width"
        hint = f"{self.text(node.array)}[0:{shape[-1]}]   is all of it"
        return self.error(what, node, self.size((node.array, shape)), hint=hint)

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
        product = self._product_of(name)
        what = wording.unknown_shape(name, matrix=product is not None)
        if product is not None:
            vector = self.shapes.of(product.right) or likely
            rows = likely[-1] if len(vector) == 1 else vector[-1]
            likely = (*vector[:-1], self._whole(product, rows), vector[-1])
        facts = (fact, *scope.advise(place))
        hint = f"param {name}: {shown(likely)}"
        return CellError(what, place=place, facts=facts, hint=hint)

    def _whole(self, product: Binary, part: Width) -> Width:
        """The width of a product whose parts, where it is cut, have the width `part`."""
        definitions = self.scope.declaration.definitions
        targets = {each.target for each in definitions if product in walk(each.expr)}
        whole = part
        for node in (node for definition in definitions for node in walk(definition.expr)):
            if not isinstance(node, (Cut, Part)):
                continue
            if isinstance(node.array, Name) and node.array.name not in targets:
                continue
            if not isinstance(node.array, Name) and product not in walk(node.array):
                continue
            if isinstance(node, Part):
                whole = part.times(node.count)
                continue
            stop = Width.of(node.start or 0) + part if node.stop is None else Width.of(node.stop)
            if whole.fits(stop):
                whole = stop
        return whole

    def _product_of(self, name: str) -> Binary | None:
        """The first product that `name` is the matrix of."""
        for definition in self.scope.declaration.definitions:
            for node in walk(definition.expr):
                if isinstance(node, Binary) and node.operator == "@":
                    left = node.left.matrix if isinstance(node.left, Transpose) else node.left
                    if isinstance(left, Name) and left.name == name:
                        return node
        return None
