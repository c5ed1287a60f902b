"""A trained cell in fixed point, and sequences run with it here.

In: a Cell, its parameters by parts, lengths, ranges and data.  Out: `Quantized`.
Not here: the steps in between (operations.py, order.py, ranges.py, scales.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.emit.mcu.fixed.forms import Lookup
from derive.emit.mcu.fixed.integers import Integers
from derive.emit.mcu.fixed.operations import single
from derive.emit.mcu.fixed.order import Floats, Ordered, ordered
from derive.emit.mcu.fixed.ranges import bounds_of
from derive.emit.mcu.fixed.scales import (
    HIGHEST,
    LOWEST,
    Scaled,
    in_int16,
    scaled,
    to_integers,
)
from derive.emit.mcu.int8 import in_int8
from derive.emit.mcu.known import Known
from derive.emit.mcu.sequence import lengths, sequence_of, starts_of
from derive.errors import ArgumentError
from derive.kernel.convert import closest
from derive.kernel.signature import Array as Values
from derive.kernel.signature import Arrays
from derive.symbolic.interval import Interval


@dataclass(frozen=True, slots=True)
class Quantized:
    """scaled: powers of two and integers.  plain: the step in float.  starts: the parameters as
    they were given.
    Arrays are by parts, times first, then rows."""

    cell: Cell
    scaled: Scaled
    plain: Known
    starts: Mapping[str, Values]

    @property
    def order(self) -> Ordered:
        return self.scaled.order

    @property
    def own(self) -> Known:
        """The step of the device, its parameters in float64."""
        return self.order.single

    @property
    def bits(self) -> Mapping[str, int]:
        """Bits behind the point: of inputs, states, and outputs by their keys."""
        step, own = self.order.single.step, self.scaled.bits
        found = {name: own[name] for name in (*step.inputs, *step.states)}
        for key, array in zip(self.cell.output_keys, step.outputs, strict=True):
            found[key] = own[self.order.renamed[array]]
        return found

    @property
    def errors(self) -> Mapping[str, float]:
        """{array: by how much a table is off at most}, for each function by a table."""
        operations = self.scaled.operations
        return {n: o.error for n, o in operations.items() if isinstance(o, Lookup)}

    def to_integers(self, arrays: Mapping[str, Values]) -> Arrays:
        """Inputs or states as the device has them: {name: array}."""
        return {name: to_integers(array, self._bits_of(name)) for name, array in arrays.items()}

    def to_floats(self, arrays: Mapping[str, Values]) -> Arrays:
        """What integers of inputs, states or outputs stand for."""
        return {n: np.asarray(a) * 2.0 ** -self._bits_of(n) for n, a in arrays.items()}

    def _bits_of(self, name: str) -> int:
        bits = self.bits
        if name not in bits:
            raise ArgumentError(
                f"{self.cell.name} has no input, state or output {name!r}",
                facts=(f"it has {', '.join(bits)}",),
                hint=closest(name, bits),
            )
        return bits[name]

    def start(self, param: str, state: str) -> Values:
        """A learned start as integers of its state."""
        return to_integers(self.starts[param], self.bits[state])

    def run(
        self, inputs: Any, states: Mapping[str, Any] | None = None, steps: int | None = None
    ) -> tuple[Arrays, Arrays]:
        """All steps in integers: outputs [T, B, width] by key, and the last states, as integers.

        inputs, states: integers, as `to_integers` gives them.  inputs: {name: [T, B, width]}, or a
        bare array where there is one; an input that is given once [B, width], or [T, B, width].
        states: {name: [B, width]}; those left out begin at their learned start, else at zeros.
        steps: T, where no input tells it. Errors as for `kernel.forward`; ArgumentError too for
        what is no integer of 16 bits.
        """
        starts = {
            state: to_integers(values, self.bits[state])
            for state, values in starts_of(self.cell, self.starts).items()
        }
        given = sequence_of(self.cell, self.own, starts, inputs, states, steps)
        x, last = (_whole(arrays) for arrays in (given.inputs, given.states))
        outputs: dict[str, list[Values]] = {key: [] for key in self.cell.output_keys}
        for found, after in self.steps(x, last, given.steps):
            last = after
            for key, array in found.items():
                outputs[key].append(array)
        names = zip(self.cell.output_keys, self.own.step.outputs, strict=True)
        return {
            key: given.stacked(outputs[key], lengths(self.own, name)).astype(np.int64)
            for key, name in names
        }, last

    def steps(
        self, inputs: Mapping[str, Values], states: Mapping[str, Values], steps: int | None = None
    ) -> Iterator[tuple[Arrays, Arrays]]:
        """Outputs and states after each step."""
        step, integers = self.order.single.step, Integers(self.scaled)
        now = dict(states)
        for t in range(len(next(iter(inputs.values()))) if steps is None else steps):
            values = integers.step({name: array[t] for name, array in inputs.items()}, now)
            now = {state: values[after] for state, after in self.order.carried()}
            yield (
                {
                    key: values[self.order.renamed[array]]
                    for key, array in zip(self.cell.output_keys, step.outputs, strict=True)
                },
                now,
            )


def quantized(
    cell: Cell,
    params: Mapping[str, Values],
    sizes: Mapping[str, int],
    *,
    ranges: Mapping[str, Interval],
    data: Mapping[str, Values] | None,
    states: Mapping[str, Values],
    steps: int = 0,
    int8: bool = False,
) -> Quantized:
    """params: by parts.  ranges: of inputs and states.  data: {input: [T, B, width]}.  states: that
    the sequences of the data start from.  steps: T, of a cell without inputs.  int8: matrices in
    int8, with a scale for each row."""
    plain = single(cell.step, params, sizes)
    order = ordered(in_int8(plain, in_int16) if int8 else plain)
    seen = _seen(order, data, states, steps) if data is not None else {}
    starts = {
        state: Interval(Fraction(float(values.min())), Fraction(float(values.max())))
        for state, values in starts_of(cell, params).items()
        if values.size
    }
    bounds = bounds_of(order, cell.step, ranges, seen, starts)
    return Quantized(cell, scaled(order, bounds), plain, dict(params))


def _whole(arrays: Arrays) -> Arrays:
    """As int64; ArgumentError for what is no integer of 16 bits."""
    for name, array in arrays.items():
        good = (array == np.rint(array)) & (array >= LOWEST) & (array <= HIGHEST)
        if not good.all():
            raise ArgumentError(
                f"{name} has an element that is no integer from {LOWEST} to {HIGHEST}",
                facts=(f"it is {array[~good][0]}",),
                hint=f'quantized.to_integers({{"{name}": ...}})',
            )
    return {name: array.astype(np.int64) for name, array in arrays.items()}


def _seen(
    order: Ordered, data: Mapping[str, Values], states: Mapping[str, Values], steps: int
) -> dict[str, float]:
    """The largest size of each array while the sequences run in float64."""
    floats, found = Floats(order), dict[str, float]()
    now: Mapping[str, Values] = states
    for t in range(len(next(iter(data.values()))) if data else steps):
        values = floats.step({name: array[t] for name, array in data.items()}, now)
        for name, array in values.items():
            largest = float(np.max(abs(array), initial=0))
            found[name] = max(found.get(name, 0.0), largest)
        now = {state: values[after] for state, after in order.carried()}
    return found
