"""run and jvp: a cell over a sequence as functions of tensors, without a module.

In: a Cell, tensors by name.  Out: tensors by name.
Not here: modules (rnn.py), which mechanism of torch serves a call (running.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from derive.binding.arguments import Arguments
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import to_flag
from derive.torch import checks, whole
from derive.torch.engine import engine_of
from derive.torch.ragged import ragged
from derive.torch.repeated import as_before, remember

Tensors = dict[str, Tensor]


def run(
    cell: Cell, params: Mapping[str, Any], inputs: Any, states: Any = None, *, lengths: Any = None,
    reverse: bool = False, threads: int | None = None,
) -> tuple[Tensors, Tensors]:  # fmt: skip
    """Outputs {name: [T, B, width]} and last states {name: [B, width]} of a sequence.

    params: {name: tensor}, all of the cell's.  inputs: {name: [T, B, width]}, or a tensor where
    there is one; of a cell without inputs an empty [T, B, 0].  states: {name: [B, width]}, or a
    tensor where there is one; zeros where left out.  lengths: [B] integers.  reverse: each row runs
    its own steps last to first. An input that does not change with time is [B, width], and a state
    that has learned its start starts there. Differentiable to any order, in both modes, under
    torch.func; fixed arrays have no gradient.
    """
    backwards = to_flag(reverse, "reverse")
    if (known := as_before(cell, params, inputs, states)) is not None:
        key = _key(cell, threads, False)
        ends = None if lengths is None else checks.lengths_of(lengths, *known.steps_and_rows)
        return known.results(ragged(key, *known.tensors, ends, backwards))
    call = Arguments(_Torch(), cell, params, inputs, states, lengths)
    own = call.parts(call.params, call.inputs, call.states)
    remember(call, params, inputs, states)
    return call.results(ragged(_key(cell, threads, False), *own, call.lengths, backwards))


def jvp(
    cell: Cell, params: Mapping[str, Any], inputs: Any, states: Any = None, *,
    t_params: Mapping[str, Any] | None = None, t_inputs: Any = None, t_states: Any = None,
    lengths: Any = None, reverse: bool = False, threads: int | None = None,
) -> tuple[tuple[Tensors, Tensors], tuple[Tensors, Tensors]]:  # fmt: skip
    """`run`, and the directional derivatives of its results.

    Returns (outputs, states), (t_outputs, t_states).

    t_params, t_inputs, t_states: the direction, by the same names; left out means zero. May stand
    inside of torch.compile, where torch.func.jvp of a derived cell may not.
    """
    moving = _Call(cell, params, inputs, states, lengths)
    call = moving.own
    t_p = moving.moved("t_params", cell.params, t_params, call.params)
    t_x = moving.moved("t_inputs", cell.inputs, t_inputs, call.given) if cell.inputs else []
    t_s = moving.moved("t_states", cell.states, t_states, call.states)
    own = call.parts(call.params, call.inputs, call.states)
    along = call.parts(t_p, call.at_each_step(t_x), moving.moved_starts(t_states, t_s, t_p))
    p, x, s = ([*values, *tangents] for values, tangents in zip(own, along, strict=True))
    values = ragged(_key(cell, threads, True), p, x, s, call.lengths, to_flag(reverse, "reverse"))
    y, last = len(cell.output_keys), 2 * len(cell.output_keys) + len(cell.step.states)
    plain = [*values[:y], *values[2 * y : last]]
    tangents = [*values[y : 2 * y], *values[last:]]
    return call.results(plain), call.results(tangents)


class _Call:
    """Arguments of a call, and tangents that fit them."""

    def __init__(self, cell: Any, params: Any, inputs: Any, states: Any, lengths: Any) -> None:
        self.own = Arguments(_Torch(), cell, params, inputs, states, lengths)
        self.cell = self.own.cell

    def moved(
        self, kind: str, names: Iterable[str], given: Any, tensors: list[Tensor]
    ) -> list[Tensor]:
        """Tangents of `tensors`, zeros where none was given."""
        cell = self.cell
        found = self.own.named(kind, tuple(names), given, optional=True)
        full = []
        for name, tensor in zip(names, tensors, strict=True):
            value = found.get(name)
            if value is None:
                full.append(torch.zeros_like(tensor))
                continue
            if name in cell.checked.fixed:
                raise ArgumentError(
                    f"'{name}' of {cell.name} is fixed, so it has no tangent",
                    hint=f"param {name}   in the cell, if it is to be trained",
                )
            value = checks.tensor_of(value, f"{kind} {name}")
            checks.shape_fits(value, f"{kind} {name}", tuple(tensor.shape))
            checks.same_dtype(value, f"{kind} {name}", tensor, "its primal is")
            checks.same_device(value, f"{kind} {name}", tensor, "its primal is")
            full.append(value)
        return full

    def moved_starts(
        self, given: Any, tensors: Sequence[Tensor], t_params: Sequence[Tensor]
    ) -> list[Tensor]:
        """Tangents of states: of a start that was learned, that of its parameter."""
        cell, own = self.cell, self.own
        told = own.named("t_states", tuple(cell.states), given, optional=True)
        learned = {n for n in own.left_out if n in cell.checked.learned and told.get(n) is None}
        return [
            own.start(n, cell.states[n], t_params) if n in learned else tensor
            for n, tensor in zip(cell.states, tensors, strict=True)
        ]


class _Torch:
    """PyTorch's part in Arguments: `derive.binding.arguments.Library`."""

    arrays, inputs, states = "tensors", "inputs", "states"

    def array(self, value: Any, label: str) -> Tensor:
        return checks.tensor_of(value, label)

    def fits(self, value: Tensor, label: str, like: Tensor | None) -> Tensor:
        if value.dtype not in (torch.float32, torch.float64):
            raise ArgumentTypeError(
                f"{label} is {value.dtype}", facts=("run takes float32 or float64",),
                hint=f"{label.split()[1]}.float()",
            )  # fmt: skip
        if like is not None:
            checks.same_dtype(value, label, like, "others are")
            checks.same_device(value, label, like, "others are")
        return value

    def is_array(self, value: Any) -> bool:
        return isinstance(value, Tensor)

    def zeros(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return like.new_zeros(tuple(shape))

    def zeros_text(self, axes: Sequence[Any]) -> str:
        return f"torch.zeros({', '.join(map(str, axes))})"

    def repeated(self, value: Tensor, shape: Sequence[int]) -> Tensor:
        return value.expand(tuple(shape)).contiguous()

    def constant(self, value: Tensor) -> Tensor:
        return value.detach()

    def part(self, value: Tensor, at: Sequence[slice]) -> Tensor:
        return whole.part(value, at)

    def concatenated(self, arrays: list[Tensor], axis: int) -> Tensor:
        return torch.cat(arrays, dim=axis)

    def lengths(self, value: Any, steps: int, rows: int) -> Tensor:
        return checks.lengths_of(value, steps, rows)


#: Keys by the cell itself: equal cells may have their parameters in another order, and writing a
#: cell's text takes longer than a short call.
_keys: dict[tuple[int, int, bool], tuple[Any, str]] = {}
_REMEMBERED = 256


def _key(cell: Cell, threads: int | None, tangent: bool) -> str:
    """Of the engine, or of its tangent's."""
    threads = checks.threads_of(threads)
    place = id(cell.checked), threads, tangent
    known = _keys.get(place)
    if known is not None:
        return known[1]
    engine = engine_of(cell.to_text(), threads)
    key = (engine.tangent if tangent else engine).key
    if len(_keys) >= _REMEMBERED:
        _keys.clear()
    _keys[place] = cell.checked, key  # who is kept keeps its id
    return key


#: Dynamo calls this while it traces: it depends on no tensor.
_key._dynamo_marked_constant = True  # type: ignore[attr-defined]
