"""A data-flow graph as SVG.

In: a Graph, and whether nodes link to the equations of a page.  Out: one `<svg>` element.
Not here: what the nodes are (inspect/facts/data_flow.py), where they stand
(inspect/facts/graph_layout.py), colours (the templates' style sheet, by class).

Products are squares, pointwise nodes are round, sums over the width are cut off at the corners;
inputs and states have no fill.
"""

from __future__ import annotations

from html import escape

from derive.inspect.facts.data_flow import Graph, Node, Role
from derive.inspect.facts.graph_layout import Layout, Point, layered
from derive.inspect.html.mathml import Parts, parts

#: How far a drawing shrinks to fit a page; beyond that it scrolls.
_SHRINK = 0.7
_MARGIN, _HEIGHT, _LETTER, _SMALL = 8.0, 38.0, 9.2, 6.2
_ENDS = (Role.NEXT, Role.OUTPUT)


def drawn(graph: Graph, *, linked: bool) -> str:
    nodes = {node.key: node for node in graph.nodes}
    layout = laid_out(graph)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    label = "data flow from inputs and states on the left to the next states on the right"
    lines = [
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'style="min-width: {_SHRINK * width:.0f}px" role="img" aria-label="{label}">',
        f'<g transform="translate({_MARGIN:g} {_MARGIN:g})">',
    ]
    edges = [(_tone(graph, a, b), a, b) for a, b in layout.edges]
    for tone, source, target in sorted(edges, key=lambda edge: len(edge[0])):
        lines.append(_edge(layout, nodes[source], nodes[target], tone))
    for node in graph.nodes:
        lines.append(_node(node, layout.places[node.key], _node_tone(graph, node.key), linked))
    return "\n".join([*lines, "</g>", "</svg>"])


def laid_out(graph: Graph) -> Layout:
    return layered(
        {node.key: node.reads for node in graph.nodes},
        {node.key: size_of(node) for node in graph.nodes},
        [node.key for node in graph.nodes if node.role in _ENDS],
    )


def size_of(node: Node) -> tuple[float, float]:
    return max(44.0, _width(parts(node.name)) + 20, len(node.note) * _SMALL + 16), _HEIGHT


def _width(name: Parts) -> float:
    below = sum(map(len, name.below)) + max(len(name.below) - 1, 0) * 0.5
    return (name.differentials + len(name.base)) * _LETTER + below * _SMALL * 1.1


def _tone(graph: Graph, source: str, target: str) -> str:
    if source in graph.direct and target in graph.direct:
        return "recurrent direct"
    return "recurrent" if {source, target} <= graph.recurrent else ""


def _node_tone(graph: Graph, key: str) -> str:
    return _tone(graph, key, key)


def _edge(layout: Layout, source: Node, target: Node, tone: str) -> str:
    x, y = layout.places[source.key]
    path, last = f"M{x + size_of(source)[0] / 2:.1f} {y:.1f}", (x + size_of(source)[0] / 2, y)
    x, y = layout.places[target.key]
    end = (x - size_of(target)[0] / 2 - 5, y)
    for enter, leave in (*layout.edges[source.key, target.key], (end, end)):
        path += _curve(last, enter) + (f" H{leave[0]:.1f}" if leave != enter else "")
        last = leave
    x, y = end
    head = f"M{x - 2:.1f} {y - 4:.1f} l7 4 l-7 4 z"
    return (
        f'<g class="edge {tone}"><path class="way" d="{path}"></path>'
        f'<path class="head" d="{head}"></path></g>'
    )


def _curve(start: Point, end: Point) -> str:
    middle = (start[0] + end[0]) / 2
    return f" C{middle:.1f} {start[1]:.1f} {middle:.1f} {end[1]:.1f} {end[0]:.1f} {end[1]:.1f}"


def _node(node: Node, place: Point, tone: str, linked: bool) -> str:
    x, y = place
    wide, high = size_of(node)
    kind = node.role.name.lower()
    shape = _outline(node.role, x - wide / 2, y - high / 2, wide, high)
    note = f'<text class="note" x="{x:.1f}" y="{y + 13:.1f}">{escape(node.note)}</text>'
    inner = (
        f"<title>{escape(node.title)}</title>{shape}"
        f'<text class="name" x="{x:.1f}" y="{y:.1f}">{_label(parts(node.name))}</text>{note}'
    )
    if linked and node.equation:
        inner = f'<a href="#eq-{escape(node.equation)}">{inner}</a>'
    return f'<g class="node {kind} {tone}">{inner}</g>'


def _outline(role: Role, x: float, y: float, wide: float, high: float) -> str:
    if role is Role.WIDTH_SUM:
        cut = 10
        return (
            f'<path class="shape" d="M{x + cut:.1f} {y:.1f} h{wide - 2 * cut:.1f} l{cut} '
            f"{high / 2:.1f} l-{cut} {high / 2:.1f} h-{wide - 2 * cut:.1f} l-{cut} "
            f'-{high / 2:.1f} z"></path>'
        )
    radius = high / 2 if role is Role.POINTWISE else 2
    return (
        f'<rect class="shape" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f'rx="{radius:g}"></rect>'
    )


def _label(name: Parts) -> str:
    text = "d" * name.differentials + escape(name.base)
    if not name.below:
        return text
    return f'{text}<tspan class="below" dy="4">{escape(" ".join(name.below))}</tspan>'
