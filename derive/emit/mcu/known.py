"""A step whose parameters are known: what depends on them alone is computed beforehand.

In: a Step, values of its parameters, lengths of dimensions.  Out: `Known`.
Not here: what the numbers are stored in (int8.py, fixed/scales.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Array as Values
from derive.program import Program, Step, check, prune
from derive.program.interpret import interpret


@dataclass(frozen=True, slots=True)
class Known:
    """params: of the step, in float64.

    scales: {parameter in int8: the parameter that multiplies its rows}. The values of such a
    parameter are whole numbers."""

    step: Step
    params: Mapping[str, Values]
    sizes: Mapping[str, int]
    scales: Mapping[str, str] = field(default_factory=dict)


def known(
    step: Step, program: Program, params: Mapping[str, Values], sizes: Mapping[str, int]
) -> Known:
    """program: that of the step, or another that computes the same.  params: {name: array} of the
    step's parts.  sizes: of all dimensions.  ArgumentError: what depends on them is not finite.

    A parameter that the step does not use is left out; an array that all rows share and the step
    uses becomes a parameter."""
    table = program.table()
    shared = [n for n in table if not table[n].per_row]
    own = {name: np.asarray(params[name], np.float64) for name in step.params}
    values = own | _shared_values(program, own, shared, sizes)
    per_row = [e for e in program.equations if table[e.out].per_row]
    wanted = (*step.next_states, *step.outputs)
    # A result that all rows share is copied for each row.
    used = {name for e in per_row for name in e.operands} | set(wanted)
    kept = [name for name in table if name in values and name in used]
    inputs = (*kept, *step.inputs, *step.states)
    names = {*inputs, *(e.out for e in per_row)}
    arrays = tuple(array for array in program.arrays if array.name in names)
    made = Program(arrays, inputs, tuple(per_row), tuple(dict.fromkeys(wanted)))
    found = replace(step, program=check(prune(made)), params=tuple(kept))
    own = {name: values[name] for name in kept}
    check_finite(own, "everywhere", ", or float32, where a step computes it")
    return Known(found, own, dict(sizes))


def check_finite(params: Mapping[str, Values], where: str, instead: str = "") -> None:
    """ArgumentError: a parameter, or what depends on parameters alone, has an infinity or NaN.
    where: "everywhere", or in which numbers.  instead: what else the hint offers."""
    for name, array in params.items():
        if not np.isfinite(array).all():
            at = [int(k) for k in np.argwhere(~np.isfinite(array))[0]]
            raise ArgumentError(
                f"{name}, which depends on parameters alone, is not finite {where}",
                facts=(f"{name}{at} is {array[tuple(at)]}",),
                hint=f"parameters at which it is{instead}",
            )


def _shared_values(
    program: Program, params: Mapping[str, Values], shared: list[str], sizes: Mapping[str, int]
) -> dict[str, Values]:
    """The values of all arrays that all rows share."""
    inputs = tuple(name for name in program.inputs if name in params)
    equations = tuple(e for e in program.equations if e.out in set(shared))
    arrays = tuple(a for a in program.arrays if a.name in {*inputs, *(e.out for e in equations)})
    part = Program(arrays, inputs, equations, tuple(e.out for e in equations))
    with np.errstate(all="ignore"):
        values = interpret(part, params, rows=1, sizes=sizes)
    return {name: np.asarray(values[name], np.float64) for name in shared if name in values}
