"""Step -> Declaration: equations that were derived, as a cell that a person may read and change.

In: a Step, a name and a doc.  Out: a Declaration.
Not here: the way from a Declaration to a Step (lower.py), text (parse_text.py).

An array that the author did not name and that one line uses is written out in that line. Trees are
put together, not SymPy expressions, so nothing is simplified on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import sympy

from derive.errors import InternalError, Place
from derive.language import from_sympy, tree
from derive.language.declaration import Declaration, Declared, Definition, Dim, Output
from derive.language.tree import Binary, Call, Compare, Name, Negative, Node, Number, Transpose
from derive.program import Array, Layout, Map, Matmul, Namer, Over, Step, Sum, names_in
from derive.symbolic import functions
from derive.symbolic.functions import Expr

_NOWHERE = Place("<step>", 1, 1, "")
#: A line of more nodes than this is not written out in another.
_LONG = 60


def unsayable(step: Step) -> str | None:
    """The first array that no text says yet."""
    table, given = step.program.table(), set(step.params)
    for equation in step.program.equations:
        plain = isinstance(equation, Map) and not equation.places
        if isinstance(equation, Sum):
            plain = equation.over is Over.SUM and not equation.axes
        if isinstance(equation, Matmul):
            plain = equation.layout is not Layout.AXES and equation.left in given
        if not plain or len(table[equation.out].shape) > 1:
            return equation.out
    return None


def declaration(step: Step, name: str, doc: str = "") -> Declaration:
    """The cell whose time step computes what `step` does."""
    lines = _Lines(step)
    for equation in step.program.equations:
        lines.add(equation)
    return Declaration(
        name=name,
        doc=doc,
        inputs=lines.declared(step.inputs),
        states=lines.declared(step.states),
        params=lines.declared(step.params),
        consts=(),
        definitions=tuple(lines.definitions()),
        outputs=tuple(Output(n, _NOWHERE, n in lines.primes) for n in lines.outputs),
        place=_NOWHERE,
    )


@dataclass(slots=True)
class _Line:
    tree: Node
    width: Dim  # as it is written, which need not be that of the array


class _Lines:
    def __init__(self, step: Step) -> None:
        self.step = step
        self.table = step.program.table()
        self.lines: dict[str, _Line] = {}
        self.primes = set(step.next_states)
        self.outputs = tuple(self.output(name) for name in step.outputs)
        self.named = {*step.defined, *step.next_states, *self.outputs}
        self.fresh = Namer(self.table)
        given = (*step.params, *step.inputs, *step.states)
        self.order = [e.out for e in step.program.equations] + list(given)

    def declared(self, group: Iterable[str]) -> tuple[Declared, ...]:
        return tuple(Declared(name, self.table[name].shape, _NOWHERE) for name in group)

    def output(self, name: str) -> str:
        """What is put out: an array of all rows, where `name` only spreads it over them."""
        equation = self.step.program.definitions().get(name)
        if isinstance(equation, Map) and equation.expr.is_Symbol:
            source = self.table[equation.operands[0]] if equation.operands else None
            if source and not source.per_row and source.name not in self.step.outputs:
                return source.name
        return name

    # --- one equation

    def add(self, equation: Map | Matmul | Sum) -> None:
        out = self.table[equation.out]
        if isinstance(equation, Map):
            node, width = self.map(equation)
        elif isinstance(equation, Sum):
            node, width = self.sum_of("sum", equation), 1
        else:
            node, width = self.product(equation), out.width
        if width != out.width and out.name not in self.step.next_states:
            node, width = _plus(node, self.nothing(out)), out.width
        self.lines[out.name] = _Line(node, width)

    def map(self, equation: Map) -> tuple[Node, Dim]:
        if equation.places:
            raise InternalError(f"{equation.out}: no cell says where these axes lie")
        expr = self.without_sizes(equation)
        node = from_sympy.read(in_public_functions(expr), self.order)
        widths = [self.table[name].width for name in names_in(equation.expr)]
        return node, next((width for width in widths if width != 1), 1)

    def without_sizes(self, equation: Map) -> Expr:
        """A sum divided by how many it sums is a mean, and that is how the language says it."""
        expr = equation.expr
        if not any(functions.is_size(s) for s in expr.free_symbols):
            return expr
        definitions = self.step.program.definitions()
        swap: dict[Any, Expr] = {}
        for name in equation.operands:
            source = definitions.get(name)
            if isinstance(source, Sum):
                mean = self.fresh(f"mean_{source.source}")
                self.table[mean] = replace(self.table[name], name=mean)
                self.lines[mean] = _Line(self.sum_of("mean", source), 1)
                width = self.table[source.source].width
                swap[functions.symbol(name)] = functions.size(width) * functions.symbol(mean)
        expr = cast(Expr, sympy.expand_mul(expr.xreplace(swap)))
        if any(functions.is_size(s) for s in expr.free_symbols):
            raise InternalError(f"{equation.out}: a width stands in its equation: {expr}")
        return expr

    def sum_of(self, function: str, equation: Sum) -> Node:
        source, out = self.table[equation.source], self.table[equation.out]
        plain = equation.over is Over.SUM and len(source.shape) == 1 and out.shape == (1,)
        if source.per_row != out.per_row or not plain:
            raise InternalError(f"{equation.out}: no cell says such a sum")
        return Call(function, (_name(equation.source),), _NOWHERE)

    def product(self, equation: Matmul) -> Node:
        one_axis = equation.layout in (Layout.NORMAL, Layout.TRANSPOSED)
        if equation.left not in self.step.params or not one_axis:
            raise InternalError(f"{equation.out}: no cell says such a product")
        left: Node = _name(equation.left)
        if equation.layout is Layout.TRANSPOSED:
            left = Transpose(_name(equation.left), _NOWHERE)
        return Binary("@", left, _name(equation.right), _NOWHERE)

    def nothing(self, out: Array) -> Node:
        """0, as wide as `out`: 0 * v of some v of that width."""
        given = (*self.step.inputs, *self.step.states, *self.step.params)
        for name in (*given, *self.lines):
            if self.table[name].shape == out.shape:
                return Binary("*", Number("0", _NOWHERE), _name(name), _NOWHERE)
        raise InternalError(f"{out.name}: nothing else is as wide as {out.width}")

    # --- all lines

    def definitions(self) -> Iterable[Definition]:
        needed = self.needed()
        written: dict[str, Node] = {}
        uses = Counter(name.name for n in needed for name in tree.names_of(self.lines[n].tree))
        scaled = {name for n in needed for name in _scaled(self.lines[n].tree)}
        for name in [name for name in self.lines if name in needed]:
            node = _substituted(self.lines[name].tree, written)
            own = name in self.named or uses[name] != 1 or _size(node) > _LONG
            if own or (name in scaled and _products(node) > 1):
                yield Definition(name, _spelled(node, self.primes), _NOWHERE, name in self.primes)
            else:
                written[name] = node

    def needed(self) -> set[str]:
        """Lines that next values and outputs need."""
        found: set[str] = set()
        open_ = [name for name in (*self.step.next_states, *self.outputs) if name in self.lines]
        while open_:
            name = open_.pop()
            if name not in found:
                found.add(name)
                open_ += [
                    n.name for n in tree.names_of(self.lines[name].tree) if n.name in self.lines
                ]
        return found


def _name(name: str) -> Name:
    return Name(name, _NOWHERE)


def _plus(node: Node, other: Node) -> Node:
    if node == Number("0", _NOWHERE):
        return other
    return Binary("+", node, other, _NOWHERE)


def _size(node: Node) -> int:
    return sum(1 for _ in tree.walk(node))


def _products(node: Node) -> int:
    return sum(isinstance(part, Binary) and part.operator == "@" for part in tree.walk(node))


def _scaled(node: Node) -> set[str]:
    """Names that are factors: the tangent of a gate's argument reads better on its own line."""
    return {
        side.name
        for part in tree.walk(node)
        if isinstance(part, Binary) and part.operator in "*/"
        for side in (part.left, part.right)
        if isinstance(side, Name)
    }


