"""A cell in fixed point: its operations, its integers, its C.

In: a Cell, a point.  Out: rows.
Not here: powers of two and integers (emit/mcu/fixed).

Three links, from the equations to the device: the step of single operations computes in float64
what the cell's step computes; each operation in integers is that operation up to rounding, given
the same operands; and the C computes the integers, bit for bit, at the point and far off it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.emit.mcu.fixed.files import fixed_files
from derive.emit.mcu.fixed.forms import (
    Along,
    Choice,
    Linear,
    Lookup,
    Operation,
    Part,
    Quotient,
    Total,
    Where,
)
from derive.emit.mcu.fixed.integers import Integers
from derive.emit.mcu.fixed.order import Floats
from derive.emit.mcu.fixed.quantized import Quantized, quantized
from derive.emit.mcu.fixed.scales import HIGHEST, LOWEST
from derive.emit.mcu.nests import Nest
from derive.errors import BuildError, DeriveError
from derive.kernel.mcu_fixed import FixedLibrary, Layout
from derive.program.interpret import align, interpret
from derive.verification.reference import Point
from derive.verification.report import BUILD, Row

WHERE = "mcu q15"
#: float64 in another order of additions, of the largest number in a step.
_ROUNDING = 1e-9
#: Steps from random integers of any size.
_FAR = 4


def check_fixed(cell: Cell, point: Point, seed: int) -> list[Row]:
    try:
        own = quantized(
            cell, point.params, point.sizes, ranges={}, data=point.inputs or None,
            states=point.states,
        )  # fmt: skip
        rows = [_operations(own, point), *_rounding(own, point)]
        return [*rows, _bits(cell, own, point, seed)]
    except BuildError as error:
        return [Row(BUILD, WHERE, float("inf"), 0.0, False, str(error))]
    except DeriveError as error:
        return [Row("fixed point", WHERE, float("inf"), 0.0, False, str(error))]


def _operations(own: Quantized, point: Point) -> Row:
    """In float64, against the interpreter."""
    order, step = own.order, own.cell.step
    states: Mapping[str, Any] = point.states
    worst = 0.0
    for t in range(point.steps):
        inputs = {name: array[t] for name, array in point.inputs.items()}
        values = Floats(order).step(inputs, states)
        given = {**point.params, **inputs, **states}
        wanted = interpret(step.program, given, rows=point.rows, sizes=point.sizes)
        finite = [float(np.max(abs(a[np.isfinite(a)]), initial=1.0)) for a in wanted.values()]
        for name in (*step.next_states, *step.outputs):
            off = abs(values[order.renamed[name]] - wanted[name])
            worst = max(worst, float(np.nanmax(off, initial=0.0)) / max(finite))
        states = {s: wanted[n] for s, n in zip(step.states, step.next_states, strict=True)}
    bound = "single operations in float64 against the interpreter, of the largest number of a step"
    return Row("operations", WHERE, worst, _ROUNDING, worst <= _ROUNDING, bound)


def _rounding(own: Quantized, point: Point) -> list[Row]:
    """Each operation in integers against the same in float64 on the integers' values."""
    floats, integers = Floats(own.order), Integers(own.scaled)
    states = own.to_integers(point.states)
    bits = own.scaled.bits
    worst: dict[str, float] = {}
    for t in range(point.steps):
        inputs = own.to_integers({name: array[t] for name, array in point.inputs.items()})
        found = integers.step(inputs, states)
        # Elements that an item has in registers are read from what integers computed.
        values = {name: array * 2.0 ** -bits[name] for name, array in found.items()}
        with np.errstate(all="ignore"):
            for item in own.order.nests.items:
                for name, exact in floats.alone(item, values).items():
                    operation = own.scaled.operations[name]
                    room = _room(own, operation, _aligned(own, name, values))
                    wanted = np.clip(exact * 2.0 ** bits[name], LOWEST, HIGHEST)
                    off = abs(found[name] - wanted) - np.where(room == np.inf, np.inf, 0)
                    ratio = np.where(np.isnan(off) | (off < 0), 0, off) / room
                    worst[name] = max(worst.get(name, 0.0), float(np.max(ratio, initial=0.0)))
        states = {state: found[after] for state, after in own.order.carried()}
    name = max(worst, key=lambda n: worst[n]) if worst else ""
    bound = "each operation in integers, in units of what its roundings may be"
    ratio = worst.get(name, 0.0)
    return [Row("rounding", f"{WHERE} {name}".strip(), ratio, 1.0, ratio <= 1.0, bound)]


