"""All layers of an RNN in one call of compiled code.

In: a cell and the sizes of its layers; the arrays of a call.  Out: what the layers one after the
other would give, to the bit; None where they have to run so.
Not here: that one call (kernel/stack.py), which threads take part (kernel/side_by_side.py), the
layers one after the other (rnn.py).

One call takes what compiled kernels take as it is: whole arrays that nothing cuts, inputs that
change with time, no fresh starts, nothing but zeros past the end of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.kernel.c_backend import CBackend
from derive.kernel.call import Call
from derive.kernel.side_by_side import way_of
from derive.kernel.signature import Array, Arrays, Sizes
from derive.kernel.stack import Layer, Slot, StackPlan
from derive.layers.compose import masked

#: Kinds of calls that are remembered.
_REMEMBERED = 64


class OfLayer(NamedTuple):
    """One direction of one layer: its call, and what `Backend.forward` returns."""

    call: Call
    outputs: Arrays
    states: Arrays
    saved: Any


class Found(NamedTuple):
    """states: {name: [places, B, width]}."""

    output: Array
    states: Arrays
    layers: list[OfLayer]


class AtOnce:
    """Calls of one RNN. A copy has seen none."""

    def __init__(
        self, cell: Cell, sizes: Sequence[Mapping[str, int]], directions: int,
        using: tuple[str, str, int], x: str, y: str,
    ) -> None:  # fmt: skip
        """sizes: of each layer's dimensions.  using: target, dtype and threads.  x, y: the input
        that changes with time, and the output that goes up."""
        self._made = cell, tuple(sizes), directions, using, x, y
        self._plans: dict[tuple[int, int, bool, bool], StackPlan | None] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return AtOnce, self._made

    def forward(
        self, params: Sequence[Arrays], x: Array, start: Mapping[str, Array],
        lengths: Array | None, masks: Mapping[int, Array], training: bool,
    ) -> Found | None:  # fmt: skip
        """params: of each place, first both directions of layer 0.  x: [T, B, ...].  start:
        {state: [places, B, ...]}; those left out are learned.  masks: of each layer whose input is
        dropped."""
        plan = self._plan((*x.shape[:2], training, bool(masks)))
        if plan is None:
            return None
        cell, _, directions, _, name_of_x, _ = self._made
        given: dict[Slot, Any] = {Slot("x"): x, Slot("lengths"): lengths}
        for k, own in enumerate(params):
            for name, array in own.items():
                given[Slot("params", k, name)] = array
            for name in cell.states:
                given[Slot("first", k, name)] = self._first(plan.layers[k], own, start, name, k)
            if k // directions in masks:
                _, added = dropped(cell, name_of_x)
                given[Slot("inputs", k, added)] = masks[k // directions]
        found = plan(given)
        if found is None:
            return None
        output, arrays = found
        learned = tuple(name for name in cell.checked.learned if name not in start)
        layers = [self._of_layer(plan, k, own, arrays, learned) for k, own in enumerate(params)]
        states = {n: np.stack([one.states[n] for one in layers]) for n in cell.states}
        return Found(output, states, layers)

    def _first(
        self, layer: Layer, params: Arrays, start: Mapping[str, Array], name: str, k: int
    ) -> Array:
        if name in start:
            of_layer: Array = start[name][k]
            return of_layer
        learned, sizes = params[self._made[0].checked.learned[name]], layer.call.sizes
        shape = (sizes.rows, *sizes.lengths(layer.signature.states[name]))
        return np.array(np.broadcast_to(learned, shape))

    def _of_layer(
        self, plan: StackPlan, k: int, params: Arrays, arrays: Mapping[Slot, Any],
        learned: tuple[str, ...],
    ) -> OfLayer:  # fmt: skip
        own, kind = plan.layers[k].signature, plan.layers[k].call
        call = Call(
            kind.sizes,
            params,
            {name: arrays[plan.input_slot(k, name)] for name in own.inputs},
            {name: arrays[Slot("first", k, name)] for name in own.states},
            arrays[Slot("lengths")],
            kind.reverse,
            kind.training,
            learned=learned,
        )
        return OfLayer(
            call,
            {name: arrays[Slot("outputs", k, name)] for name in own.outputs},
            {name: arrays[Slot("last", k, name)] for name in own.states},
            arrays.get(Slot("saved", k)),
        )

    def _plan(self, key: tuple[int, int, bool, bool]) -> StackPlan | None:
        """key: steps, rows, whether backward will be called, whether inputs are dropped."""
        if key not in self._plans:
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
            self._plans[key] = self._planned(*key)
        return self._plans[key]

    def _planned(self, steps: int, rows: int, training: bool, drops: bool) -> StackPlan | None:
        cell, of_layers, directions, (target, dtype, threads), x, y = self._made
        if cell.checked.wholes or cell.checked.once or not (steps and rows):
            return None
        layers, elementwise = [], True
        for number, of_layer in enumerate(of_layers):
            own = dropped(cell, x)[0] if number and drops else cell
            backend = pipeline.untuned(own, target, dtype, 1)
            if not isinstance(backend, CBackend) or not backend.can_pipeline:
                return None
            elementwise = elementwise and pipeline.schedule(own).forward.elementwise
            sizes = Sizes(steps, rows, {dim: of_layer[dim] for dim in backend.signature.dims()})
            like = np.empty((), dtype)
            params = {
                name: np.broadcast_to(like, sizes.lengths(axes))
                for name, axes in backend.signature.params.items()
            }
            below = range((number - 1) * directions, number * directions) if number else range(0)
            for direction in range(directions):
                call = Call(sizes, params, {}, {}, None, bool(direction), training)
                layers.append(Layer(backend, call, x, y, tuple(below)))
        way = way_of(layers, threads, elementwise)
        if way is None:
            return None
        top = range(len(layers) - directions, len(layers))
        return StackPlan(
            pipeline.emit(cell, target), layers, top,
            team=way.team, patient=way.patient, steps=way.steps,
        )  # fmt: skip


@lru_cache(maxsize=64)
def dropped(cell: Cell, x: str) -> tuple[Cell, str]:
    """The cell with a mask on its input x, and what that is called."""
    made = masked(cell, [x])
    return made.cell, made.added[x]
