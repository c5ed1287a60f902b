"""Plan -> the parameters that products read elsewhere than in panels.

In: a forward Plan, as its products run (schedule/blocks.py).  Out: names of parameters.
Not here: the panels (stages.py).

Thin weights are weights in panels, so a cell that has such products cannot have them.
"""

from __future__ import annotations

from collections.abc import Iterable

from derive.program import Layout, Matmul
from derive.program.program import Program
from derive.schedule import Plan


def not_packed(plan: Plan, params: Iterable[str]) -> tuple[str, ...]:
    """Parameters behind matrices that all rows share and that are computed, or multiplied along
    axes; in declared order."""
    program, table, given = plan.program, plan.program.table(), set(params)
    found: set[str] = set()
    for product in program.equations:
        if not isinstance(product, Matmul):
            continue
        shared = [name for name in product.operands if not table[name].per_row]
        if len(shared) == len(product.operands):
            continue  # of parameters alone
        for name in shared:
            if len(table[name].shape) > 1 and (product.layout is Layout.AXES or name not in given):
                found.update(_behind(program, name, given))
    return tuple(name for name in params if name in found)


def _behind(program: Program, name: str, given: set[str]) -> set[str]:
    """The parameters that an array is, or is computed from."""
    if name in given:
        return {name}
    maker = next((e for e in program.equations if e.out == name), None)
    operands = maker.operands if maker else ()
    return {found for operand in operands for found in _behind(program, operand, given)}
