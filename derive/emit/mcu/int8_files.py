"""A cell with weights in int8 and activations in float -> NAME.h, NAME.c and the shared header.

In: a Cell, an `InInt8`.  Out: {relative path: text}.
Not here: bodies of functions (passes.py), whole numbers (int8.py), int8 with activations in fixed
point (fixed/files.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.cell import Cell
from derive.emit.banner import banner
from derive.emit.mcu.files import HEADER, inference_files
from derive.emit.mcu.int8 import InInt8
from derive.emit.mcu.lines import Element, Place, element_of
from derive.emit.mcu.names import Names, names_in
from derive.emit.mcu.passes import param_elements, step_lines
from derive.emit.mcu.shared_header import render_header
from derive.schedule import Schedule


def names_of_int8(cell: Cell, found: InInt8) -> Names:
    step = found.own.step
    shapes = {array.name: array.shape for array in step.program.arrays}
    return names_in(cell.name, step, cell.output_keys, shapes, found.own.scales)


def int8_files(cell: Cell, schedule: Schedule, found: InInt8) -> dict[str, str]:
    step, names = found.own.step, names_of_int8(cell, found)
    text = banner(cell, schedule)
    elements = param_elements(names, names.own["p"])
    given = {
        name: Place(_as_float(element) if name in found.own.scales else element)
        for name, element in elements.items()
    } | {name: Place(element_of(own)) for name, own in names.inputs.items()}
    body = step_lines(step, cell.output_keys, names, text.notes, given)
    return inference_files(
        cell, text, names, step, body,
        real="float",
        title="with weights in int8",
        sizes=found.own.sizes,
        header=(HEADER, render_header()),
        options=", and without -ffast-math",
        scale_lines=("int8 for matrices with a scale a row, float for all else.",),
    )  # fmt: skip


def _as_float(element: Element) -> Element:
    def read(indices: Sequence[str]) -> str:
        return f"(float){element(indices)}"

    return read
