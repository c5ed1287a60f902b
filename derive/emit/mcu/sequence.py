"""What a caller runs a trained cell over: inputs, first states, a number of steps.

In: a Cell, its `Known` step, learned starts, what the caller gave.  Out: `Sequence`; the errors of
`kernel.forward`.
Not here: a step (program/interpret.py, fixed/integers.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.emit.mcu.known import Known
from derive.errors import ArgumentError
from derive.kernel.arguments import Arguments
from derive.kernel.convert import read, shape_text, to_count
from derive.kernel.signature import Array as Values
from derive.kernel.signature import Arrays, Signature


@dataclass(frozen=True, slots=True)
class Sequence:
    """Arrays by parts, in float64.  inputs: [T, B, ...], of those given once too.  states: those
    before the first step, [B, ...].  steps, rows: T, B."""

    inputs: Arrays
    states: Arrays
    steps: int
    rows: int

    def stacked(self, outputs: list[Values], shape: tuple[int, ...]) -> Values:
        """An output [T, B, *shape] of those of the steps, also of no step."""
        whole = (self.rows, *shape)
        found = [np.broadcast_to(array, whole) for array in outputs]
        return np.stack(found) if found else np.empty((0, *whole))


def sequence_of(
    cell: Cell, own: Known, starts: Mapping[str, Values], inputs: Any, states: Any, steps: Any
) -> Sequence:
    """inputs: {name: [T, B, ...]}, by parts, or a bare array where there is one; one given once may
    be [B, ...]; of a cell without inputs {}, or [T, B, 0].  states: {name: [B, ...]} or None; one
    left out begins at its learned start, else at zeros.  steps: T, where no input tells it."""
    step = own.step
    shapes = {name: lengths(own, name) for name in (*step.inputs, *step.states)}
    named = inputs
    if step.inputs and not isinstance(inputs, Mapping) and len(step.inputs) == 1:
        named = {step.inputs[0]: inputs}
    once = _once(cell, shapes, named) if step.inputs and isinstance(named, Mapping) else ()
    if steps is not None:
        steps = to_count(steps, "steps")
        if not step.inputs and isinstance(inputs, Mapping) and not inputs:
            named = np.empty((steps, _rows(states), 0))
    signature = Signature(
        cell.name,
        params={name: np.shape(array) for name, array in starts.items()},
        inputs={name: shapes[name] for name in step.inputs},
        states={name: shapes[name] for name in step.states},
        outputs={},
        once=once,
        learned={name: name for name in starts},
    )
    call = Arguments(signature, np.float64).of_forward(starts, named, states, None)
    found, count = dict(call.inputs), call.sizes.steps
    if steps is not None and steps != count:
        raise ArgumentError(
            f"steps = {steps}, and the inputs have {count}",
            facts=tuple(f"{n} is {shape_text(a.shape)}" for n, a in found.items()),
            hint=f"steps={count}, or leave it out",
        )
    return Sequence(found, dict(call.states), count, call.sizes.rows)


def lengths(own: Known, name: str) -> tuple[int, ...]:
    """Of an array's axes, besides time and rows."""
    shape = own.step.program.table()[name].shape
    return tuple(own.sizes[dim] if isinstance(dim, str) else dim for dim in shape)


def starts_of(cell: Cell, params: Mapping[str, Values]) -> dict[str, Values]:
    """Learned starts, by parts of states.  params: by parts."""
    wholes, found = cell.checked.wholes, dict[str, Values]()
    for state, param in cell.checked.learned.items():
        parts = [[part for part, *_ in wholes.get(n, ((n,),))] for n in (state, param)]
        found |= {to: params[by] for to, by in zip(*parts, strict=True)}
    return found


def _once(
    cell: Cell, shapes: Mapping[str, tuple[int, ...]], named: Mapping[str, Any]
) -> tuple[str, ...]:
    """The parts that are given once, and without an axis of time."""
    wholes = cell.checked.wholes
    parts = [part for name in cell.checked.once for part, *_ in wholes.get(name, ((name,),))]
    ranks = {n: read(named[n], f"input {n}").ndim for n in parts if named.get(n) is not None}
    return tuple(name for name in parts if ranks.get(name, 0) < len(shapes[name]) + 2)


def _rows(states: Any) -> int:
    """B of states, of which some or all may be left out; 1 where none is given."""
    given = states.values() if isinstance(states, Mapping) else (states,)
    arrays = [read(value, "a state") for value in given if value is not None]
    return int(arrays[0].shape[0]) if arrays and arrays[0].ndim else 1
