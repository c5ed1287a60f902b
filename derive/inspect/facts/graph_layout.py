"""A graph without cycles -> places in layers from left to right.

In: keys in topological order with what each reads, the size of each, keys for the last layer.
Out: a `Layout`: the centre of every node, and the points that every edge passes through.
Not here: what the nodes mean (data_flow.py), drawing (inspect/html/svg.py).

The usual three steps: layers by the longest way from a source, an order within each layer that
follows the mean place of neighbours, then places as close to those means as the gaps allow.
An edge across several layers passes through a point in each, so that no node lies on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_COLUMN_GAP, _ROW_GAP, _SWEEPS = 54.0, 12.0, 12
Point = tuple[float, float]
_Key = str | tuple[str, str, int]  # a node, or where an edge passes a layer


@dataclass(frozen=True, slots=True)
class Layout:
    """width, height: of everything.  edges: {(from, to): for each layer between the two, the
    points where the edge enters and leaves it}."""

    width: float
    height: float
    places: Mapping[str, Point]
    edges: Mapping[tuple[str, str], tuple[tuple[Point, Point], ...]]


def layered(
    reads: Mapping[str, Sequence[str]],
    sizes: Mapping[str, tuple[float, float]],
    last: Sequence[str] = (),
) -> Layout:
    layer = layers(reads, last)
    columns, before, after = _columns(reads, layer)
    heights: dict[_Key, float] = {
        key: sizes[key][1] if isinstance(key, str) else 4.0 for column in columns for key in column
    }
    for sweep in range(_SWEEPS):
        backward = sweep % 2
        order = range(len(columns) - 2, -1, -1) if backward else range(1, len(columns))
        for k in order:
            _sort(columns[k], columns[k + 1 if backward else k - 1], after if backward else before)
    rows = {key: y for column in columns for key, y in _stacked(column, heights).items()}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 else reversed(columns):
            rows.update(_placed(column, heights, rows, before, after))
    top = min(rows[key] - heights[key] / 2 for key in rows)
    bottom = max(rows[key] + heights[key] / 2 for key in rows)
    centres, sides, x = [], [], 0.0
    for column in columns:
        wide = max((sizes[key][0] for key in column if isinstance(key, str)), default=0.0)
        centres.append(x + wide / 2)
        sides.append((x, x + wide))
        x += wide + _COLUMN_GAP

    def passage(source: str, key: str, k: int) -> tuple[Point, Point]:
        y = rows[source, key, k] - top
        return (sides[k][0], y), (sides[k][1], y)

    return Layout(
        width=x - _COLUMN_GAP,
        height=bottom - top,
        places={key: (centres[layer[key]], rows[key] - top) for key in reads},
        edges={
            (source, key): tuple(
                passage(source, key, k) for k in range(layer[source] + 1, layer[key])
            )
            for key, sources in reads.items()
            for source in sources
        },
    )


def layers(reads: Mapping[str, Sequence[str]], last: Sequence[str] = ()) -> dict[str, int]:
    """The layer of each key: one more than the last of those that it reads."""
    layer: dict[str, int] = {}
    for key, sources in reads.items():
        layer[key] = 1 + max((layer[source] for source in sources), default=-1)
    end = max((n for key, n in layer.items() if key not in last), default=-1) + 1
    return {key: end if key in last else n for key, n in layer.items()}


_Near = dict[_Key, list[_Key]]


def _columns(
    reads: Mapping[str, Sequence[str]], layer: Mapping[str, int]
) -> tuple[list[list[_Key]], _Near, _Near]:
    columns: list[list[_Key]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    before: _Near = {}
    after: _Near = {}
    for key in reads:
        columns[layer[key]].append(key)
    for key, sources in reads.items():
        for source in sources:
            way: list[_Key] = [source]
            for k in range(layer[source] + 1, layer[key]):
                way.append((source, key, k))
                columns[k].append(way[-1])
            way.append(key)
            for one, other in pairwise(way):
                before.setdefault(other, []).append(one)
                after.setdefault(one, []).append(other)
    return columns, before, after


def _sort(column: list[_Key], beside: list[_Key], near: _Near) -> None:
    rank = {key: k for k, key in enumerate(beside)}
    own = {key: float(k) for k, key in enumerate(column)}

    def mean(key: _Key) -> float:
        places = [rank[other] for other in near.get(key, ()) if other in rank]
        return sum(places) / len(places) if places else own[key]

    column.sort(key=mean)


def _stacked(column: Sequence[_Key], heights: Mapping[_Key, float]) -> dict[_Key, float]:
    rows: dict[_Key, float] = {}
    y = -sum(heights[key] + _ROW_GAP for key in column) / 2
    for key in column:
        rows[key] = y + heights[key] / 2
        y += heights[key] + _ROW_GAP
    return rows


def _placed(
    column: Sequence[_Key],
    heights: Mapping[_Key, float],
    rows: Mapping[_Key, float],
    before: _Near,
    after: _Near,
) -> dict[_Key, float]:
    """As near to the mean of the neighbours as order and gaps allow: isotonic regression."""
    offset, offsets = 0.0, []
    for k, key in enumerate(column):
        if k:
            offset += (heights[column[k - 1]] + heights[key]) / 2 + _ROW_GAP
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # (mean, how many)
    for key, shift in zip(column, offsets, strict=True):
        near = [rows[other] for other in (*before.get(key, ()), *after.get(key, ()))]
        mean, count = (sum(near) / len(near) if near else rows[key]) - shift, 1
        while blocks and blocks[-1][0] > mean:
            other, many = blocks.pop()
            mean, count = (mean * count + other * many) / (count + many), count + many
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return {key: mean + shift for key, mean, shift in zip(column, means, offsets, strict=True)}