def _aligned(own: Quantized, name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Operands of an elementwise equation, as they meet its result."""
    for item in own.order.nests.items:
        for equation in item.maps if isinstance(item, Nest) else ():
            if equation.out == name:
                table = own.order.table
                rank = len(table[name].shape)
                return {
                    n: align(values[n], table[n], equation.place(n), rank)
                    for n in equation.operands
                }
    return values


def _room(own: Quantized, operation: Operation, values: Mapping[str, Any]) -> Any:
    """By how many units of the last bit a result may be off; infinity where nothing is said."""
    if isinstance(operation, Total):
        count = 0.5 * (operation.start is not None)
        for term, drop in zip(operation.terms, operation.drops, strict=True):
            lengths = [own.order.single.sizes.get(str(term.dims[c]), term.dims[c])
                       for c in term.summed]  # fmt: skip
            count += (drop > 0) * float(np.prod(lengths))  # type: ignore[arg-type]
        return 0.51 + count * 2.0**-operation.drop
    if isinstance(operation, Along):
        return 0.51
    if isinstance(operation, Linear):
        count = sum(map(_of_part, operation.parts)) + 0.5
        return 0.51 + count * 2.0**-operation.drop
    if isinstance(operation, Lookup):
        interval = own.scaled.bounds[operation.source].interval
        assert interval.lo is not None and interval.hi is not None
        v = values[operation.source]
        inside = (v >= float(interval.lo)) & (v <= float(interval.hi))
        room = operation.error * 2.0 ** own.scaled.bits[operation.out] + 0.51
        return np.where(inside, room, np.inf) if np.ndim(v) else room
    if isinstance(operation, (Choice, Where)):
        near = any(p.drop for p in operation.test) if isinstance(operation, Where) else False
        return np.inf if near else 1.01
    if isinstance(operation, Quotient):
        below = values[operation.below]
        return np.where(below == 0, np.inf, 0.51 + 2.0**-operation.drop)
    return 1.01


def _of_part(part: Part) -> float:
    """Of one summand, in units of the sum: what is dropped, and a factor of 15 bits."""
    rounded = abs(part.factor) >= 1 << 14 and part.factor & (part.factor - 1) != 0
    largest = (abs(part.factor) << 15) * 2.0**-part.drop
    return 0.5 * (part.drop > 0) + rounded * largest * 2.0**-15


def library_of(cell: Cell, own: Quantized, flags: tuple[str, ...] | None = None) -> FixedLibrary:
    """The C of a cell in fixed point, built here."""
    step, table = own.order.single.step, own.order.table
    sizes = own.order.single.sizes

    def lengths(name: str) -> tuple[int, ...]:
        return tuple(sizes[d] if isinstance(d, str) else d for d in table[name].shape)

    keys = zip(cell.output_keys, step.outputs, strict=True)
    layout = Layout(
        cell.name,
        {name: table[name].shape for name in step.params},
        {name: lengths(name) for name in step.inputs},
        {name: lengths(name) for name in step.states},
        {key: lengths(own.order.renamed[array]) for key, array in keys},
    )
    files = fixed_files(cell, pipeline.schedule(cell), own.scaled)
    return FixedLibrary(files, layout) if flags is None else FixedLibrary(files, layout, flags)


def _bits(cell: Cell, own: Quantized, point: Point, seed: int) -> Row:
    """Integers that differ between the C and the interpreter."""
    library = library_of(cell, own)
    random = np.random.default_rng((seed, 31))
    inputs = own.to_integers(point.inputs)
    states = own.to_integers(point.states)
    different = 0
    for t in range(point.steps + _FAR):
        if t < point.steps:
            now = {name: array[t] for name, array in inputs.items()}
        else:  # integers of any size, the extremes among them
            ends = (LOWEST, HIGHEST + 1)
            now = {n: random.integers(*ends, a.shape[1:]) for n, a in inputs.items()}
            states = {n: random.integers(*ends, a.shape) for n, a in states.items()}
            if t == point.steps:
                now = {n: np.full_like(a, LOWEST) for n, a in now.items()}
                states = {n: np.full_like(a, LOWEST) for n, a in states.items()}
        ((wanted, after),) = own.steps({n: a[None] for n, a in now.items()}, states, 1)
        found, last = library.step(dict(own.scaled.weights), now, states)
        for got, these in ((found, wanted), (last, after)):
            different += sum(int(np.count_nonzero(got[n] != a)) for n, a in these.items())
        states = after
    bound = "integers of C and of the interpreter, at the point and at integers of any size"
    return Row("same integers", WHERE, float(different), 0.0, different == 0, bound)
