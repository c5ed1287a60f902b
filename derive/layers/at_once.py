"""All layers of an RNN in one call of compiled code.

In: a cell and the sizes of its layers; the arrays of a call.  Out: what the layers one after the
other would give, to the bit; None where they have to run so.
Not here: that one call (kernel/stack.py), which threads take part (kernel/side_by_side.py), the
layers one after the other (rnn.py).

One call takes what compiled kernels take as it is: whole arrays that nothing cuts, inputs that
change with time, no fresh starts, nothing but zeros past the end of a row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.kernel import Gradients
from derive.kernel.call import Call
from derive.kernel.side_by_side import way_of
from derive.kernel.signature import Array, Arrays, Sizes
from derive.kernel.stack import Layer, StackPlan
from derive.kernel.stack_backward import BackwardPlan
from derive.kernel.tasks import Slot
from derive.kernel.team import Meetings
from derive.layers import sequence as layer_sequence
from derive.layers.compose import masked

#: Kinds of calls that are remembered.
_REMEMBERED = 64
_Key = tuple[int, int, bool, bool]
_Plan = TypeVar("_Plan")


class OfLayer(NamedTuple):
    """One direction of one layer: its call, and what `Backend.forward` returns."""

    call: Call
    outputs: Arrays
    states: Arrays
    saved: Any


class Found(NamedTuple):
    """states: {name: [places, B, width]}.  key: of the kind of call."""

    output: Array
    states: Arrays
    layers: list[OfLayer]
    key: _Key


class AtOnce:
    """Calls of one RNN. A copy has seen none."""

    def __init__(
        self, cell: Cell, sizes: Sequence[Mapping[str, int]], directions: int,
        using: tuple[str, str, int], x: str, y: str,
    ) -> None:  # fmt: skip
        """sizes: of each layer's dimensions.  using: target, dtype and threads.  x, y: the input
        that changes with time, and the output that goes up."""
        self._made = cell, tuple(sizes), directions, using, x, y
        self._kinds: dict[bool, tuple[Kind, Kind] | None] = {}
        self._plans: dict[_Key, StackPlan | None] = {}
        self._backs: dict[_Key, BackwardPlan | None] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return AtOnce, self._made

    def forward(
        self, params: Sequence[Arrays], x: Array, start: Mapping[str, Array],
        lengths: Array | None, masks: Mapping[int, Array], training: bool,
    ) -> Found | None:  # fmt: skip
        """params: of each place, first both directions of layer 0.  x: [T, B, ...].  start:
        {state: [places, B, ...]}; those left out are learned.  masks: of each layer whose input is
        dropped."""
        key = (x.shape[0], x.shape[1], training, bool(masks))
        plan = self._plan(key)
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
        return Found(output, states, layers, key)

    def gradients(
        self, found: Found | None, sequences: Sequence[layer_sequence.Sequence],
        d_output: Array | None, d_last: Mapping[str, Array],
    ) -> dict[int, Gradients]:  # fmt: skip
        """Of each place, from one call; none where the layers have to run one by one. sequences:
        of a forward call that was found here."""
        if found is None or d_output is None:
            return {}
        for one in sequences:
            one._kernel.check_unchanged(one._run)
        of_layers = self.backward(found, d_output, d_last) or ()
        return {
            k: sequences[k]._kernel.gradients_of(sequences[k]._run, *of_layer)
            for k, of_layer in enumerate(of_layers)
        }

    def backward(
        self, found: Found, d_output: Array, d_last: Mapping[str, Array]
    ) -> list[tuple[Arrays, Arrays, Arrays]] | None:
        """Gradients of the parameters, inputs and first states of each place. d_output: of all
        directions; d_last: {state: [places, B, ...]}, zeros where left out."""
        plan, back = self._plan(found.key), self._back(found.key)
        if plan is None or back is None:
            return None
        given: dict[Slot, Any] = {Slot("d_output"): d_output}
        for k, of_layer in enumerate(found.layers):
            call, own = of_layer.call, plan.layers[k].signature
            given[Slot("lengths")] = call.lengths
            given[Slot("saved", k)] = of_layer.saved
            given |= {Slot("params", k, name): array for name, array in call.params.items()}
            given |= {plan.input_slot(k, name): array for name, array in call.inputs.items()}
            for name in own.states:
                given[Slot("d_last", k, name)] = d_last[name][k] if name in d_last else None
        arrays = back(given)
        if arrays is None:
            return None
        return [
            (
                {n: arrays[Slot("d_params", k, n)] for n in own.params if own.wants(n)},
                {n: arrays[Slot("d_inputs", k, n)] for n in own.inputs if own.wants(n)},
                {n: arrays[Slot("d_first", k, n)] for n in own.states},
            )
            for k, own in enumerate(layer.signature for layer in plan.layers)
        ]

    def _first(
        self, layer: Layer, params: Arrays, start: Mapping[str, Array], name: str, k: int
    ) -> Array:
        if name in start:
            of_layer: Array = start[name][k]
            return of_layer
        learned, sizes = params[self._made[0].checked.learned[name]], layer.call.sizes
        shape = (sizes.rows, *sizes.lengths(layer.signature.states[name]))
        return np.ascontiguousarray(np.broadcast_to(learned, shape))

    def _of_layer(
        self, plan: StackPlan, k: int, params: Arrays, arrays: Mapping[Slot, Any],
        learned: tuple[str, ...],
    ) -> OfLayer:  # fmt: skip
        own, kind = plan.layers[k].signature, plan.layers[k].call
        call = Call(
            kind.sizes,
            dict(params),  # a layer's own dict is changed by set_params
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

    def _plan(self, key: _Key) -> StackPlan | None:
        """key: steps, rows, whether backward will be called, whether inputs are dropped."""
        return _remembered(self._plans, key, lambda: self._planned(*key))

    def _back(self, key: _Key) -> BackwardPlan | None:
        return _remembered(self._backs, key, lambda: self._planned_back(key))

    def _planned_back(self, key: _Key) -> BackwardPlan | None:
        cell, _, directions, (target, _, threads), _, _ = self._made
        forward = self._plan(key)
        assert forward is not None  # it made the run
        layers = forward.layers
        elementwise = pipeline.schedule(cell).backward.elementwise
        way = way_of(layers, threads, elementwise, backward=True)
        if way is None:
            return None
        x_of = [forward.input_slot(k, layer.x) for k, layer in enumerate(layers)]
        return BackwardPlan(
            pipeline.emit(cell, target), layers, x_of, directions,
            team=way.team, patient=way.patient,
        )  # fmt: skip

    def _planned(self, steps: int, rows: int, training: bool, drops: bool) -> StackPlan | None:
        cell, of_layers, directions, (target, dtype, threads), x, y = self._made
        if not (steps and rows):
            return None
        kinds = self._kinds_of(drops)
        if kinds is None:
            return None
        layers: list[Layer] = []
        for number, of_layer in enumerate(of_layers):
            backend, meetings, _ = kinds[min(number, 1)]
            own = backend.signature
            sizes = Sizes(steps, rows, {dim: of_layer[dim] for dim in own.dims()})
            like = np.empty((), dtype)
            params = {
                n: np.broadcast_to(like, sizes.lengths(axes)) for n, axes in own.params.items()
            }
            below = range((number - 1) * directions, number * directions) if number else range(0)
            for direction in range(directions):
                call = Call(sizes, params, {}, {}, None, bool(direction), training)
                layers.append(Layer(backend, call, x, y, tuple(below), meetings))
        way = way_of(layers, threads, all(kind.elementwise for kind in kinds))
        if way is None:
            return None
        top = range(len(layers) - directions, len(layers))
        return StackPlan(
            pipeline.emit(cell, target), layers, top,
            team=way.team, patient=way.patient, steps=way.steps,
        )  # fmt: skip

    def _kinds_of(self, drops: bool) -> tuple[Kind, Kind] | None:
        """What the first layer runs, and the others; None where not all can run in one call."""
        if drops not in self._kinds:
            cell, _, _, (target, dtype, _), x, _ = self._made
            found = None
            if not (cell.checked.wholes or cell.checked.once):
                first = kind_of(cell, target, dtype)
                other = kind_of(dropped(cell, x)[0], target, dtype) if first and drops else first
                found = (first, other) if first and other else None
            self._kinds[drops] = found
        return self._kinds[drops]


def _remembered(table: dict[_Key, _Plan], key: _Key, make: Callable[[], _Plan]) -> _Plan:
    """The entry of a key, made if need be. Another thread may empty the table meanwhile."""
    with contextlib.suppress(KeyError):
        return table[key]
    if len(table) >= _REMEMBERED:
        table.clear()
    made = table[key] = make()
    return made


class Kind(NamedTuple):
    """A layer's kernel of one thread, and what tells how well several would share it."""

    backend: Any
    meetings: Meetings
    elementwise: bool


@pipeline.by_text
def kind_of(cell: Cell, target: str, dtype: str) -> Kind | None:
    """None where its passes cannot run beside others."""
    backend = pipeline.untuned(cell, target, dtype, 1)
    if not getattr(backend, "can_pipeline", False):
        return None
    meetings = Meetings.of(pipeline.emit(cell, target), cell.name)
    return Kind(backend, meetings, pipeline.schedule(cell).forward.elementwise)


def summed(found: Mapping[int, Gradients], places: Sequence[int], x: str) -> Array:
    """The gradient of what these places read."""
    d: Array = found[places[0]].inputs[x]
    for k in places[1:]:
        d = d + found[k].inputs[x]
    return d


@pipeline.by_text
def dropped(cell: Cell, x: str) -> tuple[Cell, str]:
    """The cell with a mask on its input x, and what that is called."""
    made = masked(cell, [x])
    return made.cell, made.added[x]
