"""What a user hands to layers, and what an error says where it does not fit.

In: a Cell, lengths of its dimensions, arrays.  Out: arrays of the right shape and dtype.
Not here: lengths of upper layers (sizes.py), calls (rnn.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import axes_text, closest, kind_text, shape_text, to_array
from derive.kernel.signature import Array, Arrays
from derive.layers.sizes import data_input, lengths_of


def array_of_x(
    cell: Cell, sizes: Mapping[str, int], x: Any, dtype: Any, ahead: tuple[str, ...]
) -> Array:
    """The input that changes with time. ahead: the axes before its own, as they are given."""
    name = data_input(cell)
    if isinstance(x, Mapping):
        if list(x) != [name]:
            raise ArgumentError(f"{cell.name} has the one input {name}")
        x = x[name]
    array = to_array(x, f"input {name}", dtype)
    shape = lengths_of(cell.inputs[name], sizes)
    if array.ndim != len(ahead) + len(shape) or array.shape[-len(shape) :] != shape:
        raise ArgumentError(
            f"input {name} has the wrong shape",
            facts=(f"it is [{', '.join((*ahead, *map(str, shape)))}], "
                   f"given {shape_text(array.shape)}",),
        )  # fmt: skip
    return array


def state_arrays(
    cell: Cell, sizes: Mapping[str, int], state: Any, places: int, rows: int, dtype: Any,
    what: str = "state",
) -> Arrays:  # fmt: skip
    """All states [places, B, width]; zeros where left out. Learned starts stay left out."""
    states = cell.states
    if state is None:
        state = {}
    if not isinstance(state, Mapping):
        if len(states) != 1:
            entries = ", ".join(f'"{name}": ...' for name in states)
            raise ArgumentError(
                f"{what} must be a mapping from names to arrays, not {kind_text(state)}",
                hint=f"{what}={{{entries}}}",
            )
        state = {next(iter(states)): state}
    for name in state:
        if name not in states:
            raise ArgumentError(f"{cell.name} has no state {name!r}", hint=closest(name, states))
    found = {}
    for name, axes in states.items():
        wanted = (places, rows, *lengths_of(axes, sizes))
        if state.get(name) is None:
            if name not in cell.checked.learned or what != "state":
                found[name] = np.zeros(wanted, dtype)
            continue
        array = to_array(state[name], f"{what} {name}", dtype)
        if array.shape != wanted:
            raise ArgumentError(
                f"{what} {name} has the wrong shape",
                facts=(f"it is {shape_text(wanted)}, given {shape_text(array.shape)}",),
            )
        found[name] = array
    return found


def once_arrays(cell: Cell, once: Mapping[str, Any] | None) -> dict[str, Any]:
    """Inputs that do not change with time; their shapes are the kernel's to check."""
    names = cell.checked.once
    if once is not None and not isinstance(once, Mapping):
        raise ArgumentTypeError(
            f"once is a mapping from names to arrays, not {kind_text(once)}",
            hint=f'once={{"{names[0] if names else "m"}": ...}}',
        )
    given = dict(once or {})
    if strange := [name for name in given if name not in names]:
        raise ArgumentError(
            f"{cell.name} has no input {strange[0]!r} that is given once",
            facts=(f"it has {', '.join(names) or 'none'}",),
            hint=closest(strange[0], names),
        )
    if missing := [name for name in names if name not in given]:
        axes = ", ".join(("B", *map(str, cell.inputs[missing[0]])))
        raise ArgumentError(
            f"input {missing[0]} of {cell.name}, which does not change with time, is missing",
            facts=(f"it is [{axes}]",),
            hint=f'rnn.forward(x, once={{"{missing[0]}": ...}})',
        )
    return given


def fixed_arrays(
    cell: Cell, sizes: Mapping[str, int], given: Mapping[str, Any] | None, dtype: Any
) -> Arrays:
    """The cell's fixed arrays, as one layer takes them."""
    names = cell.checked.fixed
    if given is not None and not isinstance(given, Mapping):
        raise ArgumentTypeError(
            f"fixed is a mapping from names to arrays, not {kind_text(given)}",
            hint=f'fixed={{"{names[0] if names else "A"}": ...}}',
        )
    given = given or {}
    if strange := [name for name in given if name not in names]:
        raise ArgumentError(
            f"{cell.name} has no fixed array {strange[0]!r}",
            facts=(f"it has {', '.join(names) or 'none'}",),
            hint=closest(strange[0], names),
        )
    found = {}
    for name in names:
        axes = cell.params[name]
        wanted = lengths_of(axes, sizes)
        if name not in given:
            raise ArgumentError(
                f"{name} of {cell.name} is fixed, and no values were given",
                facts=(f"it is {axes_text(axes)} = {shape_text(wanted)}",),
                hint=f'RNN(cell, ..., fixed={{"{name}": np.zeros({wanted})}})',
            )
        array = to_array(given[name], f"fixed array {name}", dtype)
        if array.shape != wanted:
            raise ArgumentError(
                f"fixed array {name} has the wrong shape",
                facts=(f"it is {shape_text(wanted)}, given {shape_text(array.shape)}",),
            )
        found[name] = array.copy()
    return found


def name_of(dtype: Any) -> str:
    """compile() says what is wrong with it. None is float64 to NumPy, and nothing here."""
    try:
        if dtype is None:
            return "None"
        return str(np.dtype(dtype).name)
    except (TypeError, ValueError):
        return repr(dtype)


def probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)):
        raise ArgumentTypeError(f"dropout is a number, not {kind_text(value)}")
    if not 0 <= value <= 1:
        raise ArgumentError(f"dropout is a probability, not {value}")
    return float(value)


def drawn_masks(
    random: Any, dropout: float, ahead: tuple[int, ...], of_x: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
) -> dict[int, Array]:  # fmt: skip
    """What the input of each layer but the first is multiplied with, [T, B, ...]: 0 with the
    probability `dropout`, else what keeps the mean. ahead: T and B; of_x: of each layer's input."""
    keep, masks = 1 - dropout, {}
    for layer, axes in enumerate(of_x[1:], start=1):
        kept = random.random((*ahead, *axes)) < keep
        mask = kept / keep if keep else np.zeros(kept.shape)
        masks[layer] = mask.astype(dtype)
    return masks
