"""Calls of `run` like an earlier one: what was found about their arguments then holds again.

In: a cell, and arguments of `run` as they were given.  Out: tensors in the order of the cell; None
where they have to be looked at.
Not here: looking at them (binding/arguments.py), whose work takes as long as a short call.

A call is like another one if its cell is, and its tensors have the same shapes, dtypes and kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from derive.binding.arguments import Arguments
from derive.cell import Cell

_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class _Names:
    """Of a cell that takes and gives arrays whole; `checked` keeps the id that it is known by."""

    checked: Any
    params: tuple[str, ...]
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Parameters, inputs and states, and the names of results."""

    tensors: tuple[list[Tensor], list[Tensor], list[Tensor]]
    names: _Names

    @property
    def steps_and_rows(self) -> tuple[int, int]:
        steps, rows = self.tensors[1][0].shape[:2]
        return steps, rows

    def results(self, values: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Outputs and last states by name."""
        count = len(self.names.outputs)
        outputs = dict(zip(self.names.outputs, values, strict=False))
        return outputs, dict(zip(self.names.states, values[count:], strict=True))


_names: dict[int, _Names] = {}
#: By cell, shapes and dtypes: shapes of states where none were given. The names keep the cell's id.
_seen: dict[tuple[Any, ...], tuple[_Names, tuple[tuple[int, ...], ...]]] = {}


def as_before(cell: Any, params: Any, inputs: Any, states: Any) -> Repeated | None:
    """The arguments of a call like one that `remember` was told of."""
    if torch.compiler.is_compiling() or type(cell) is not Cell:
        return None
    names = _names.get(id(cell.checked))
    if names is None:
        return None
    own = _given(params, names.params), _given(inputs, names.inputs)
    first = [] if states is None else _given(states, names.states)
    if own[0] is None or own[1] is None or first is None:
        return None
    key = _key(names, [*own[0], *own[1], *first])
    found = None if key is None else _seen.get(key)
    if found is None:
        return None
    if states is None:
        first = [own[1][0].new_zeros(shape) for shape in found[1]]
    return Repeated((own[0], own[1], first), names)


def remember(call: Arguments, params: Any, inputs: Any, states: Any) -> None:
    """That these arguments were found to fit, and stand in `call` as they were given."""
    cell = call.cell
    if torch.compiler.is_compiling() or not cell.checked.is_plain or not cell.inputs:
        return
    names = _Names(
        cell.checked, tuple(cell.params), tuple(cell.inputs), tuple(cell.states),
        tuple(cell.outputs),
    )  # fmt: skip
    own = _given(params, names.params), _given(inputs, names.inputs)
    first = [] if states is None else _given(states, names.states)
    if own[0] is None or own[1] is None or first is None:
        return
    given = [*own[0], *own[1], *first]
    taken = [*call.params, *call.inputs, *(call.states if first else ())]
    key = _key(names, given)
    if key is None or not all(a is b for a, b in zip(given, taken, strict=True)):
        return
    if len(_seen) >= _REMEMBERED:
        _seen.clear()
        _names.clear()
    _names[id(cell.checked)] = names
    _seen[key] = names, tuple(tuple(state.shape) for state in call.states)


def _given(values: Any, names: tuple[str, ...]) -> list[Any] | None:
    """By these names and no others, or a bare tensor."""
    if isinstance(values, Tensor):
        return [values] if len(names) == 1 else None
    if type(values) is not dict or len(values) != len(names):
        return None
    try:
        return [values[name] for name in names]
    except KeyError:
        return None


def _key(names: _Names, tensors: Sequence[Any]) -> tuple[Any, ...] | None:
    """None where one of them is no plain tensor on the CPU."""
    found: list[Any] = [id(names.checked)]
    for tensor in tensors:
        kind = type(tensor)
        if (kind is not Tensor and kind is not Parameter) or tensor.is_nested:
            return None
        if not tensor.is_cpu or tensor.layout is not torch.strided:
            return None
        found.append(tensor.shape)
        found.append(tensor.dtype)
    return tuple(found)
