"""One direction of a sequence through all layers of a cell, and its pullback.

In: an RNNCell and arrays [T, B, width].  Out: `DirectionRun`, whose pullback gives gradients in
TensorFlow's structures and layouts.
Not here: directions and lists (drivers.py), what happens past a row's end (layers/sequence.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel import Gradients
from derive.kernel.convert import copied, kind_text, read, shape_text
from derive.kernel.signature import Array, Arrays
from derive.layers.sequence import Sequence, by_time, run_sequence
from derive.rnn_cell.base import RNNCell
from derive.rnn_cell.structure import built, flattened


class Pulled(NamedTuple):
    """Gradients in the structures and layouts of what they are gradients of."""

    inputs: Any
    initial_state: Any
    variables: Any


@dataclass(frozen=True, slots=True)
class DirectionRun:
    """What ran, with all that its pullback needs. inputs: as they were given, by time; output:
    [T, B, width]."""

    cell: RNNCell
    inputs: Any
    output: Array
    state: Any
    sequences: tuple[Sequence, ...]

    def pullback(self, d_output: Any, d_state: Any, swap: bool) -> Pulled:
        template, widths = self.cell.state_layout()
        d_last = flattened(template, d_state, widths, "d_state")
        d = cotangent_of(self.output, d_output, swap)
        variables: Arrays = {}
        states: Arrays = {}
        grads: Gradients | None = None
        layers = self.cell.layers
        for (path, layer), sequence in zip(reversed(layers), reversed(self.sequences), strict=True):
            prefix = _prefix(path)
            names = [n for n in layer.wiring.state_widths() if prefix + n in d_last]
            grads = sequence.backward(
                {layer.wiring.output: d}, {n: d_last[prefix + n] for n in names}
            )
            d = grads.inputs[layer.wiring.inputs[0]]
            states |= {prefix + n: grads.states[n] for n in layer.wiring.state_widths()}
            scope = "".join(f"cell_{k}/" for k in path)
            own = layer.gradients(grads.params)
            variables = {scope + name: array for name, array in own.items()} | variables
        assert grads is not None
        own_inputs = layers[0][1].wiring.inputs
        parts = [swapped(grads.inputs[name], swap) for name in own_inputs]
        if self.cell.looks_up:
            parts[0], more = self.cell.pull_lookup(self.inputs, d)
            variables |= more
        return Pulled(
            parts[0] if len(parts) == 1 else tuple(parts), built(template, states), variables
        )


def run_direction(
    cell: RNNCell,
    inputs: Any,
    kind: str,
    initial_state: Any,
    lengths: Any,
    reverse: bool,
    past_end: str,
    resets: Any,
    training: bool,
    masks: Mapping[str, Any] | None,
    swap: bool,
) -> DirectionRun:
    """resets come in the caller's axes: [B, T] with `swap`."""
    template, widths = cell.state_layout()
    start = flattened(template, initial_state, widths, "initial_state")
    x: Any = inputs
    sequences: list[Sequence] = []
    last: Arrays = {}
    if not isinstance(masks, Mapping | None):
        raise ArgumentTypeError(
            f"masks must be a mapping from names to arrays, not {kind_text(masks)}",
            hint="masks=draw_masks(cell, steps, rows)",
        )
    given = dict(masks or {})
    x = cell.looked_up(x, kind)
    if cell.looks_up:
        inputs = np.array(inputs)  # what is written into later changes no gradient
    for path, layer in cell.layers:
        arrays, prefix = layer.named_inputs(x, kind), _prefix(path)
        wiring = layer.wiring
        steps, rows = next(iter(arrays.values())).shape[:2]
        flags = None if resets is None else by_time(resets, steps, rows, swap=swap)
        for name, mask in wiring.masks.items():
            width = layer.length(wiring.cell.inputs[name][0])
            own = given.pop(prefix + name, None)
            arrays[name] = mask.of_sequence(steps, rows, width) if own is None else own
        state = {
            name: start.get(prefix + name, np.zeros((rows, width), kind))
            for name, width in wiring.state_widths().items()
        }
        sequence = run_sequence(
            wiring.cell,
            layer.parameters(),
            arrays,
            state,
            dtype=kind,
            lengths=lengths,
            reverse=reverse,
            past_end=past_end,
            resets=flags,
            training=training,
        )
        x = sequence.outputs[wiring.output]
        last |= {prefix + n: sequence.states[n] for n in state}
        sequences.append(sequence)
    if given:
        raise ArgumentError(f"{cell.name} has no mask {next(iter(given))!r}")
    return DirectionRun(cell, inputs, x, built(template, last), tuple(sequences))


def _prefix(path: tuple[int, ...]) -> str:
    return "".join(f"{k}." for k in path)


def draw_masks(cell: RNNCell, steps: int, rows: int) -> Arrays:
    """Dropout masks [T, B, width] for `masks=`, by the names of the equations' inputs.

    In a MultiRNNCell names begin with the number of the layer: "0.mask_x".
    """
    drawn = {}
    for path, layer in cell.layers:
        wiring = layer.wiring
        for name, mask in wiring.masks.items():
            width = layer.length(wiring.cell.inputs[name][0])
            drawn[_prefix(path) + name] = mask.of_sequence(steps, rows, width)
    return drawn


# --- layouts ---------------------------------------------------------------------------------


def time_major_of(cell: RNNCell, inputs: Any, kind: str, swap: bool) -> Any:
    """Inputs [T, B, width], in their structure."""
    if len(cell.layers[0][1].wiring.inputs) > 1 and isinstance(inputs, (tuple, list)):
        return tuple(_one_time_major(part, swap) for part in inputs)
    return _one_time_major(inputs, swap, cell.looks_up)


def _one_time_major(part: Any, swap: bool, looks_up: bool = False) -> Array:
    array = read(part, "inputs")
    if looks_up and array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ArgumentError(
            "inputs have the wrong shape",
            facts=(
                f"inputs are {'[B, T, width]' if swap else '[T, B, width]'}, "
                f"given {shape_text(array.shape)}",
            ),
        )
    result: Array = swapped(array, swap)
    return result


def swapped(array: Any, swap: bool, label: str = "d_outputs") -> Any:
    if array is None or not swap:
        return array
    array = read(array, label)
    return copied(np.swapaxes(array, 0, 1), label, array.dtype) if array.ndim > 1 else array


def cotangent_of(output: Array, given: Any, swap: bool) -> Any:
    """d_outputs as [T, B, width]; an error in the axes in which they are given."""
    if given is None:
        return None
    array = read(given, "d_outputs")
    if array.shape != (shape := swapped(output, swap).shape):
        axes = "[B, T, width]" if swap else "[T, B, width]"
        raise ArgumentError(
            "d_outputs has the wrong shape",
            facts=(f"outputs are {axes} = {shape_text(shape)}, given {shape_text(array.shape)}",),
        )
    return swapped(array, swap)
