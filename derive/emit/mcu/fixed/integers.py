"""What a device with fixed-point numbers computes, bit for bit.

In: a `Scaled`, integers of inputs and states.  Out: integers of all arrays of a step.
Not here: which operations there are (forms.py).

It runs in int64 and holds every number that a device has in an int32 against that: an overflow is
an error, not a wrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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
    Whole,
)
from derive.emit.mcu.fixed.order import along, product, spread, summed
from derive.emit.mcu.fixed.scales import Scaled, dropped, looked_up, saturated
from derive.emit.mcu.nests import Loose
from derive.errors import InternalError
from derive.kernel.signature import Array as Values
from derive.program import Map
from derive.program.interpret import align

_COMPARE = {
    "less": np.less, "less_equal": np.less_equal, "equal": np.equal, "not_equal": np.not_equal,
}  # fmt: skip


def checked(value: Any) -> Any:
    if np.size(value) and (np.max(value) > 2**31 - 1 or np.min(value) < -(2**31)):
        raise InternalError("a sum in fixed point overflows 32 bits")
    return value


class Integers:
    """Runs the items of a step: rows of the batch come first. All arrays are int64 in the range of
    int16."""

    def __init__(self, scaled: Scaled) -> None:
        self.scaled, self.table = scaled, scaled.order.table
        self.sizes = scaled.order.single.sizes

    def step(self, inputs: Mapping[str, Values], states: Mapping[str, Values]) -> dict[str, Values]:
        values: dict[str, Any] = {**self.scaled.weights, **inputs, **states}
        rows = max((len(v) for v in (*inputs.values(), *states.values())), default=1)
        for item in self.scaled.order.nests.items:
            sums = [item.term] if isinstance(item, Loose) else item.gathers
            for name in (one.out for one in sums):
                values[name] = self._sum(self.scaled.operations[name], values)
            if not isinstance(item, Loose):
                for equation in item.maps:
                    found = self._map(equation, values)
                    values[equation.out] = spread(found, (rows, *self._shape(equation.out)))
        return values

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.sizes[d] if isinstance(d, str) else d for d in self.table[name].shape)

    def _sum(self, operation: Operation, values: Mapping[str, Any]) -> Any:
        if isinstance(operation, Along):
            found = checked(along(operation.term, values[operation.term.left]))
            return saturated(dropped(found, operation.drop))
        assert isinstance(operation, Total)
        total: Any = 0
        if operation.start is not None:
            total = self._part(operation.start, values)
        for term, drop in zip(operation.terms, operation.drops, strict=True):
            total = total + summed(checked(product(term, values, self.table)) >> drop, term)
        return saturated(dropped(checked(total), operation.drop))

    def _part(self, part: Part, values: Mapping[str, Any]) -> Any:
        found: Any = part.factor
        for name in part.names:
            found = checked(found * values[name])
        return dropped(found, part.drop)

    def _map(self, equation: Map, values: Mapping[str, Any]) -> Any:
        rank = len(self.table[equation.out].shape)
        own = {
            name: align(values[name], self.table[name], equation.place(name), rank)
            for name in equation.operands
        }
        return saturated(self._value(self.scaled.operations[equation.out], own))

    def _value(self, operation: Operation, own: Mapping[str, Any]) -> Any:
        if isinstance(operation, Linear):
            total: Any = np.int64(operation.constant)
            for part in operation.parts:
                total = checked(total + self._part(part, own))
            return dropped(total, operation.drop)
        if isinstance(operation, Lookup):
            return looked_up(np.array(operation.table), own[operation.source])
        if isinstance(operation, Choice):
            pick = np.maximum if operation.kind == "maximum" else np.minimum
            return pick(*(self._part(part, own) for part in operation.parts))
        if isinstance(operation, Where):
            one, other = (self._part(part, own) for part in operation.test)
            holds = _COMPARE[operation.kind](one, other)
            return np.where(
                holds, self._part(operation.chosen, own), self._part(operation.other, own)
            )
        if isinstance(operation, Quotient):
            above = checked(self._part(operation.above, own) * (1 << 15))
            below = np.asarray(own[operation.below])
            least = np.where(below == 0, 1, abs(below))
            found = np.sign(above) * np.where(below < 0, -1, 1) * (abs(above) // least)
            found = np.where(below == 0, np.where(above < 0, 1 - 2**31, 2**31 - 2), found)
            return dropped(found, operation.drop)
        assert isinstance(operation, Whole)
        v = own[operation.source]
        if operation.kind == "sign":
            return np.sign(v) * (1 << operation.left)
        return (v >> operation.bits) * (1 << operation.left)
