"""A View's graph, shapes and chain rule as text for a terminal.

In: a View.  Out: lines.
Not here: the other stages (report.py, cost.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from derive.inspect.facts.chain_rule import Link
from derive.inspect.facts.data_flow import Graph, Node, Role, layers
from derive.inspect.facts.view import View
from derive.inspect.text.layout import WIDTH, Block, columns, lines_of, shape_text
from derive.inspect.text.line_breaking import folded
from derive.symbolic.closed_set import TABLE
from derive.textbook.derivation import Derivation
from derive.textbook.notation import TEXT, Order, write

# --- graph ----------------------------------------------------------------------------------


def graph(view: View) -> Block:
    """The nodes, layer by layer, in the order of the page's picture from left to right."""
    found = view.graph
    nodes = {node.key: node for node in found.nodes}
    rows = [("", "", "node", "is", "reads")]
    for number, layer in enumerate(layers(found), 1):
        for k, key in enumerate(layer):
            node = nodes[key]
            reads = ", ".join(nodes[name].text for name in node.reads)
            rows.append((str(number) if k == 0 else "", _way(found, key), node.text,
                         _kind(node), reads))  # fmt: skip
    yield from columns(rows, right=(0,))
    yield ""
    yield "|  on the way from a state to a next state: the sequential part of a step"
    yield "#  such a way that meets no product and no sum: here a gradient flows unmixed"


def _way(found: Graph, key: str) -> str:
    return "#" if key in found.direct else "|" if key in found.recurrent else ""


def _kind(node: Node) -> str:
    if node.role is Role.NEXT:
        return node.note
    if node.role is Role.POINTWISE:
        return f"pointwise, {node.note}".translate(_ASCII)
    if node.role is Role.PRODUCT:
        return "product"
    if node.role in (Role.INPUT, Role.STATE):
        return f"{node.role.value}, {node.note}".translate(_ASCII)
    kind: str = node.role.value
    return kind


#: Signs of the picture, as one types them.
_ASCII: dict[int, str] = str.maketrans(
    {
        **{record.symbol: name for name, record in TABLE.items() if len(record.symbol) == 1},
        **{"×": "x", "÷": "/", "√": "sqrt", "∑": "sum"},
    }
)


# --- shapes ---------------------------------------------------------------------------------


def shapes(view: View) -> Block:
    rows = [("what it is", "of one row", "of a call", "arrays")]
    for found in view.arrays:
        cells = (found.role, shape_text(found.shape), shape_text(found.call))
        lines = textwrap.wrap(", ".join(found.names), 44, break_long_words=False)
        rows += [(*(cells if k == 0 else ("", "", "")), line) for k, line in enumerate(lines)]
    yield from columns(rows)
    yield ""
    yield "T steps, B rows. A cotangent d_NAME has the shape of NAME."


# --- chain rule -----------------------------------------------------------------------------


def chain(view: View) -> Block:
    """Each line of the gradient, below it every equation that reads the array."""
    found = view.derivation
    writer = _Chain(found, {name: array for array, name in view.gradient.derivative.of})
    for line in found.gradient:
        yield from lines_of([line])
        links = view.chain[line.name]
        for link in links:
            yield from writer.link(link, writer.of[line.name], "    ", len(links) > 1)
    yield ""
    yield "r_D_a is the slope of r by a: the partial derivative, element by element."


class _Chain:
    """of: {cotangent: its array}."""

    def __init__(self, found: Derivation, of: Mapping[str, str]) -> None:
        self.orders, self.reading, self.of = found.orders, found.reading, of
        self.meaning = {seed.name: seed.meaning for seed in found.seeds}

    def link(self, link: Link, array: str, indent: str, several: bool) -> Iterator[str]:
        """several: whether the term is one of those that are added up."""
        term = self.text(link.term)
        if not link.consumer:
            yield f"{indent}{term}: {self.meaning[term]}"
            return
        named = link.consumer in self.orders or link.slope is not None
        value = self.text(link.value, self.orders.get(link.consumer))
        parts = ["from  " + (f"{link.consumer} = {value}" if named else value)]
        if link.slope is not None:
            parts.append(f"slope {link.consumer}_D_{array} = {self.text(link.slope)}")
        else:
            parts.append(link.rule)
        if several or link.behind:
            parts.append(f"adds  {term}")
        yield from _side_by_side(parts, indent)
        if link.behind:
            whose = "is the sum of" if len(link.behind) > 1 else "comes"
            yield f"{indent}where the cotangent of {link.consumer} {whose}"
            for one in link.behind:
                yield from self.link(one, link.consumer, indent + "    ", True)

    def text(self, value: object, order: Order | None = None) -> str:
        return write(value, TEXT, order or self.reading)


def _side_by_side(parts: Sequence[str], indent: str) -> Block:
    """In one line where there is room, else one below the other."""
    line = indent + "   ".join(parts)
    if len(line) <= WIDTH:
        yield line
        return
    for part in parts:
        first, *rest = folded(part, WIDTH - len(indent))
        yield indent + first
        yield from (indent + "      " + row for row in rest)
