"""The names on the right of one definition: each is known, a new parameter, or a mistake.

In: a definition, and a Scope that knows all earlier ones.  Out: the Scope, filled further.
Not here: the names on the left (resolve_names.py), widths (check_shapes.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from derive.errors import CellError, Place
from derive.language import names
from derive.language.constants import MAX_EXPONENT, NotConstant, evaluate
from derive.language.declaration import Definition
from derive.language.scope import Kind, Scope, Use, not_a_state, show_shape
from derive.language.tree import (
    Binary,
    Call,
    Compare,
    Name,
    Node,
    Transpose,
    children,
    names_of,
    quote,
)
from derive.symbolic import functions


class Uses:
    """The names on the right of one definition."""

    def __init__(self, scope: Scope, definition: Definition, later: Mapping[str, Place]) -> None:
        self.scope = scope
        self.definition = definition
        self.later = later
        self.text = scope.text
        self.report = scope.report

    def visit(self, node: Node) -> None:
        if isinstance(node, Compare):
            self.visit(node.left)
            self.visit(node.right)
            return
        try:
            evaluate(node, self.scope.consts)
        except NotConstant:
            self.visit_array(node)
        except CellError as error:
            self.scope.errors.append(error)
        else:
            for name in names_of(node):
                self.scope.count(name.name)

    def visit_array(self, node: Node) -> None:
        if isinstance(node, Name):
            self.vector(node)
        elif isinstance(node, Transpose):
            self.report(
                f"the matrix '{self.text(node)}' stands where a vector should",
                node.place,
                hint=f"{self.text(node)} @ v",
            )
        elif isinstance(node, Binary) and node.operator == "@":
            self.product(node)
        else:
            self.visit_parts(node)

    def visit_parts(self, node: Node) -> None:
        """Of what works element by element."""
        if isinstance(node, Binary) and node.operator == "**":
            self.visit(node.left)
            self.exponent(node)
        elif isinstance(node, Call) and node.function == "clip":
            self.visit(node.args[0])
            self.bounds(node)
        else:
            for child in children(node):
                self.visit(child)

    def product(self, node: Binary) -> None:
        matrix = node.left.matrix if isinstance(node.left, Transpose) else node.left
        if isinstance(matrix, Name):
            self.matrix(matrix, node)
        else:
            self.no_matrix(node)
        self.visit(node.right)

    def matrix(self, name: Name, node: Binary) -> None:
        scope = self.scope
        if self.unreadable(name) or self.looks_like_something_else(name, "H x H"):
            return
        kind = scope.kinds.get(name.name, Kind.PARAM)
        if kind is not Kind.PARAM:
            self.report(
                f"{quote(scope.show(name.name))} stands left of @ and is no matrix",
                name.place,
                f"{scope.show(name.name)} is {kind} of one axis",
                hint=f"{scope.show(name.name)} * {self.text(node.right)}"
                if isinstance(node.right, (Name, Call))
                else None,
            )
            scope.count(name.name)
            return
        self.parameter(name)
        scope.matrix_uses.setdefault(name.name, Use(self.text(node), name.place))

    def vector(self, name: Name) -> None:
        scope = self.scope
        if self.unreadable(name) or self.looks_like_something_else(name, "H"):
            return
        if scope.kinds.get(name.name, Kind.PARAM) is Kind.PARAM:
            self.parameter(name)
            use = Use(self.text(self.definition.expr), name.place)
            scope.vector_uses.setdefault(name.name, use)
        else:
            scope.count(name.name)

    def parameter(self, name: Name) -> None:
        self.scope.count(name.name)
        if name.name not in self.scope.kinds:
            self.scope.kinds[name.name] = Kind.PARAM
            self.scope.places[name.name] = name.place
            self.scope.params.append(name.name)

    def unreadable(self, name: Name) -> bool:
        """Reports a name that has no value on this line; a parameter always has one."""
        scope = self.scope
        kind = scope.kinds.get(name.name)
        if name.primed and kind is not Kind.NEXT:
            scope.errors.append(not_a_state(scope, name.name.removesuffix(names.NEXT), name.place))
            return True
        if name.name in self.later and name.name not in scope.places:
            scope.count(name.name)
            self.undefined(name, kind)
            return True
        # A next value that no line defines is reported once, with its state.
        return kind is Kind.NEXT and name.name not in scope.places

    def looks_like_something_else(self, name: Name, shape: str) -> bool:
        """Reports a name that would become a parameter although something else is meant."""
        scope = self.scope
        if name.name in scope.kinds:
            return False
        declared = f"for a parameter of this name write  param {name.name}: {shape}"
        if name.name == "pi":
            what = "'pi' would be a parameter that is trained, not the number"
            self.report_once(name, what, declared, hint=names.PI)
            return True
        if name.name in functions.OVER_AXES and name.name not in self.later:
            what = f"'{name.name}' is a function, and needs its arguments"
            self.report_once(name, what, declared, hint=f"{name.name}(v)")
            return True
        parts = names.of_another_time(name.name)
        if parts is None or not self.is_array(parts[0]):
            return False
        fact, hint = self.at_another_time(name.name, *parts)
        what = f"'{name.name}' would be a parameter that is trained, not '{parts[0]}'"
        self.report_once(name, f"{what} at another time", fact, declared, hint=hint)
        return True

    def report_once(self, name: Name, what: str, *facts: str, hint: str) -> None:
        """Reports a name at its first use only."""
        if name.name not in self.scope.uses:
            self.report(what, name.place, *facts, hint=hint)
        self.scope.count(name.name)

    def is_array(self, name: str) -> bool:
        kinds = (Kind.INPUT, Kind.STATE, Kind.DEFINITION)
        return self.scope.kinds.get(name) in kinds or name in self.later

    def at_another_time(self, name: str, array: str, suffix: str) -> tuple[str, str]:
        """How a cell says what `name`, an array with a suffix, says elsewhere: fact and hint."""
        scope = self.scope
        kind = scope.kinds.get(array)
        if kind is Kind.STATE and suffix == "_t" and names.next_of(array) in scope.places:
            return f"{array}' is the next value of the state, {array} the previous one", f"{array}'"
        if kind is Kind.STATE:
            return f"{array} is a state: on the right it is the previous value", array
        if suffix == "_t":
            return f"every array is that of the present step: {array} alone", array
        width = show_shape(scope.shapes.get(array, ("H",)))
        return (
            f"a state keeps what an earlier step computed:  {name}' = {array}",
            f"state {name}: {width}",
        )

    def undefined(self, name: Name, kind: Kind | None) -> None:
        shown = self.scope.show(name.name)
        where = self.later[name.name].line
        if name.name == self.definition.target:
            hint = f"state {shown}: H   if it is to remember its previous value"
            if kind is Kind.NEXT:
                hint = f"{name.name.removesuffix(names.NEXT)}   is the previous value"
            self.report(f"{quote(shown)} is defined by itself", name.place, hint=hint)
        elif circle := self.circle(name.name):
            whole = " and ".join(quote(self.scope.show(each)) for each in circle)
            self.report(
                f"{whole} form a circle: each is defined by the next, the last by the first",
                name.place,
                f"{quote(shown)} is defined on line {where}",
            )
        else:
            self.report(
                f"{quote(shown)} is used before it is defined",
                name.place,
                f"it is defined on line {where}",
                hint=f"move line {where} up",
            )

    def circle(self, name: str) -> list[str]:
        """Definitions from this one through `name` back to this one; empty if there is no way."""
        reads = {
            each.target: {part.name for part in names_of(each.expr)}
            for each in self.scope.declaration.definitions
        }
        ways = [[self.definition.target, name]]
        seen = {name}
        while ways:
            way = ways.pop(0)
            if self.definition.target in reads.get(way[-1], set()):
                return way
            new = sorted(reads.get(way[-1], set()) & set(reads) - seen)
            seen.update(new)
            ways += [[*way, each] for each in new]
        return []

    def no_matrix(self, node: Binary) -> None:
        """The left of @ is computed. Most often an operator binds other than it looks."""
        left, right = node.left, self.text(node.right)
        hint = f"{self.scope.fresh('W')} @ {self.scope.bracketed(node.right)}   with a parameter W"
        if isinstance(left, Binary) and left.operator == "@" and not self.may_be_matrix(left.right):
            hint = (
                f"sum(({self.text(left)}) * {self.scope.bracketed(node.right)})   for two vectors"
            )
        elif isinstance(left, Binary) and left.operator == "@":
            hint = f"{self.text(left.left)} @ ({self.text(left.right)} @ {right})"
        elif isinstance(left, Binary) and _is_scaled(left) and not self.holds_matrix(left.left):
            factor = self.text(left.left)
            hint = f"{factor} {left.operator} ({self.text(left.right)} @ {right})"
        elif isinstance(left, Binary) and left.operator in ("+", "-") and _are_matrices(left):
            hint = f"{self.text(left.left)} @ {right} {left.operator} "
            hint += f"{self.text(left.right)} @ {right}"
        elif not isinstance(left, (Binary, Call)):
            inner = children(left)
            hint = f"-({self.text(inner[0])} @ {right})" if inner else hint
        self.report(
            f"'{self.text(left)}' stands left of @ and is no matrix",
            left.place,
            "@ takes a parameter on its left, and binds as tightly as *, from left to right",
            hint=hint,
        )

    def may_be_matrix(self, node: Node) -> bool:
        name = node.matrix if isinstance(node, Transpose) else node
        if not isinstance(name, Name) or self.is_array(name.name):
            return False
        return self.scope.kinds.get(name.name, Kind.PARAM) is Kind.PARAM

    def holds_matrix(self, node: Node) -> bool:
        return any(self.scope.is_matrix(name.name) for name in names_of(node))

    def exponent(self, node: Binary) -> None:
        value = self.constant(
            node.right,
            f"the exponent of '{self.text(node)}' is not constant",
            f"exp({self.text(node.right)} * log({self.text(node.left)}))",
        )
        if value is not None and abs(value) > MAX_EXPONENT:
            self.report(f"an exponent above {MAX_EXPONENT} is too large", node.right.place)

    def bounds(self, node: Call) -> None:
        v, low, high = (self.text(arg) for arg in node.args)
        hint = f"maximum({low}, minimum({v}, {high}))"
        what = "a bound of 'clip' is not constant"
        lowest, highest = (self.constant(arg, what, hint) for arg in node.args[1:])
        if lowest is not None and highest is not None and lowest > highest:
            self.report(
                "the lower bound of 'clip' lies above the upper one",
                node.args[1].place,
                hint=f"clip({v}, {high}, {low})",
            )

    def constant(self, node: Node, what: str, hint: str) -> functions.Expr | None:
        for name in names_of(node):
            if name.name in self.scope.consts:
                self.scope.count(name.name)
        try:
            return evaluate(node, self.scope.consts)
        except NotConstant as stop:
            self.report(what, stop.name.place, hint=hint)
        except CellError as error:
            self.scope.errors.append(error)
        return None


def _are_matrices(node: Binary) -> bool:
    return isinstance(node.left, (Name, Transpose)) and isinstance(node.right, (Name, Transpose))


def _is_scaled(node: Binary) -> bool:
    """a * W, a / W: brackets are missing around the product to come."""
    return node.operator in ("*", "/") and isinstance(node.right, (Name, Transpose))
