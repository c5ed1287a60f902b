"""run and jvp: a cell over a sequence as functions of tensors, without a module.

In: a Cell, tensors by name.  Out: tensors by name.
Not here: modules (rnn.py), which mechanism of torch serves a call (running.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, kind_text, to_flag
from derive.kernel.signature import Sizes, names_in
from derive.torch import checks, whole
from derive.torch.engine import engine_of
from derive.torch.running import sequence

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
    call = _Call(cell, params, inputs, states, lengths)
    own = call.parts(call.params, call.inputs, call.states)
    return call.results(sequence(
        _key(cell, threads, False), *own, call.lengths, to_flag(reverse, "reverse"),
    ))  # fmt: skip


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
    call = _Call(cell, params, inputs, states, lengths)
    t_p = call.moved("t_params", cell.params, t_params, call.params)
    t_x = call.moved("t_inputs", cell.inputs, t_inputs, call.given) if cell.inputs else []
    t_s = call.moved("t_states", cell.states, t_states, call.states)
    own = call.parts(call.params, call.inputs, call.states)
    along = call.parts(t_p, call.at_each_step(t_x), call.moved_starts(t_states, t_s, t_p))
    p, x, s = ([*values, *tangents] for values, tangents in zip(own, along, strict=True))
    values = sequence(_key(cell, threads, True), p, x, s, call.lengths, to_flag(reverse, "reverse"))
    y, last = len(cell.output_keys), 2 * len(cell.output_keys) + len(cell.step.states)
    plain = [*values[:y], *values[2 * y : last]]
    tangents = [*values[y : 2 * y], *values[last:]]
    return call.results(plain), call.results(tangents)


class _Call:
    """Arguments in the order of the cell, of one dtype, and of shapes that fit each other."""

    def __init__(self, cell: Cell, params: Any, inputs: Any, states: Any, lengths: Any) -> None:
        if not isinstance(cell, Cell):
            raise ArgumentTypeError(
                f"cell must be a derive.Cell, not {kind_text(cell)}", hint="derive.cells.lstm()"
            )
        if not isinstance(params, Mapping):
            raise ArgumentTypeError(
                f"params must be a mapping from names to tensors, not {kind_text(params)}",
                facts=(f"{cell.name} has the parameters {', '.join(cell.params)}",),
            )
        self.cell = cell
        self.dims: dict[Any, tuple[int, str]] = {}
        self.like: Tensor | None = None
        of_params = _named(cell, "params", tuple(cell.params), params)
        of_inputs = self._inputs_given(cell, inputs)
        of_states = _named(cell, "states", tuple(cell.states), states, optional=True)
        self.params = [self._fit("params", n, of_params[n], s, ()) for n, s in cell.params.items()]
        ahead = ("time steps", "batch rows")
        once = cell.checked.once
        self.given = [
            self._fit("inputs", n, of_inputs[n], s, ahead[n in once :])
            for n, s in cell.inputs.items()
        ]
        if not cell.inputs:
            self.given = [self._fit("inputs", "x", of_inputs["x"], (0,), ahead)]
        states_given = {
            n: self._fit("states", n, of_states[n], s, ahead[1:])
            for n, s in cell.states.items() if of_states.get(n) is not None
        }  # fmt: skip
        moving = (x for n, x in zip(cell.inputs, self.given, strict=False) if n not in once)
        steps, rows = next(moving, self.given[0]).shape[:2]
        self.sizes = Sizes(steps, rows, self._told())
        self.inputs = self.at_each_step(self.given)
        self.left_out = [n for n in cell.states if n not in states_given]
        self.states = [
            states_given[n] if n in states_given else self._start(n, s, self.params)
            for n, s in cell.states.items()
        ]
        self.lengths = None if lengths is None else checks.lengths_of(lengths, steps, rows)

    def at_each_step(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Inputs [T, B, width]; those that are given once are repeated."""
        once = self.cell.checked.once
        names = (self.cell.inputs or ("x",)) if inputs else ()
        return [
            x.expand(self.sizes.steps, *x.shape).contiguous() if n in once else x
            for n, x in zip(names, inputs, strict=True)
        ]

    def moved(
        self, kind: str, names: Iterable[str], given: Any, tensors: list[Tensor]
    ) -> list[Tensor]:
        """Tangents of `tensors`, zeros where none was given."""
        cell = self.cell
        found = _named(cell, kind, tuple(names), given, optional=True)
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
            full.append(value)
        return full

    def moved_starts(
        self, given: Any, tensors: Sequence[Tensor], t_params: Sequence[Tensor]
    ) -> list[Tensor]:
        """Tangents of states: of a start that was learned, that of its parameter."""
        cell = self.cell
        told = _named(cell, "t_states", tuple(cell.states), given, optional=True)
        learned = {n for n in self.left_out if n in cell.checked.learned and told.get(n) is None}
        return [
            self._start(n, cell.states[n], t_params) if n in learned else tensor
            for n, tensor in zip(cell.states, tensors, strict=True)
        ]

    def _inputs_given(self, cell: Cell, inputs: Any) -> Mapping[str, Any]:
        if cell.inputs:
            return _named(cell, "inputs", tuple(cell.inputs), inputs)
        if not isinstance(inputs, Tensor) or inputs.dim() != 3 or inputs.shape[2]:
            raise ArgumentError(
                f"{cell.name} has no inputs, so an empty tensor tells T and B",
                hint="inputs=torch.empty(T, B, 0)",
            )
        return {"x": inputs}

    def _fit(
        self, kind: str, name: str, value: Any, shape: Sequence[Any], ahead: Sequence[Any]
    ) -> Any:
        label = f"{kind.removesuffix('s')} {name}"
        value = checks.tensor_of(value, label)
        axes = (*ahead, *shape)
        if value.dim() == 0 and axes == (1,):
            value = value.unsqueeze(0)
        fits = value.dim() == len(axes)
        facts = []
        for axis, length in zip(axes, value.shape, strict=False):
            known, by = (
                (axis, label) if isinstance(axis, int) else self.dims.get(axis, (length, label))
            )
            if known != length:
                fits = False
                facts.append(f"{axis} = {known} by {by}")
            elif isinstance(axis, str):
                self.dims.setdefault(axis, (length, label))
        if not fits:
            letters = {"time steps": "T", "batch rows": "B"}
            shown = ", ".join(str(letters.get(axis, axis)) for axis in axes)
            raise ArgumentError(
                f"{label} has the wrong shape",
                facts=(f"it is [{shown}], given {list(value.shape)}", *facts),
            )
        if value.dtype not in (torch.float32, torch.float64):
            raise ArgumentTypeError(
                f"{label} is {value.dtype}", facts=("run takes float32 or float64",),
                hint=f"{label.split()[1]}.float()",
            )  # fmt: skip
        if self.like is not None:
            checks.same_dtype(value, label, self.like, "others are")
        self.like = value
        return value

    def _told(self) -> dict[str, int]:
        """Lengths of dimensions, those that only sums of them tell included."""
        arrays = [((axis,), (length,)) for axis, (length, _) in self.dims.items()
                  if axis not in ("time steps", "batch rows")]  # fmt: skip
        return dict(whole.sizes_of(arrays).dims)

    def _start(self, name: str, shape: Sequence[Any], params: Sequence[Tensor]) -> Tensor:
        """A state that was left out: what it has learned, or zeros."""
        cell = self.cell
        for dim in (part for axis in shape for part in names_in(axis)):
            if dim not in self.sizes.dims:
                shown = ", ".join(map(str, shape))
                raise ArgumentError(
                    f"nothing given determines the width {dim} of state {name}",
                    hint=f'states={{"{name}": torch.zeros(B, {shown})}}',
                )
        wanted = (self.sizes.rows, *self.sizes.shape(shape))
        learned = cell.checked.learned.get(name)
        if learned is None:
            return self.given[0].new_zeros(wanted)
        start = params[list(cell.params).index(learned)]
        return start.expand(wanted).contiguous()

    def parts(
        self, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """Parameters, inputs and states as kernels know them; fixed ones without a gradient."""
        cell = self.cell
        if cell.checked.is_plain:
            return params, inputs, states
        fixed = cell.checked.fixed
        params = [p.detach() if n in fixed else p
                  for n, p in zip(cell.params, params, strict=True)]  # fmt: skip
        names = (cell.inputs or ("x",)) if inputs else ()
        groups = ((cell.params, params), (names, inputs), (cell.states, states))
        one, two, three = (whole.cut(cell, tuple(n), t, self.sizes) for n, t in groups)
        return one, two, three

    def results(self, values: Sequence[Tensor]) -> tuple[Tensors, Tensors]:
        cell = self.cell
        count = len(cell.output_keys)
        outputs = whole.join(cell, tuple(cell.outputs), values[:count], self.sizes)
        return outputs, whole.join(cell, tuple(cell.states), values[count:], self.sizes)


def _named(
    cell: Cell, kind: str, names: Sequence[str], given: Any, *, optional: bool = False
) -> Mapping[str, Any]:
    if given is None and optional:
        return {}
    if not isinstance(given, Mapping):
        if len(names) == 1:
            return {names[0]: given}
        entries = ", ".join(f'"{name}": ...' for name in names)
        raise ArgumentTypeError(
            f"{kind} must be a mapping from names to tensors, not {kind_text(given)}",
            hint=f"{kind}={{{entries}}}",
        )
    for name in given:
        if name not in names:
            raise ArgumentError(
                f"{kind} has an entry {name!r}, but {cell.name} has none of that name",
                facts=(f"it has {', '.join(names) or 'none'}",),
                hint=closest(name, names),
            )
    if missing := [name for name in names if given.get(name) is None and not optional]:
        raise ArgumentError(
            f"{missing[0]} is missing in {kind}", facts=(f"{cell.name} has {', '.join(names)}",)
        )
    return given


def _key(cell: Cell, threads: int | None, tangent: bool) -> str:
    """Of the engine, or of its tangent's."""
    threads = checks.threads_of(threads)
    if tangent:
        return engine_of(cell.to_text(), threads).tangent.key
    return engine_of(cell.to_text(), threads).key


#: Dynamo calls this while it traces: it depends on no tensor.
_key._dynamo_marked_constant = True  # type: ignore[attr-defined]
