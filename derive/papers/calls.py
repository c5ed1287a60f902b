"""Functions applied to their arguments -> expressions.

In: a function and its arguments, and the translator that knows them.  Out: values.
Not here: what is a function (roles.py), which factors are its arguments (products.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derive.language import tree as cell
from derive.language.parse_expression import arity, usage
from derive.papers.operators import diagonal, outer
from derive.papers.roles import Macro, is_minus_one, is_number
from derive.papers.tree import Group, Node, Number
from derive.papers.values import Called, Columns, Value
from derive.symbolic import functions

if TYPE_CHECKING:
    from derive.papers.translate import Translator


@dataclass(frozen=True, slots=True)
class Calls:
    of: Translator

    def call(self, value: Value, arguments: Sequence[Node], at: int) -> Value:
        if isinstance(value, Columns):
            count = len(self.of.equation.left) if self.of.equation else 1
            if len(value.items) != count:
                what = f"{len(value.items)} functions, and {count} on the left"
                raise self.of.error(what, at)
            value = value.items[self.of.row]
        assert isinstance(value, Called)
        place = self.of.place(at)
        function = value.function
        if function == "concat" and self.of.printed:
            return cell.Call(function, tuple(map(self.of.vector, arguments)), place)
        if function == "concat":
            return Columns(
                tuple(self.of.value(a) for a in arguments), self.of.part_names(arguments), at
            )
        if function == "diag" and self.of.printed:
            return cell.Call("diag", (self.of.vector(arguments[0]),), place)
        if function == "diag":
            return diagonal(self.of.vector(arguments[0]), at)
        if function == "outer" and len(arguments) == 2:
            return outer(self.of.vector(arguments[0]), self.of.vector(arguments[1]), at)
        if function == "Linear":
            result = self.affine(arguments, at)
        elif function == "layer_norm" and len(arguments) == 2 and is_number(arguments[1]):
            eps = _plain_number(self.of.vector(arguments[1]))
            result = cell.Call(function, (self.of.vector(arguments[0]),), place, eps=eps)
        elif function == "layer_norm" and len(arguments) in (2, 3):
            inner, gain, *shift = map(self.of.vector, arguments)
            result = cell.Binary("*", gain, cell.Call(function, (inner,), place), place)
            result = cell.Binary("+", result, shift[0], place) if shift else result
        elif isinstance(function, Macro):
            result = self.expanded(function, arguments, at)
        elif function in ("maximum", "minimum"):
            result = self.of.vector(arguments[0])
            for argument in arguments[1:]:
                result = cell.Call(function, (result, self.of.vector(argument)), place)
            if len(arguments) < 2:  # over the units
                result = cell.Call(function[:3], (result,), place)
        else:
            over_axes = functions.OVER_AXES.get(function)
            wanted = over_axes[0] if over_axes else arity(function)
            if wanted != len(arguments):
                what = f"'{function}' takes {wanted} argument{'s' * (wanted > 1)}"
                raise self.of.error(what, at, usage(function), f"{len(arguments)} are given")
            result = cell.Call(function, tuple(map(self.of.vector, arguments)), place)
        if value.power is None:
            return result
        if is_minus_one(value.power):
            raise self.of.error("the power -1 of a function may mean its inverse", at, "1 / f(v)")
        return self.of.raised_to(result, value.power, at)

    def affine(self, arguments: Sequence[Node], at: int) -> cell.Node:
        """Linear(v) is W v + b, with a W and a b of the array that is defined."""
        assert self.of.equation is not None
        if len(arguments) != 1:
            raise self.of.error("Linear takes 1 argument", at, "\\mathrm{Linear}(x_t)")
        name = self.of.gate or self.of.roles.name(self.of.equation.left[0].key)
        same = [n for n in self.of.linear if n[0] == name]
        number = next((k for k, n in enumerate(same) if n[1] == at), len(same))
        if number == len(same):
            self.of.linear.append((name, at))
        end = name if number == 0 else f"{name}_{number + 1}"
        W, b = self.of.roles.fresh(f"W_{end}"), self.of.roles.fresh(f"b_{end}")
        self.of.note(f"Linear(v), in {name}, is {W} v + {b}")
        self.of.whole.add(W)
        place = self.of.place(at)
        product = cell.Binary("@", cell.Name(W, place), self.of.vector(arguments[0]), place)
        return cell.Binary("+", product, cell.Name(b, place), place)

    def expanded(self, macro: Macro, arguments: Sequence[Node], at: int) -> cell.Node:
        if len(arguments) != 1 or macro.argument in self.of.bound:
            raise self.of.error("a function of the paper takes one argument", at)
        self.of.bound[macro.argument] = self.of.vector(arguments[0])
        try:
            return self.of.vector(macro.body)
        finally:
            del self.of.bound[macro.argument]

    def is_split(self, value: Value, group: Group, cut: Node | None) -> bool:
        """Whether `split(v, 4)[0]` stands here."""
        if not isinstance(value, Called) or value.function != "split":
            return False
        whole = isinstance(cut, Group) and cut.bracket == "[" and len(cut.items) == 1
        numbers = [*group.items[1:], *(cut.items if isinstance(cut, Group) else ())]
        if not whole or len(numbers) != 2 or not all(isinstance(n, Number) for n in numbers):
            what = "one of the parts of 'split' is read, by its number"
            raise self.of.error(what, value.at, "\\operatorname{split}(v, 4)[0]")
        return True

    def part(self, group: Group, cut: Node | None, at: int) -> cell.Node:
        array, count = group.items
        assert isinstance(cut, Group) and isinstance(count, Number)
        (index,) = cut.items
        assert isinstance(index, Number)
        if int(index.text) >= int(count.text):
            raise self.of.error(f"there is no part {index.text} of {count.text}", index.at)
        vector = self.of.vector(array)
        return cell.Part(vector, int(index.text), int(count.text), self.of.place(at))


def is_function(value: Value) -> bool:
    if isinstance(value, Columns):
        return all(isinstance(item, Called) for item in value.items)
    return isinstance(value, Called)


def _plain_number(node: cell.Node) -> cell.Node:
    """10^{-6} as 1e-6."""
    power = node.right if isinstance(node, cell.Binary) and node.operator == "**" else None
    negative = isinstance(power, cell.Negative)
    digits = power.operand if isinstance(power, cell.Negative) else power
    ten = isinstance(node, cell.Binary) and node.left == cell.Number("10", node.place)
    if ten and isinstance(digits, cell.Number):
        return cell.Number(f"1e{'-' * negative}{digits.text}", node.place)
    return node
