"""A View's graph, shapes and chain rule as LaTeX.

In: a View.  Out: lines of LaTeX. The graph is a picture for TikZ.
Not here: the other stages (report.py, cost.py), where nodes stand (inspect/facts/graph_layout.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from derive.inspect.facts.chain_rule import Link
from derive.inspect.facts.data_flow import Graph, Node, Role
from derive.inspect.facts.graph_layout import Layout, Point
from derive.inspect.facts.view import View
from derive.inspect.html.svg import laid_out, size_of
from derive.inspect.latex.layout import (
    Block,
    aligned,
    escape,
    inline,
    meaning,
    names,
    shape_text,
    table,
)
from derive.inspect.latex.notation import latex_name
from derive.textbook.derivation import Derivation

# --- graph ----------------------------------------------------------------------------------

#: Points on paper for a pixel of the page's picture; text of the picture is 16 pixels high.
_SCALE = 0.62
#: The room on an A4 page with the margins of the document, in points.
_ACROSS, _DOWN = 480.0, 690.0

_STYLES = {
    Role.INPUT: "draw, densely dashed",
    Role.OUTPUT: "draw, densely dashed",
    Role.STATE: "draw=way, thick",
    Role.NEXT: "draw=way, thick",
    Role.PRODUCT: "draw=product, fill=product!16",
    Role.POINTWISE: "draw, rounded rectangle",
    Role.WIDTH_SUM: "draw, chamfered rectangle, chamfered rectangle xsep=4pt",
}


def graph(view: View) -> Block:
    """The picture of the page; a wide one stands upright."""
    found = view.graph
    nodes = {node.key: node for node in found.nodes}
    layout = laid_out(found)
    width, height = _SCALE * (layout.width + 8), _SCALE * (layout.height + 8)
    flat = min(1.0, _ACROSS / width, _DOWN / height)
    upright = min(1.0, _DOWN / width, _ACROSS / height)
    scale, turned = (upright, True) if flat < 0.8 and upright > 1.2 * flat else (flat, False)
    yield r"\begin{center}"
    yield (r"\rotatebox{90}{" if turned else "{") + rf"\scalebox{{{scale:.3f}}}{{%"
    yield rf"\begin{{tikzpicture}}[x={_SCALE}pt, y=-{_SCALE}pt, >=stealth]"
    for source, target in layout.edges:
        yield _edge(layout, nodes[source], nodes[target], _tone(found, source, target))
    for node in found.nodes:
        yield _node(node, layout.places[node.key], _tone(found, node.key, node.key))
    yield r"\end{tikzpicture}}}"
    yield r"\end{center}"
    yield r"\noindent Blue squares are products with a matrix, round nodes are pointwise, nodes"
    yield r"with six corners contain a sum over the width. Orange lies on a way from a state to a"
    yield r"next state; thick where that way meets no product and no sum."


def _tone(found: Graph, source: str, target: str) -> str:
    if source in found.direct and target in found.direct:
        return "draw=way, line width=1.6pt"
    if {source, target} <= found.recurrent:
        return "draw=way, thick"
    return ""


def _node(node: Node, place: Point, tone: str) -> str:
    wide, high = (_SCALE * length for length in size_of(node))
    if node.role is Role.PRODUCT:
        tone = ""
    style = ", ".join(part for part in (_STYLES[node.role], tone) if part)
    room = f"minimum width={wide:.1f}pt, minimum height={high:.1f}pt, inner sep=0pt"
    text = rf"\shortstack{{${latex_name(node.name)}$\\[-1pt]{{\scriptsize {_note(node)}}}}}"
    return rf"\node[{style}, {room}] at ({place[0]:.1f},{place[1]:.1f}) {{{text}}};"


def _note(node: Node) -> str:
    return escape(node.note) if node.note else r"\strut"


def _edge(layout: Layout, source: Node, target: Node, tone: str) -> str:
    x, y = layout.places[source.key]
    last = (x + size_of(source)[0] / 2, y)
    path = _point(last)
    x, y = layout.places[target.key]
    end = (x - size_of(target)[0] / 2, y)
    for enter, leave in (*layout.edges[source.key, target.key], (end, end)):
        middle = (last[0] + enter[0]) / 2
        path += f" .. controls {_point((middle, last[1]))} and {_point((middle, enter[1]))} .. "
        path += _point(enter) + (f" -- {_point(leave)}" if leave != enter else "")
        last = leave
    return rf"\draw[->, {tone or 'gray'}] {path};"


def _point(point: Point) -> str:
    return f"({point[0]:.1f},{point[1]:.1f})"


# --- shapes ---------------------------------------------------------------------------------


def shapes(view: View) -> Block:
    rows = (
        (r.role, f"${shape_text(r.shape)}$", f"${shape_text(r.call)}$", names(r.names))
        for r in view.arrays
    )
    head = ("what it is", "of one row", "of a call", "arrays")
    yield from table(r"lllp{7.6cm}", head, rows)
    yield r"$T$ steps, $B$ rows. A cotangent has the shape of what it is a cotangent of."


# --- chain rule -----------------------------------------------------------------------------


def chain(view: View) -> Block:
    """Each line of the gradient, below it every equation that reads the array."""
    found = view.derivation
    writer = _Chain(found, {name: array for array, name in view.gradient.derivative.of})
    for line in found.gradient:
        yield from aligned([line])
        if links := view.chain[line.name]:
            yield from writer.items(links, writer.of[line.name], len(links) > 1)


class _Chain:
    """of: {cotangent: its array}."""

    def __init__(self, found: Derivation, of: Mapping[str, str]) -> None:
        self.orders, self.reading, self.of = found.orders, found.reading, of
        self.meaning = {seed.name: seed.meaning for seed in found.seeds}

    def items(self, links: tuple[Link, ...], array: str, several: bool) -> Iterator[str]:
        yield r"\begin{itemize}"
        for link in links:
            yield rf"\item {self.item(link, array, several)}"
            if link.behind:
                yield from self.items(link.behind, link.consumer, True)
        yield r"\end{itemize}"

    def item(self, link: Link, array: str, several: bool) -> str:
        if not link.consumer:
            name = str(link.term)
            return f"${latex_name(name)}$: {meaning(self.meaning[name])}."
        named = link.consumer in self.orders or link.slope is not None
        value = inline(link.value, self.orders.get(link.consumer, self.reading))
        consumer = latex_name(link.consumer)
        text = f"From ${consumer} =$ {value}: " if named else f"From {value}: "
        if link.slope is not None:
            slope = inline(link.slope, self.reading)
            text += rf"slope $\partial {consumer} / \partial {latex_name(array)} =$ {slope}"
        else:
            text += link.rule
        if several or link.behind:
            text += f"; adds {inline(link.term, self.reading)}"
        if link.behind:
            whose = "is the sum of" if len(link.behind) > 1 else "comes"
            text += f", where the cotangent of ${consumer}$ {whose}"
        return text + "." * (not link.behind)
