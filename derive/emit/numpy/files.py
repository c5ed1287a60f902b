"""Cell and Schedule -> the NumPy module of a cell.

In: a Cell and its Schedule.  Out: {relative path: text}.
Not here: functions and loops (module.py), layout (templates/numpy).
"""

from __future__ import annotations

from derive.cell import Cell
from derive.emit.banner import banner
from derive.emit.equation_lines import gradient_lines
from derive.emit.numpy.module import Info, render_numpy
from derive.schedule import Schedule


def numpy_files(cell: Cell, schedule: Schedule) -> dict[str, str]:
    """The one file of a cell; it needs nothing but NumPy."""
    text = banner(cell, schedule)
    info = Info(
        name=cell.name,
        doc=text.doc,
        equations=text.equations,
        schedule=text.schedule,
        digest=text.digest,
        notes=text.notes,
        gradient_notes=gradient_lines(cell, schedule),
    )
    return {f"numpy/{cell.name}.py": render_numpy(schedule, info)}
