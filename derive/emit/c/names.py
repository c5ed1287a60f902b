"""Names of the members of a cell's structures in C.

In: a Schedule.  Out: fields of the sizes, of the arguments, and of what is saved.
Not here: names of local variables, and which words C has taken (syntax.py).
"""

from __future__ import annotations

from derive.emit.c.syntax import c_names, member_names
from derive.program import Namer
from derive.schedule import Schedule


def dimension_names(schedule: Schedule) -> tuple[dict[str, str], str, str]:
    """Fields of the sizes structure: {dimension: field}, and those of T and B.

    The order is that of `Signature.dims`: parameters, inputs, states. A dimension of one capital
    letter would meet a macro of the program that includes the header; dim_H does not.
    """
    step = schedule.split.gradient.step
    table = step.program.table()
    arrays = (table[name] for name in (*step.params, *step.inputs, *step.states))
    found = dict.fromkeys(dim for a in arrays for dim in a.shape if isinstance(dim, str))
    return {dim: f"dim_{dim}" for dim in found}, "steps", "rows"


def argument_names(schedule: Schedule) -> tuple[dict[str, str], dict[str, str]]:
    """Fields of the argument structures: of params, inputs and states; of output keys."""
    step = schedule.split.gradient.step
    names = (*step.params, *step.inputs, *step.states)
    return member_names(names), member_names(schedule.output_keys)


def saved_names(schedule: Schedule) -> dict[str, str]:
    """Fields of the structure that says where each saved array lies; histories by state."""
    split = schedule.split
    names = c_names(array.name for array in split.forward.arrays)
    namer = Namer(names[name] for name in split.saved)
    fields = {name: names[name] for name in split.saved}
    return fields | {name: namer(f"{names[name]}_history") for name in split.histories}
