"""load_layers: all layers and directions of another system's stack in one call.

In: a Cell, the name of a system, arrays (or a file, or a model), where the layers lie.  Out:
{NAME_l0: array, NAME_l0_reverse: array, NAME_l1: ...}, as `layers.RNN` takes them.
Not here: one layer and direction (exchange.py).

PyTorch's names carry layer and direction. Elsewhere a layer is a place that has all arrays of a
cell: places are sorted as a person counts (lstm, lstm_1, ..., lstm_10), and a part of a name that
says forward or backward is the direction. An ONNX model has its recurrent nodes in order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text
from derive.kernel.signature import Arrays
from derive.weights.array_files import read_arrays
from derive.weights.exchange import load
from derive.weights.name_scopes import flat_arrays, scopes_in
from derive.weights.options import check_cell, is_model, options_of, system_of
from derive.weights.systems import System

#: Parts of names that say a direction.
_FORWARD = re.compile(r"(^|[_/.])(forward_layer|forward|fwd|fw)(?=[_/.]|$)")
_BACKWARD = re.compile(r"(^|[_/.])(backward_layer|backward|bwd|bw|reverse)(?=[_/.]|$)")
_LAYER = re.compile(r"_l(\d+)(_reverse)?$")

#: What loads one direction: options of `load`, and the arrays where they differ.
Part = dict[str, Any]


def load_layers(
    cell: Cell,
    source: str,
    arrays: Any,
    *,
    prefix: str | Sequence[Any] | None = None,
    dtype: Any = None,
    **options: Any,
) -> Arrays:
    """Parameters of all layers and directions, by the names of layers.RNN.

    arrays: as for `load`, of a whole stack: {name: array}, the path of a file, an ONNX model.
    prefix: where they lie; or a list with the place of each layer, from below, and a pair
    (forward, backward) for a layer of both directions.  dtype and options: as for `load`.

    ArgumentError where the layers cannot be told, where they do not fit on each other, and as
    for `load`.
    """
    check_cell(cell)
    system = system_of(source)
    options_of(system, options)
    for name in ("layer", "reverse", "direction"):
        if name in options:
            raise ArgumentError(f"all layers are loaded, and {name} was given", hint="weights.load")
    if system.name == "onnx":
        if prefix is not None:
            raise ArgumentError(
                "an ONNX model has nodes, and a prefix was given", hint='node="graph/LSTM_0"'
            )
        parts = list(_of_onnx(arrays, options))
    else:
        if isinstance(arrays, (str, os.PathLike)):
            arrays = read_arrays(os.fspath(arrays))
        arrays = flat_arrays(system, arrays)
        if prefix is None or isinstance(prefix, str):
            parts = list(_found(system, arrays, prefix))
        else:
            parts = _listed(prefix)
    if not parts:
        raise ArgumentError(
            f"no recurrent layers of {system.title} were found",
            facts=(f"given: {', '.join(arrays) if isinstance(arrays, Mapping) else 'a model'}",),
        )
    if len({len(layer) for layer in parts}) > 1:
        raise ArgumentError(
            "some layers have one direction and some have two",
            facts=tuple(f"layer {k}: {_told(layer)}" for k, layer in enumerate(parts)),
            hint="prefix=[...], with the place of each layer",
        )
    found: Arrays = {}
    for k, layer in enumerate(parts):
        for reverse, part in enumerate(layer):
            own = {**options, **part}
            given = own.pop("arrays", arrays)
            loaded = load(cell, source, given, dtype=dtype, **own)
            end = f"_l{k}" + "_reverse" * reverse
            found |= {f"{name}{end}": array for name, array in loaded.items()}
    _check_widths(cell, found, len(parts), len(parts[0]))
    return found


def _told(layer: Sequence[Part]) -> str:
    return " and ".join(str(part.get("prefix") or "the top") for part in layer)


def _listed(prefix: Any) -> list[list[Part]]:
    if not isinstance(prefix, (list, tuple)):
        raise ArgumentTypeError(
            f"prefix is a text or a list with the place of each layer, not {kind_text(prefix)}",
            hint='prefix=["lstm/", "lstm_1/"]',
        )
    layers: list[list[Part]] = []
    for entry in prefix:
        pair = list(entry) if isinstance(entry, (list, tuple)) else [entry]
        if len(pair) not in (1, 2) or not all(isinstance(place, str) for place in pair):
            raise ArgumentTypeError(
                f"the place of a layer is a text or a pair of texts, not {entry!r}",
                hint='prefix=[("fw/", "bw/")]',
            )
        layers.append([{"prefix": place} for place in pair])
    return layers


def _of_onnx(given: Any, options: dict[str, Any]) -> Iterator[list[Part]]:
    """Each recurrent node of a model is a layer; plain arrays are one."""
    if is_model(given):
        from derive.weights.onnx_constants import Constants
        from derive.weights.onnx_file import open_model, recurrent
        from derive.weights.onnx_nodes import mention_integers, read_place

        model = open_model(given)
        wanted = options.pop("node", None)
        for place in recurrent(model):
            if wanted in (None, place.text, place.name):
                node = read_place(model, place, Constants(model))
                mention_integers(node, 4)
                flags = {k: v for k, v in node.flags.items() if options.get(k) is None}
                yield [
                    {"arrays": node.weights, "direction": direction, **flags}
                    for direction in node.directions
                ]
        return
    if options.get("node") is not None:
        raise ArgumentError(
            "node names a layer of an ONNX model, and arrays were given",
            facts=("they hold W, R and B of one layer",),
        )
    if isinstance(given, (str, os.PathLike)):
        given = read_arrays(os.fspath(given))
    count = len(given["W"]) if isinstance(given, Mapping) and "W" in given else 1
    yield [{"arrays": given, "direction": d} for d in ("forward", "reverse")[:count]]


def _found(system: System, arrays: Arrays, prefix: str | None) -> Iterator[list[Part]]:
    begin = prefix or ""
    inside = {name: array for name, array in arrays.items() if name.startswith(begin)}
    if system.name == "pytorch":
        yield from _of_torch(system, inside, prefix)
        return
    ways: dict[bool, dict[str, str]] = {False: {}, True: {}}  # {backward: {name: place}}
    for scope in sorted(scopes_in(system, inside, {}), key=_counted):
        backward = bool(_BACKWARD.search(scope[len(begin) :]))
        name = (_BACKWARD if backward else _FORWARD).sub(r"\1*", scope)
        if (other := ways[backward].setdefault(name, scope)) != scope:
            raise ArgumentError(
                "the layers cannot be told",
                facts=(f"{other} and {scope} are the same layer by their names",),
                hint="prefix=[...], with the place of each layer",
            )
    forward, backwards = (list(ways[way].items()) for way in (False, True))
    kinds = {_without_numbers(name) for name, _ in (*forward, *backwards)}
    places = [place for _, place in forward]
    if len(kinds) > 1 or (backwards and len(backwards) != len(forward)):
        raise ArgumentError(
            "the order of the layers cannot be told from their names",
            facts=(f"they lie at {', '.join((*places, *(place for _, place in backwards)))}",),
            hint=f"prefix={places}, in order, with pairs (forward, backward) for both directions",
        )
    for k, place in enumerate(places):
        yield [{"prefix": place}, *({"prefix": p} for _, p in backwards[k : k + 1])]


def _without_numbers(name: str) -> str:
    return re.sub(r"_?\d+(?=/|$)", "", name)


def _of_torch(system: System, arrays: Arrays, prefix: str | None) -> Iterator[list[Part]]:
    ends = {(int(m[1]), bool(m[2])) for name in arrays if (m := _LAYER.search(name))}
    scopes: list[str] = []
    for layer, reverse in sorted(ends):
        scopes += scopes_in(system, arrays, {"layer": layer, "reverse": reverse})
    places = list(dict.fromkeys(scopes))
    if prefix is None and len(places) > 1:
        raise ArgumentError(
            f"there are several stacks in the arrays of {system.title}",
            facts=(f"at: {', '.join(places)}",),
            hint=f"prefix={places[0]!r}",
        )
    scope = prefix if prefix is not None else next(iter(places), "")
    for layer in sorted({layer for layer, _ in ends}):
        ways = [reverse for reverse in (False, True) if (layer, reverse) in ends]
        yield [{"prefix": scope, "layer": layer, "reverse": reverse} for reverse in ways]


def _counted(scope: str) -> list[Any]:
    """A key that sorts lstm, lstm_2, lstm_10 in this order."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", scope) if p]


def _check_widths(cell: Cell, found: Arrays, layers: int, directions: int) -> None:
    """Each layer reads what the one below puts out."""
    matrix = next((n for n, shape in cell.params.items() if shape == ("H", "I")), None)
    inner = next((n for n, shape in cell.params.items() if shape[:1] == ("H",) and n[0] == "U"), "")
    if matrix is None or not inner:
        return
    for k in range(1, layers):
        below = found[f"{inner}_l{k - 1}"].shape[1] * directions
        if (reads := found[f"{matrix}_l{k}"].shape[1]) != below:
            raise ArgumentError(
                "the layers do not fit on each other",
                facts=(
                    f"layer {k} reads width {reads}, the one below puts out {below}",
                    *(["both directions lie side by side, and are not added"] * (directions > 1)),
                ),
                hint="prefix=[...], with the place of each layer, from below",
            )
