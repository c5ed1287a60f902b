"""Lines of values and tangents, and what a tangent asks of names and shapes.

In: shapes of a cell without mistakes, and the tangents of its arrays by name.
Out: `Lines`, which collects (name, expression); elementwise tangents.
Not here: the rules of products and reductions (tangent_rules.py), declarations (tangent_text.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.errors import Place
from derive.language import from_sympy, names
from derive.language.axes.shapes import SCALAR, Shape, Shapes, ways
from derive.language.from_step import in_public_functions
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
    mapped,
    names_of,
    walk,
)
from derive.program import Namer
from derive.symbolic import functions

_NOWHERE = Place("<tangent>", 1, 1, "")
#: Of more nodes an expression gets a name before it stands in two places.
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Moved:
    """An expression with its tangent; None where it does not move."""

    value: Node
    tangent: Node | None


class Lines:
    """What a tangent needs of a value gets a name, unless it is short."""

    def __init__(
        self, shapes: Shapes, moving: Mapping[str, str], taken: Iterable[str],
        rule_of: Callable[[Node], Rule],
    ) -> None:  # fmt: skip
        self._rule_of = rule_of
        self.shapes = shapes
        self.moving = dict(moving)
        self.namer = Namer((*taken, *functions.PUBLIC_FUNCTIONS))
        self.values: list[tuple[str, Node]] = []
        self.tangents: list[tuple[str, Node]] = []
        self.target = ""
        self.own: Name | None = None
        self._named: dict[Node, Name] = {}
        scope = shapes.scope
        given = (*scope.declaration.inputs, *scope.declaration.states)
        self.rowwise = {declared.name for declared in given}
        self.rowwise |= {names.next_of(state.name) for state in scope.declaration.states}
        for name, tangent in moving.items():
            self.shapes.known[tangent] = self.shapes.known[name]
            if name in self.rowwise:
                self.rowwise.add(tangent)

    # --- lines ------------------------------------------------------------------------------

    def put(self, name: str, value: Node) -> None:
        self._line(self.values, name, value)

    def move(self, name: str, tangent: str, node: Node | None) -> None:
        """The line of a tangent; it is as wide as what it is the tangent of."""
        self.shapes.known[tangent] = self.shapes.known[name]
        self._line(self.tangents, tangent, self.whole(Moved(Name(name, _NOWHERE), node)))
        self.moving[name] = tangent

    def _line(self, lines: list[tuple[str, Node]], name: str, node: Node) -> None:
        self.shapes.known.setdefault(name, self.shape(node))
        if self.is_rowwise(node):
            self.rowwise.add(name)
        lines.append((name, node))

    def named(self, node: Node, wanted: str, tangent: bool = False) -> Node:
        """A name for an expression that stands in several places."""
        if is_simple(node) or self.shapes.is_constant(node):
            return node
        if node not in self._named:
            name = self.namer(wanted)
            self._line(self.tangents if tangent else self.values, name, node)
            self._named[node] = Name(name, _NOWHERE)
        return self._named[node]

    def again(self, node: Node, tangent: bool = False) -> Node:
        """An expression as it may stand in a second place."""
        return node if _is_short(node) else self.named(node, self.wanted(node), tangent)

    def wanted(self, node: Node) -> str:
        """A name for an expression that the author did not name."""
        target = self.target.removesuffix(names.NEXT)
        if isinstance(node, Call):
            inner = node.args[0] if node.args else node
            return f"{node.function}_{inner.name if isinstance(inner, Name) else target}"
        if isinstance(node, Binary) and node.operator == "@":
            sides = (node.left, node.right)
            if all(isinstance(side, Name) for side in sides):
                return "_".join(side.name for side in sides if isinstance(side, Name))
        return f"in_{target}"

    # --- shapes -----------------------------------------------------------------------------

    def shape(self, node: Node) -> Shape:
        shape = self.shapes.of(node)
        assert shape is not None
        return shape

    def is_rowwise(self, node: Node) -> bool:
        return any(name.name in self.rowwise for name in names_of(node))

    def whole(self, of: Moved) -> Node:
        """The tangent with the shape of the value, 0 where it does not move."""
        if of.tangent is None:
            return self.zero(of.value)
        same = self.shape(of.tangent) == self.shape(of.value)
        return of.tangent if same else plus(of.tangent, self.zero(of.value))

    def zero(self, value: Node) -> Node:
        return Binary("*", Number("0", _NOWHERE), self.again(value), _NOWHERE)

    def ones(self, like: Node) -> Node:
        return plus(self.zero(like), Number("1", _NOWHERE))

    def lies(self, rest: Node, along: Node) -> bool:
        """Whether what a reduction leaves over aligns with its argument by name."""
        return len(ways(self.shape(rest), self.shape(along))) == 1 or self.shape(rest) == SCALAR

    def scaled(self, along: Node, rest: Node) -> Node:
        """`along` times what a reduction of its last axis left over."""
        if self.lies(rest, along):
            return times(along, rest)
        return Binary("@", Call("diag", (rest,), _NOWHERE), along, _NOWHERE)

    def spread(self, rest: Node, along: Node) -> Node:
        """What a reduction left over, as it meets its argument."""
        return rest if self.lies(rest, along) else self.scaled(self.ones(along), rest)

    # --- expressions ------------------------------------------------------------------------

    def of(self, node: Node, target: str, root: bool = False) -> Moved:
        """root: the target's line holds nothing but this expression."""
        self.target = target
        same = root and self.shapes.known[target] == self.shape(node)
        self.own = Name(target, _NOWHERE) if same else None
        return self.expression(node, self.own)

    def expression(self, node: Node, own: Name | None = None) -> Moved:
        """own: the name of its value, where it has one."""
        if self.shapes.is_constant(node):
            return Moved(node, None)
        if isinstance(node, Name):
            tangent = self.moving.get(node.name)
            return Moved(node, None if tangent is None else Name(tangent, _NOWHERE))
        found = self._rule_of(node)(self, node, own)
        if found.tangent is None or self.shape(found.tangent) == SCALAR:
            return found
        return replace(found, tangent=self.whole(found))

    def applied(
        self, values: Sequence[Moved], expr: Any, rebuild: Callable[[list[Node]], Node],
        own: Name | None,
    ) -> Moved:  # fmt: skip
        """An elementwise function: `expr` is over the symbols u0, u1, ... and y is its value."""
        by = [functions.symbol(f"u{k}") for k in range(len(values))]
        y = functions.symbol("y") if expr.is_Function or expr.is_Pow else None
        slopes = {
            k: functions.partial(expr, u, y)
            for k, (u, each) in enumerate(zip(by, values, strict=True))
            if each.tangent is not None
        }
        slopes = {k: in_public_functions(slope) for k, slope in slopes.items() if slope != 0}
        needed = {symbol.name for slope in slopes.values() for symbol in slope.free_symbols}
        args = [each.value for each in values]
        known: dict[str, Node] = {}
        for k in range(len(args)):
            if f"u{k}" in needed:
                alone = own is not None and len(args) == 1
                wanted = f"a_{self.target.removesuffix(names.NEXT)}"
                args[k] = self.named(args[k], wanted if alone else self.wanted(args[k]))
                known[f"u{k}"] = args[k]
        value = rebuild(args)
        if "y" in needed:
            known["y"] = own or self.named(value, self.wanted(value))
            value = value if own is not None else known["y"]
        tangent: Node | None = None
        order = ("y", *(u.name for u in by))
        for k, slope in slopes.items():
            moved = values[k].tangent
            assert moved is not None
            if slope not in (1, -1):
                wanted = f"t_a_{self.target.removesuffix(names.NEXT)}"
                moved = self.named(moved, wanted, tangent=True) if _is_long(moved) else moved
            node = _substituted(from_sympy.read(slope, order), known)
            tangent = plus(tangent, times(node, moved))
        return Moved(value, tangent)


