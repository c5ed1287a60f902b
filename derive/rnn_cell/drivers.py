"""Cells over sequences: dynamic_rnn and its relatives.

In: RNNCells and arrays in TensorFlow's structures.  Out: outputs and states; with
`return_pullback` also a function from their gradients to those of inputs, initial states and
variables, in the same structures and layouts.
Not here: one direction through all layers (running.py), what happens past a row's end
(layers/sequence.py). A sequence runs in the fused kernel, a
MultiRNNCell layer by layer.

`parallel_iterations`, `swap_memory` and `scope` are accepted and of no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import read, shape_text, to_array, to_flag
from derive.rnn_cell.base import RNNCell, check_cell, dtype_of
from derive.rnn_cell.running import Pulled, run_direction, swapped, time_major_of

Pullback = Callable[..., Pulled]


def dynamic_rnn(
    cell: RNNCell,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: Any = None,
    time_major: bool = False,
    scope: Any = None,
    *,
    past_end: str = "zero",
    resets: Any = None,
    return_pullback: bool = False,
    masks: Mapping[str, Any] | None = None,
) -> Any:
    """outputs, state = dynamic_rnn(cell, inputs): a cell over a sequence.

    inputs: [B, T, width], or [T, B, width] if time_major; outputs likewise.
    sequence_length: [B] integers. Past a row's length outputs are zero and the state is copied
    through; past_end="last" repeats the last output, "computed" runs on (sequence.py).
    resets: booleans [B, T], or [T, B] if time_major; a row starts afresh before that step.
    masks: dropout masks to use, as `draw_masks` gives them, instead of new ones.
    return_pullback: a third value, `pullback(d_outputs, d_state) -> (inputs, initial_state,
    variables)`; what is None is zero. It may be called any number of times.
    """
    check_cell(cell)
    kind = dtype_of(inputs, cell, dtype)
    swap = not to_flag(time_major, "time_major")
    return_pullback = to_flag(return_pullback, "return_pullback")
    run = run_direction(
        cell,
        time_major_of(cell, inputs, kind, swap),
        kind,
        initial_state,
        sequence_length,
        False,
        past_end,
        resets,
        return_pullback,
        masks,
        swap,
    )
    outputs = swapped(run.output, swap)
    if not return_pullback:
        return outputs, run.state

    def pullback(d_outputs: Any = None, d_state: Any = None) -> Pulled:
        return run.pullback(d_outputs, d_state, swap)

    return outputs, run.state, pullback


def bidirectional_dynamic_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: Any = None,
    time_major: bool = False,
    scope: Any = None,
    *,
    past_end: str = "zero",
    resets: Any = None,
    return_pullback: bool = False,
    masks: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None] = (None, None),
) -> Any:
    """(outputs_fw, outputs_bw), (state_fw, state_bw): a cell for each direction.

    The backward direction starts at each row's last step; outputs stay at their time. The
    pullback takes pairs and gives pairs, but for the inputs, whose gradients are added.
    """
    for cell in (cell_fw, cell_bw):
        check_cell(cell)
    kind = dtype_of(inputs, cell_fw, dtype)
    swap = not to_flag(time_major, "time_major")
    return_pullback = to_flag(return_pullback, "return_pullback")
    runs = [
        run_direction(
            cell,
            time_major_of(cell, inputs, kind, swap),
            kind,
            initial,
            sequence_length,
            reverse,
            past_end,
            resets,
            return_pullback,
            mask,
            swap,
        )
        for cell, initial, reverse, mask in (
            (cell_fw, initial_state_fw, False, masks[0]),
            (cell_bw, initial_state_bw, True, masks[1]),
        )
    ]
    outputs = tuple(swapped(run.output, swap) for run in runs)
    states = tuple(run.state for run in runs)
    if not return_pullback:
        return outputs, states

    def pullback(d_outputs: Any = None, d_states: Any = None) -> Pulled:
        pulled = [
            run.pullback(d_output, d_state, swap)
            for run, d_output, d_state in zip(
                runs, _pair(d_outputs, "d_outputs"), _pair(d_states, "d_state"), strict=True
            )
        ]
        return Pulled(
            _added(*(each.inputs for each in pulled)),
            tuple(each.initial_state for each in pulled),
            tuple(each.variables for each in pulled),
        )

    return outputs, states, pullback


def stack_bidirectional_dynamic_rnn(
    cells_fw: Sequence[RNNCell],
    cells_bw: Sequence[RNNCell],
    inputs: Any,
    initial_states_fw: Any = None,
    initial_states_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    parallel_iterations: Any = None,
    time_major: bool = False,
    scope: Any = None,
    swap_memory: Any = None,
    *,
    past_end: str = "zero",
    resets: Any = None,
    return_pullback: bool = False,
) -> Any:
    """outputs, states_fw, states_bw: each layer reads both directions of the one below.

    outputs: [B, T, width of the last cell_fw + width of the last cell_bw]. The pullback is
    `pullback(d_outputs, d_states_fw, d_states_bw)`, and each of its results but the inputs is a
    pair (forward, backward) of tuples with an entry for each layer.
    """
    layers = _layers(cells_fw, cells_bw)
    return_pullback = to_flag(return_pullback, "return_pullback")
    starts = _pair((initial_states_fw, initial_states_bw), "initial states")
    fw, bw = (_tuple_of(start, len(layers)) for start in starts)
    kind = dtype_of(inputs, layers[0][0], dtype)
    x: Any = inputs
    pullbacks: list[Pullback] = []
    states: list[tuple[Any, Any]] = []
    for k, (cell_fw, cell_bw) in enumerate(layers):
        result = bidirectional_dynamic_rnn(
            cell_fw,
            cell_bw,
            x,
            sequence_length,
            fw[k],
            bw[k],
            kind,
            time_major=time_major,
            past_end=past_end,
            resets=resets,
            return_pullback=return_pullback,
        )
        x = np.concatenate(result[0], axis=-1)
        states.append(result[1])
        pullbacks += result[2:]
    states_fw, states_bw = (tuple(pair[side] for pair in states) for side in (0, 1))
    if not return_pullback:
        return x, states_fw, states_bw

    def pullback(d_outputs: Any = None, d_states_fw: Any = None, d_states_bw: Any = None) -> Pulled:
        d_fw, d_bw = (_tuple_of(d, len(layers)) for d in (d_states_fw, d_states_bw))
        d = d_outputs
        pulled: list[Pulled] = []
        for k in reversed(range(len(layers))):
            width = layers[k][0].output_size
            parts = (None, None) if d is None else (d[..., :width], d[..., width:])
            pulled.insert(0, pullbacks[k](parts, (d_fw[k], d_bw[k])))
            d = pulled[0].inputs
        sides = [
            tuple(tuple(getattr(each, what)[side] for each in pulled) for side in (0, 1))
            for what in ("initial_state", "variables")
        ]
        return Pulled(d, sides[0], sides[1])

    return x, states_fw, states_bw, pullback


def static_rnn(
    cell: RNNCell,
    inputs: Sequence[Any],
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
    *,
    past_end: str = "zero",
    resets: Any = None,
    return_pullback: bool = False,
    masks: Mapping[str, Any] | None = None,
) -> Any:
    """outputs, state: as dynamic_rnn, for a list of T inputs [B, width]; outputs are a list."""
    check_cell(cell)
    if not isinstance(inputs, (list, tuple)):
        raise ArgumentTypeError("inputs must be a sequence")
    if not inputs:
        raise ArgumentError("inputs must not be empty")
    names = cell.layers[0][1].wiring.inputs
    several = len(names) > 1
    if several and any(not isinstance(x, (list, tuple)) or len(x) != len(names) for x in inputs):
        raise ArgumentTypeError(
            f"each of the inputs of {cell.name} is a tuple of {len(names)} arrays: "
            f"{', '.join(names)}"
        )
    if several:
        whole: Any = tuple(_stacked(parts) for parts in zip(*inputs, strict=True))
    else:
        whole = _stacked(inputs)
    result = dynamic_rnn(
        cell,
        whole,
        sequence_length,
        initial_state,
        dtype,
        time_major=True,
        past_end=past_end,
        resets=resets,
        return_pullback=return_pullback,
        masks=masks,
    )
    outputs = list(result[0])
    if len(result) == 2:
        return outputs, result[1]

    def pullback(d_outputs: Any = None, d_state: Any = None) -> Pulled:
        d = None
        if d_outputs is not None:
            d = np.stack(
                [np.zeros_like(y) if d_y is None else to_array(d_y, "d_outputs", y.dtype)
                 for y, d_y in zip(outputs, _list_of(d_outputs, len(outputs)), strict=True)]
            )  # fmt: skip
        pulled = result[2](d, d_state)
        d_inputs = pulled.inputs
        if d_inputs is None:  # integers have no gradient
            d_inputs = [None] * len(outputs)
        parts = zip(*d_inputs, strict=True) if several else d_inputs
        return Pulled(list(parts), pulled.initial_state, pulled.variables)

    return outputs, result[1], pullback


def _stacked(steps: Sequence[Any]) -> Any:
    """[T, B, width] of T arrays [B, width]."""
    arrays = [read(step, f"inputs[{t}]") for t, step in enumerate(steps)]
    for t, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise ArgumentError(
                "inputs have different shapes",
                facts=(f"inputs[0] is {shape_text(arrays[0].shape)}, "
                       f"inputs[{t}] is {shape_text(array.shape)}",),
            )  # fmt: skip
    return np.stack(arrays)


# --- pairs and lists -------------------------------------------------------------------------


def _added(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(x + y for x, y in zip(a, b, strict=True))
    if a is None or b is None:  # a cell that reads integers has no gradient
        return b if a is None else a
    return a + b


def _pair(value: Any, what: str) -> tuple[Any, Any]:
    if value is None:
        return (None, None)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentTypeError(f"{what} is a pair (forward, backward)")
    return (value[0], value[1])


def _list_of(value: Any, count: int) -> Any:
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != count:
        raise ArgumentError(f"d_outputs is a list of {count} arrays, one a step")
    return value


def _tuple_of(value: Any, count: int) -> tuple[Any, ...]:
    if value is None:
        return (None,) * count
    if not isinstance(value, (tuple, list)) or len(value) != count:
        raise ArgumentError(f"states of {count} layers are a list of {count} entries")
    return tuple(value)


def _layers(
    cells_fw: Sequence[RNNCell], cells_bw: Sequence[RNNCell]
) -> list[tuple[RNNCell, RNNCell]]:
    for cells, name in ((cells_fw, "cells_fw"), (cells_bw, "cells_bw")):
        if not isinstance(cells, (list, tuple)) or not cells:
            raise ArgumentError(f"Must specify at least one cell in {name}")
    if len(cells_fw) != len(cells_bw):
        raise ArgumentError(
            "forward and backward cells must be equally many",
            facts=(f"{len(cells_fw)} forward, {len(cells_bw)} backward",),
        )
    return list(zip(cells_fw, cells_bw, strict=True))
