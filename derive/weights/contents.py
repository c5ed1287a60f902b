"""What a weights file holds, and which cell each part of it fits.

In: the path of an ONNX file, or of one with arrays.  Out: `Contents`: a `Part` for each
recurrent cell that is found, and the arrays that belong to none.
Not here: reading (onnx_file.py, array_files.py), loading (exchange.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from derive.errors import DeriveError
from derive.kernel.convert import shape_text, to_path
from derive.weights.array_files import is_onnx, read_arrays
from derive.weights.found import Found, found_in
from derive.weights.onnx_cells import call_of
from derive.weights.onnx_constants import Constants
from derive.weights.onnx_file import Place, open_model, recurrent, strangers
from derive.weights.onnx_nodes import Node, labels, read_place


@dataclass(frozen=True, slots=True)
class Part:
    """One recurrent cell. place: where it lies.  kind: "LSTM", ..., or the system's name for it.
    direction: "forward", "reverse", "bidirectional", "" where the file does not say.  sizes: {I:
    64, H: 128}.  feeds: what its inputs come from.  cell: a call of the catalogue, "" where it
    cannot be loaded, and then `note` says why.  load: what loads it."""

    place: str
    kind: str
    direction: str
    sizes: Mapping[str, int]
    feeds: tuple[str, ...]
    cell: str
    load: str
    note: str


@dataclass(frozen=True, slots=True)
class Contents:
    """title: the file.  others: arrays that belong to no part, or operators that are not read."""

    title: str
    parts: tuple[Part, ...]
    others: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.title}: {_count(len(self.parts), 'recurrent cell')}"]
        for part in self.parts:
            sizes = " ".join(f"{name}={size}" for name, size in part.sizes.items())
            words = (part.place, part.kind, part.direction, sizes)
            lines += ["", "  ".join(word for word in words if word)]
            lines += [
                f"  {text}" for text in (*part.feeds, part.cell, part.load, part.note) if text
            ]
        if self.others:
            lines += ["", "not read:", *(f"  {other}" for other in self.others)]
        return "\n".join(lines)


def contents(path: str | os.PathLike[str]) -> Contents:
    """What a file holds: ONNX, .npz, .safetensors, .pt and .pth, .h5 and .keras.

    ArgumentError where it is damaged, or none of these.
    """
    shown = to_path(path, "path")
    if is_onnx(shown):
        return _of_onnx(shown)
    arrays = read_arrays(shown)
    parts: list[Part] = []
    used: set[str] = set()
    for found in found_in(arrays):
        parts.append(_of_arrays(shown, found))
        used.update(found.names)
    others = (f"{n} {shape_text(a.shape)}" for n, a in arrays.items() if n not in used)
    return Contents(shown, tuple(parts), tuple(others))


def _of_arrays(path: str, found: Found) -> Part:
    options = "".join(f", {key}={value!r}" for key, value in found.options.items())
    load = f'weights.load(cell, "{found.system}", {path!r}{options})'
    return Part(
        found.place, found.system, "reverse" if found.options.get("reverse") else "",
        found.sizes, (), found.cell, load, "",
    )  # fmt: skip


def _of_onnx(path: str) -> Contents:
    model = open_model(path)
    constants = Constants(model)
    places = recurrent(model)
    parts = []
    for place, label in zip(places, labels(places), strict=True):
        parts.append(_of_place(path, place, label, model, constants))
        constants.clear()
    return Contents(path, tuple(parts), strangers(model))


def _of_place(path: str, place: Place, label: str, model: Any, constants: Constants) -> Part:
    kind = str(place.node.op_type)
    try:
        node = read_place(model, place, constants)
        calls = dict.fromkeys(call_of(node, k) for k in range(len(node.directions)))
    except DeriveError as error:
        return Part(place.text, kind, "", {}, (), "", "", f"not read: {error.what}")
    both = len(node.directions) == 2
    return Part(
        place=place.text,
        kind=kind,
        direction="bidirectional" if both else node.directions[0],
        sizes={"I": node.weights["W"].shape[-1], "H": node.weights["R"].shape[-1]},
        feeds=tuple(_feeds(node)),
        cell=" and ".join(calls),
        load=f"weights.from_onnx({path!r}, {label!r})",
        note="integers of eight bits, read as the numbers they stand for" * node.quantized,
    )


def _feeds(node: Node) -> Iterator[str]:
    for name, source in node.feeds.items():
        if name == "X":
            yield f"X: {source}"
        elif name in node.constants:
            yield f"{name}: {source}, constant"
        elif name in node.wired:
            base = node.wired[name].base
            value = f"{base:g}" if base is not None and not base.ndim else "a constant"
            yield f"{name}: {source}" + ("" if base is None else f", {value} in all rows")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
