"""Cell -> its data flow as a graph: what reads what, and which way the state takes.

In: a Cell.  Out: a `Graph` of nodes in an order in which each can be computed.
Not here: where a node stands (graph_layout.py), what it looks like (inspect/html/svg.py).

A node is what the author named, or a product. What has no name and one reader is drawn as part
of its reader: sigmoid(W_i @ x + U_i @ h + b_i) is two products and the gate i.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sympy

from derive.cell import Cell
from derive.inspect.facts import graph_layout
from derive.program import Map, Matmul, Program, Sum
from derive.program.formulas import formula
from derive.symbolic import functions, heads
from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import Expr
from derive.textbook.derivation import owners
from derive.textbook.notation import TEXT, function_name, order_in, write


class Role(enum.Enum):
    INPUT = "input"
    STATE = "state"
    PRODUCT = "product"
    POINTWISE = "pointwise"
    WIDTH_SUM = "sum over the width"
    NEXT = "next state"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Node:
    """key: unique.  name: what is written.  note: a line below it.  title: its equation.
    text: what stands for it in a line of text.  equation: the author's equation that it belongs
    to, "" where there is none."""

    key: str
    text: str
    name: str
    note: str
    title: str
    equation: str
    role: Role
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """recurrent: nodes on a way from a state to a next state; direct: those of a way that
    meets no product and no sum, along which a gradient flows unmixed."""

    nodes: tuple[Node, ...]
    recurrent: frozenset[str]
    direct: frozenset[str]


def graph(cell: Cell) -> Graph:
    program = cell.step.program
    equation_of = {e.lhs.name: e for e in cell.equations}
    merged = _merged(program, set(equation_of) | set(program.outputs))
    nodes = [_source(name, Role.INPUT, cell.inputs[name]) for name in cell.step.inputs]
    nodes += [_source(name, Role.STATE, cell.states[name]) for name in cell.step.states]
    rows = {array.name for array in program.arrays if array.per_row}
    parts = _Parts(program, merged, rows)
    owner = owners(program, set(equation_of))
    titles = _titles(cell)
    table = program.table()
    for equation in program.equations:
        name = equation.out
        if name in merged or name not in rows:
            continue
        shown = owner.get(name, "")
        title = titles.get(name) or titles.get(shown, name)
        if isinstance(equation, Matmul):
            matrix = equation.left if name not in equation_of else name
            shape = " × ".join(map(str, table[equation.left].shape))
            note = shape if matrix == equation.left else equation.left
            text = (
                name if name in equation_of else write(formula(equation, table), TEXT, order_in(""))
            )
            reads = parts.reads(name)
            nodes.append(Node(name, text, matrix, note, title, shown, Role.PRODUCT, reads))
        else:
            role = Role.WIDTH_SUM if parts.sums(name) else Role.POINTWISE
            value = equation_of[name].rhs if name in equation_of else None
            value = equation.expr if value is None and isinstance(equation, Map) else value
            summed = role is Role.WIDTH_SUM or value is None
            note = "∑" if summed else sign(value)
            nodes.append(Node(name, name, name, note, title, shown, role, parts.reads(name)))
    nodes += _ports(cell)
    return Graph(tuple(nodes), *_ways(nodes))


def layers(found: Graph) -> tuple[tuple[str, ...], ...]:
    """The keys of the nodes of each layer: what reads only layers before it."""
    ends = [node.key for node in found.nodes if node.role in (Role.NEXT, Role.OUTPUT)]
    layer = graph_layout.layers({node.key: node.reads for node in found.nodes}, ends)
    return tuple(
        tuple(key for key, number in layer.items() if number == k)
        for k in range(max(layer.values(), default=-1) + 1)
    )


def _source(name: str, role: Role, shape: Iterable[object]) -> Node:
    note = " × ".join(map(str, shape))
    return Node(name, name, name, note, f"{role.value} {name}", "", role, ())


def _ports(cell: Cell) -> list[Node]:
    step = cell.step
    ports = []
    outputs = set(step.outputs)
    for state, after in zip(step.states, step.next_states, strict=True):
        note = f"becomes {state}" + (", output" if after in outputs else "")
        name = f"{state}_next"
        ports.append(Node(f"next {state}", name, name, note, note, "", Role.NEXT, (after,)))
    for key, name in zip(cell.output_keys, step.outputs, strict=True):
        if name not in step.next_states:
            note = "output"
            ports.append(Node(f"output {key}", key, key, note, note, "", Role.OUTPUT, (name,)))
    return ports


def _titles(cell: Cell) -> dict[str, str]:
    return {
        e.lhs.name: f"{e.lhs.name} = {write(e.rhs, TEXT, order_in(cell.to_text()))}"
        for e in cell.equations
    }


def _merged(program: Program, named: set[str]) -> set[str]:
    """Arrays without a name and with one reader, other than products."""
    readers: dict[str, set[str]] = {}
    for equation in program.equations:
        for name in equation.operands:
            readers.setdefault(name, set()).add(equation.out)
    return {
        e.out
        for e in program.equations
        if e.out not in named and not isinstance(e, Matmul) and len(readers.get(e.out, ())) == 1
    }


@dataclass(frozen=True, slots=True)
class _Parts:
    program: Program
    merged: set[str]
    rows: set[str]

    def reads(self, name: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for operand in self.program.definitions()[name].operands:
            if operand in self.merged:
                found.update(dict.fromkeys(self.reads(operand)))
            elif operand in self.rows:
                found.setdefault(operand)
        return tuple(found)

    def sums(self, name: str) -> bool:
        equation = self.program.definitions()[name]
        inner = (operand for operand in equation.operands if operand in self.merged)
        return isinstance(equation, Sum) or any(map(self.sums, inner))


def sign(value: Expr) -> str:
    """What an equation does last, in a few signs: σ, tanh, +, ×."""
    if value.is_Add:
        return "× +" if any(term.is_Mul and len(_factors(term)) > 1 for term in value.args) else "+"
    if value.is_Mul:
        return "÷" if any(f.is_Pow and f.exp.is_negative for f in value.args) else "×"
    if isinstance(value, sympy.Pow) and not isinstance(value, functions.exp):
        return "√" if value.exp == functions.HALF else "^"
    if not value.args:
        return "="
    if isinstance(value, heads.matmul):
        return "×"
    name = function_name(value)
    symbol = "∑" if name == "sum" else TABLE[name].symbol if name in TABLE else ""
    return symbol if len(symbol) == 1 else name


def _factors(term: Expr) -> list[Expr]:
    return [factor for factor in term.args if not factor.is_number]


def _ways(nodes: list[Node]) -> tuple[frozenset[str], frozenset[str]]:
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for name in node.reads:
            readers.setdefault(name, []).append(node.key)
    writers = {node.key: list(node.reads) for node in nodes}
    unmixed = {n.key for n in nodes if n.role not in (Role.PRODUCT, Role.WIDTH_SUM)}
    starts = [node.key for node in nodes if node.role is Role.STATE]
    ends = [node.key for node in nodes if node.role is Role.NEXT]

    def between(allowed: set[str]) -> frozenset[str]:
        return frozenset(_reached(starts, readers, allowed) & _reached(ends, writers, allowed))

    return between(set(writers)), between(unmixed)


def _reached(starts: list[str], along: Mapping[str, list[str]], allowed: set[str]) -> set[str]:
    found, waiting = set(starts), list(starts)
    while waiting:
        for key in along.get(waiting.pop(), ()):
            if key not in found and key in allowed:
                found.add(key)
                waiting.append(key)
    return found
