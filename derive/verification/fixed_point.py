"""A cell in fixed point, and with weights in int8: its operations, its integers, its C.

In: a Cell, a point.  Out: rows.
Not here: powers of two and integers (emit/mcu/fixed), whole numbers of weights (emit/mcu/int8.py).

Three links, from the equations to the device: the step of single operations computes in float64
what the cell's step computes; each operation in integers is that operation up to rounding, given
the same operands; and the C computes the integers, bit for bit, at the point and far off it.

With weights in int8 there is one before them: a weight is off by at most half the scale of its
row. With activations in float the C computes what the interpreter does with those weights, up to
the running error bound of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from derive.emit.mcu.int8 import MOST, InInt8, dequantized, int8_of, spread_scale
from derive.emit.mcu.int8_files import int8_files
from derive.emit.mcu.known import Known
from derive.emit.mcu.nests import Nest
from derive.errors import BuildError, DeriveError
from derive.kernel.mcu_backend import FLAGS
from derive.kernel.mcu_step import Layout, StepLibrary
from derive.kernel.signature import Array as Values
from derive.program.interpret import align, interpret
from derive.verification.reference import Point, run
from derive.verification.report import BUILD, Row, compared
from derive.verification.rounding import BOUNDED
from derive.verification.truth import OF_FORWARD, ROUNDOFF

WHERE, IN_INT8, BOTH = "mcu q15", "mcu int8", "mcu int8 q15"
#: float64 in another order of additions, of the largest number in a step.
_ROUNDING = 1e-9
#: A weight in the middle of two whole numbers, and the rounding of float64.
_HALF = 1 + 1e-9
#: Steps from random integers of any size.
_FAR = 4


def check_fixed(cell: Cell, point: Point, seed: int) -> list[Row]:
    """Rows of fixed point, of weights in int8, and of both."""
    rows: list[Row] = []
    for where in (WHERE, IN_INT8, BOTH):
        try:
            if where == IN_INT8:
                rows += _in_int8(cell, point)
            else:
                rows += _fixed(cell, point, seed, where, int8=where == BOTH)
        except BuildError as error:
            rows.append(Row(BUILD, where, float("inf"), 0.0, False, str(error)))
        except DeriveError as error:
            rows.append(Row("fixed point", where, float("inf"), 0.0, False, str(error)))
    return rows


def _fixed(cell: Cell, point: Point, seed: int, where: str, *, int8: bool) -> list[Row]:
    own = quantized(
        cell, point.params, point.sizes, ranges={}, data=point.inputs or None,
        states=point.states, int8=int8,
    )  # fmt: skip
    rows = [_weights(own.plain, own.own, where)] if int8 else []
    rows += [_operations(own, point, where), *_rounding(own, point, where)]
    return [*rows, _bits(cell, own, point, seed, where)]


# --- weights in int8 ------------------------------------------------------------------------------


def _in_int8(cell: Cell, point: Point) -> list[Row]:
    own = int8_of(cell, point.params, point.sizes)
    return [_weights(own.plain, own.own, IN_INT8), *_steps(cell, own, point)]


def _weights(plain: Known, own: Known, where: str) -> Row:
    """In units of half of what a scale may be: the largest weight of its row / 127, and up to the
    next number that is stored. In int16 these are as far apart for all rows."""
    worst = 0.0
    for name in own.scales:
        whole, given = own.params[name], plain.params[name]
        if not np.all((abs(whole) <= MOST) & (whole == np.rint(whole))):
            return Row("weights", f"{where} {name}", float("inf"), _HALF, False, "-127 to 127")
        scale = spread_scale(own, name)
        rest = tuple(k for k, length in enumerate(scale.shape) if length == 1)
        least = abs(given).max(axis=rest, keepdims=True, initial=0.0) / MOST
        next_ = least * 2.0**-23 + 2.0**-149
        if where == BOTH:
            next_ = np.maximum(least.max(initial=0.0) * 2.0**-14, 2.0**-30)
        ratio = abs(scale * whole - given) / ((least + next_) / 2)
        worst = max(worst, float(ratio.max(initial=0.0)))
    bound = "weights in int8 against those given, in units of half the largest of their row / 127"
    return Row("weights", where, worst, _HALF, worst <= _HALF, bound)


def _steps(cell: Cell, own: InInt8, point: Point) -> list[Row]:
    """The C, with weights in int8 and activations in float32, against the interpreter."""
    step = own.own.step
    library = _library(cell, own.own, np.float32, int8_files(cell, pipeline.schedule(cell), own))
    with np.errstate(all="ignore"):
        here = replace(point, params=own.own.params, lengths=None, reverse=False)
        wanted, bounded = run(step, here), run(step, here, BOUNDED)
    states = {name: np.asarray(array, np.float32) for name, array in point.states.items()}
    outputs: dict[str, list[Values]] = {key: [] for key in cell.output_keys}
    for t in range(point.steps):
        inputs = {n: np.asarray(a[t], np.float32) for n, a in point.inputs.items()}
        found, states = library.step(own.arrays(), inputs, states)
        for key, array in found.items():
            outputs[key].append(array)
    got = {n: np.stack(outputs[k]) for k, n in zip(cell.output_keys, step.outputs, strict=True)}
    rows = []
    for name, array, exact, of in (
        *((n, a, wanted.outputs[n], bounded.outputs[n]) for n, a in got.items()),
        *((n, a, wanted.states[n], bounded.states[n]) for n, a in states.items()),
    ):
        label = f"{IN_INT8}: {name}"
        unit = ROUNDOFF["float32"]
        rows.append(compared("steps", label, array, exact, of.error, unit, OF_FORWARD))
    return rows


# --- fixed point ----------------------------------------------------------------------------------


def _operations(own: Quantized, point: Point, where: str) -> Row:
    """In float64, against the interpreter, with the same weights."""
    order, step, params = own.order, own.cell.step, point.params
    if own.own.scales:
        step, params = own.plain.step, {**own.plain.params, **dequantized(own.own)}
    states: Mapping[str, Any] = point.states
    worst = 0.0
    for t in range(point.steps):
        inputs = {name: array[t] for name, array in point.inputs.items()}
        values = Floats(order).step(inputs, states)
        given = {**params, **inputs, **states}
        wanted = interpret(step.program, given, rows=point.rows, sizes=point.sizes)
        finite = [float(np.max(abs(a[np.isfinite(a)]), initial=1.0)) for a in wanted.values()]
        for name in (*step.next_states, *step.outputs):
            off = abs(values[order.renamed[name]] - wanted[name])
            worst = max(worst, float(np.nanmax(off, initial=0.0)) / max(finite))
        states = {s: wanted[n] for s, n in zip(step.states, step.next_states, strict=True)}
    bound = "single operations in float64 against the interpreter, of the largest number of a step"
    return Row("operations", where, worst, _ROUNDING, worst <= _ROUNDING, bound)


def _rounding(own: Quantized, point: Point, where: str) -> list[Row]:
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
    return [Row("rounding", f"{where} {name}".strip(), ratio, 1.0, ratio <= 1.0, bound)]


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
    largest = (abs(part.factor) << 15) * 2.0**-part.drop
    return 0.5 * (part.drop > 0) + largest * min(part.off, 2.0**-15)


def library_of(cell: Cell, own: Quantized, flags: tuple[str, ...] | None = None) -> StepLibrary:
    """The C of a cell in fixed point, built here."""
    files = fixed_files(cell, pipeline.schedule(cell), own.scaled)
    return _library(cell, own.own, np.int16, files, flags)


def _library(
    cell: Cell, own: Known, real: type[np.generic], files: Mapping[str, str],
    flags: tuple[str, ...] | None = None,
) -> StepLibrary:  # fmt: skip
    step, table = own.step, own.step.program.table()

    def lengths(name: str) -> tuple[int, ...]:
        return tuple(own.sizes[d] if isinstance(d, str) else d for d in table[name].shape)

    layout = Layout(
        cell.name,
        {name: table[name].shape for name in step.params},
        {name: lengths(name) for name in step.inputs},
        {name: lengths(name) for name in step.states},
        {k: lengths(name) for k, name in zip(cell.output_keys, step.outputs, strict=True)},
        real,
        own.scales,
    )
    return StepLibrary(files, layout, flags or FLAGS)


def _bits(cell: Cell, own: Quantized, point: Point, seed: int, where: str) -> Row:
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
    return Row("same integers", where, float(different), 0.0, different == 0, bound)
