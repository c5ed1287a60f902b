"""A cell in fixed point -> NAME.h, NAME.c and the header that such cells share.

In: a Cell, a `Scaled`.  Out: {relative path: text}.
Not here: bodies of functions (passes.py), layout (templates/mcu), parameters (derive/mcu).
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.build.templates import environment
from derive.cell import Cell
from derive.emit.banner import banner
from derive.emit.c.syntax import listed
from derive.emit.mcu.files import inference_files
from derive.emit.mcu.fixed.forms import Lookup
from derive.emit.mcu.fixed.scales import Scaled
from derive.emit.mcu.fixed.writer import FixedNumbers
from derive.emit.mcu.lines import Place, element_of
from derive.emit.mcu.names import Names, names_in
from derive.emit.mcu.passes import param_elements, step_lines
from derive.schedule import Schedule

HEADER = "mcu/derive_mcu_q15.h"

#: Without, and with matrices in int8.
WORDS = (
    "int16 with a power of two for each array",
    "int8 for matrices with a scale a row, int16 with a power of two for each other array",
)


@dataclass(frozen=True, slots=True)
class TableView:
    name: str
    note: str
    lines: tuple[str, ...]


def names_of(cell: Cell, scaled: Scaled) -> Names:
    order = scaled.order
    shapes = {name: array.shape for name, array in order.table.items()}
    narrow = order.single.scales
    return names_in(cell.name, order.single.step, cell.output_keys, shapes, narrow)


def fixed_files(cell: Cell, schedule: Schedule, scaled: Scaled) -> dict[str, str]:
    order, step = scaled.order, scaled.order.single.step
    text = banner(cell, schedule)
    names = names_of(cell, scaled)
    numbers = FixedNumbers(scaled, cell.name, names.free)
    given = {n: Place(e) for n, e in param_elements(names, names.own["p"]).items()}
    given |= {name: Place(element_of(text)) for name, text in names.inputs.items()}
    body = step_lines(step, cell.output_keys, names, text.notes, given, numbers)
    shared = environment().get_template("mcu/derive_mcu_q15.h.j2").render()
    return inference_files(
        cell, text, names, step, body,
        real="int16_t",
        title="in fixed point",
        sizes=order.single.sizes,
        header=(HEADER, shared),
        scale_lines=scale_lines(scaled),
        scales=scales(cell, scaled, names),
        tables=[_table(name, found, scaled) for name, found in numbers.tables.values()],
    )  # fmt: skip


def scales(cell: Cell, scaled: Scaled, names: Names) -> list[tuple[str, int]]:
    """(macro, bits) of what a program hands over or gets: inputs, states, outputs."""
    step = scaled.order.single.step
    texts = {**names.inputs, **names.states}
    found = {texts[n]: scaled.bits[n] for n in (*step.inputs, *step.states)}
    for key, array in zip(cell.output_keys, step.outputs, strict=True):
        found[names.outputs[key]] = scaled.bits[scaled.order.renamed[array]]
    return [(f"{cell.name.upper()}_BITS_{text}", bits) for text, bits in found.items()]


def scale_lines(scaled: Scaled) -> list[str]:
    """A table of all arrays: bits, the largest number, and what tells that."""
    rows = [("array", "bits", "up to", "by")]
    for name, bits in scaled.bits.items():
        bound = scaled.bounds.get(name)
        if bound is not None:
            rows.append((name, str(bits), f"{bound.size:.4g}", bound.why))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]]
        )
        for row in rows
    ]
    return [f"{WORDS[bool(scaled.order.single.scales)]}, sums in int32:", *lines]


def _table(name: str, found: Lookup, scaled: Scaled) -> TableView:
    own, left = (scaled.bits[n] for n in (found.source, found.out))
    note = (
        f"{found.function} of v / 2^{own}, times 2^{left}; off by at most {found.error:.2g}, the "
        "last bit included."
    )
    return TableView(name, note, listed(map(str, found.table), 4, end=""))