Rule = Callable[[Lines, Any, Name | None], Moved]


# --- trees ----------------------------------------------------------------------------------


def is_simple(node: Node) -> bool:
    """A name, or a part or a joint of names: nothing is computed."""
    if isinstance(node, (Cut, Part)):
        return is_simple(node.array)
    if isinstance(node, Transpose):
        return is_simple(node.matrix)
    if isinstance(node, Call) and node.function in ("concat", "diag", "eye"):
        return all(map(is_simple, node.args))
    return isinstance(node, (Name, Number))


def _is_short(node: Node) -> bool:
    """Few sums and products of names: written in two places it reads well and costs little."""
    if is_simple(node):
        return True
    parts = list(walk(node))
    plain = (Name, Number, Negative, Binary)
    return len(parts) <= _SHORT and all(
        isinstance(part, plain) and not (isinstance(part, Binary) and part.operator == "@")
        for part in parts
    )


def _is_long(node: Node) -> bool:
    return any(isinstance(part, (Binary, Call)) for part in walk(node))


def _is_sum(node: Node) -> bool:
    return isinstance(node, Binary) and node.operator in ("+", "-")


def plus(left: Node | None, right: Node) -> Node:
    """left + right, without brackets that mean nothing."""
    if left is None:
        return right
    if isinstance(right, Negative):
        return difference(left, right.operand)
    if isinstance(right, Binary) and right.operator in ("+", "-"):
        rest = right.right if right.operator == "+" else negative(right.right)
        return plus(plus(left, right.left), rest)
    return Binary("+", left, right, _NOWHERE)


def difference(left: Node, right: Node) -> Node:
    if isinstance(right, Negative):
        return plus(left, right.operand)
    return Binary("-", left, right, _NOWHERE)


def negative(node: Node) -> Node:
    return node.operand if isinstance(node, Negative) else Negative(node, _NOWHERE)


def times(left: Node, right: Node) -> Node:
    """left * right, with the sign in front."""
    if isinstance(left, Negative):
        return negative(times(left.operand, right))
    if isinstance(right, Negative):
        return negative(times(left, right.operand))
    if left == Number("1", _NOWHERE):
        return right
    return Binary("*", left, right, _NOWHERE)


def _substituted(node: Node, by: Mapping[str, Node]) -> Node:
    if isinstance(node, Name):
        return by.get(node.name, node)
    return mapped(node, lambda child: _substituted(child, by))
