"""What the C target cannot say yet, refused before a line is written.

In: a Schedule.  Out: nothing, or a CellError that names the array.
Not here: anything that is a fault of derive (errors.InternalError).
"""

from __future__ import annotations

from derive.errors import CellError
from derive.program import Array, Layout, Map, Matmul, Over, Program, Sum
from derive.schedule import Schedule


def refuse_axes(cell: str, schedule: Schedule) -> None:
    for plan in (schedule.forward, schedule.backward):
        found = _first(plan.program)
        if found is not None:
            name, why = found
            raise CellError(
                f"cell {cell}: the C target cannot do '{name}' yet, which {why}",
                facts=("the NumPy target can",),
                hint="--target numpy, or derive.compile(cell, target='numpy')",
            )


def _first(program: Program) -> tuple[str, str] | None:
    table = program.table()
    given = set(program.inputs)
    for array in program.arrays:
        if len(array.shape) > 1 and array.per_row:
            return array.name, f"has {len(array.shape)} axes for each row"
    for equation in program.equations:
        why = _why(equation, table, given)
        if why:
            return equation.out, why
    return None


def _why(equation: Map | Matmul | Sum, table: dict[str, Array], given: set[str]) -> str:
    if isinstance(equation, Map):
        return "repeats an array along an axis" if equation.places else ""
    if isinstance(equation, Sum):
        if equation.over is not Over.SUM:
            return f"is a {equation.over.value} over the width"
        return "sums over an axis of a matrix" if equation.axes else ""
    if equation.layout is Layout.AXES:
        return "is a product along axes"
    matrix = equation.layout is not Layout.OUTER and equation.left not in given
    return "multiplies with a matrix that is computed" if matrix else ""