def _substituted(node: Node, by: Mapping[str, Node]) -> Node:
    """The tree with names replaced by trees. What stands left of @ is a matrix and stays."""
    if isinstance(node, Name):
        return by.get(node.name, node)
    node = _rebuilt(node, lambda child: _substituted(child, by))
    if isinstance(node, Binary) and node.operator == "+" and _is_sum(node.right):
        return _added(node.left, node.right)
    return node


def _is_sum(node: Node) -> bool:
    return isinstance(node, Binary) and node.operator in ("+", "-")


def _added(left: Node, right: Node) -> Node:
    """a + (b + c) as a + b + c."""
    if isinstance(right, Binary) and right.operator in ("+", "-"):
        return Binary(right.operator, _added(left, right.left), right.right, _NOWHERE)
    return Binary("+", left, right, _NOWHERE)


def _spelled(node: Node, primes: set[str]) -> Node:
    """The tree with next values spelled h'."""
    if isinstance(node, Name):
        return replace(node, primed=True) if node.name in primes else node
    return _rebuilt(node, lambda child: _spelled(child, primes))


def _rebuilt(node: Node, change: Any) -> Node:
    if isinstance(node, Call):
        return replace(node, args=tuple(map(change, node.args)))
    if isinstance(node, (Binary, Compare)):
        return replace(node, left=change(node.left), right=change(node.right))
    if isinstance(node, Negative):
        return replace(node, operand=change(node.operand))
    return node


def in_public_functions(expr: Expr) -> Expr:
    """Without the functions that differentiation makes and no text can name."""
    for head, formula in _FORMULAS.items():
        expr = cast(Expr, expr.replace(head, formula))
    return expr


_FORMULAS: Mapping[Any, Any] = {
    functions.gelu_slope: lambda u: (
        functions.HALF * (1 + functions.erf(u / sympy.sqrt(2)))
        + u * functions.gaussian(u) / sympy.sqrt(2 * sympy.pi)
    ),
    functions.silu_slope: lambda u: functions.sigmoid(u) * (1 + u * functions.sigmoid(-u)),
    functions.gaussian: lambda u: sympy.exp(-(u**2) / 2),
}
