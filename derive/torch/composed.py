"""One layer and direction of any cell: whole tensors, and sequences with more than its equations.

In: a cell, its tensors.  Out: outputs and states.
Not here: layers (module.py), parameters (rnn.py), which mechanism of torch serves a call
(running.py).

| asked for           | is                                                                   |
| ------------------- | -------------------------------------------------------------------- |
| resets, all states  | equations of the cell that runs, or outputs of it                    |
| past_end "last"     | what lies past a row's length is filled in, and not computed         |
| past_end "computed" | equations that keep the states at a row's length: every row runs on  |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from derive.binding.slices import Slices, slices_of
from derive.cell import Cell
from derive.errors import Place
from derive.kernel.signature import Sizes
from derive.language import declare
from derive.language.declaration import Output
from derive.language.names import next_of
from derive.layers.sequence import plan
from derive.layers.sizes import data_input
from derive.torch import whole
from derive.torch.engine import engine_of
from derive.torch.ragged import ragged

Inputs = Mapping[str, Tensor]


def key_of(cell: Cell, threads: int) -> str:
    """The key of its engine."""
    # By text: equal cells may have their parameters in another order.
    return engine_of(cell.to_text(), threads).key


@dataclass(frozen=True, slots=True)
class Own:
    """A cell with the lengths of its dimensions in one layer, and where its parts lie then: of
    parameters, inputs, states and outputs.  params, names: of parameters and inputs."""

    cell: Cell
    sizes: Mapping[str, int]
    threads: int
    params: tuple[str, ...]
    names: tuple[str, ...]
    once: tuple[str, ...]
    slices: tuple[tuple[Slices, ...], ...]

    @classmethod
    def of(cls, cell: Cell, sizes: Mapping[str, int], threads: int) -> Own:
        lengths = Sizes(0, 0, sizes)
        groups = (cell.params, cell.inputs, cell.states, cell.outputs)
        slices = tuple(slices_of(cell, group, lengths) for group in groups)
        names = tuple(cell.params), tuple(cell.inputs)
        return cls(cell, sizes, threads, *names, cell.checked.once, slices)

    def inputs(self, x: Tensor, once: Sequence[Tensor]) -> Inputs:
        """By name; once: [B, width], of those that do not change with time."""
        (name,) = [name for name in self.names if name not in self.once]
        return {name: x, **dict(zip(self.once, once, strict=True))}

    def run(
        self, key: str, params: Sequence[Tensor], inputs: Inputs, states: Sequence[Tensor],
        lengths: Tensor | None, reverse: bool,
    ) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
        """Outputs and last states, whole, in the cell's order."""
        of_params, of_inputs, of_states, of_outputs = self.slices
        steps = next(inputs[name].shape[0] for name in self.names if name not in self.once)
        each = [
            inputs[n].expand(steps, *inputs[n].shape).contiguous() if n in self.once else inputs[n]
            for n in self.names
        ]
        p, x, s = (
            whole.cut_by(slices, tensors)
            for slices, tensors in ((of_params, params), (of_inputs, each), (of_states, states))
        )
        results = ragged(key, p, x, s, lengths, reverse)
        count = len(results) - len(s)
        return (
            whole.join_by(of_outputs, results[:count]), whole.join_by(of_states, results[count:])
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Composition:
    """The cell that runs, and how its arrays belong to those of the cell.

    x, reset, alive: inputs, "" where
    there is none.  starts: the cell's state that each of its states starts as.  output: where the
    cell's first output stands.  ends, every: where the last value of each state does among states,
    and that of all steps among outputs.
    """

    own: Own
    key: str
    x: str
    reset: str
    alive: str
    starts: tuple[int, ...]
    output: int
    ends: tuple[int, ...]
    every: tuple[int, ...]


@lru_cache(maxsize=1024)
def _composition(
    cell: Cell, sizes: tuple[tuple[str, int], ...], threads: int, past_end: str, resets: bool,
    every: bool,
) -> Composition:  # fmt: skip
    chosen = plan(cell, past_end, resets)
    running = _with_states(chosen.cell) if every else chosen.cell
    names, of_outputs = list(cell.states), list(running.outputs)
    begun = {end: name for name, end in chosen.ends.items()}
    ends = [chosen.ends.get(name, name) for name in names]
    return Composition(
        own=Own.of(running, dict(sizes), threads),
        key=key_of(running, threads),
        x=data_input(cell),
        reset=chosen.inputs.get("reset", ""),
        alive=chosen.inputs.get("alive", ""),
        starts=tuple(names.index(begun.get(name, name)) for name in running.states),
        output=of_outputs.index(chosen.outputs[next(iter(cell.outputs))]),
        ends=tuple(list(running.states).index(name) for name in ends),
        every=tuple(of_outputs.index(next_of(name)) for name in ends) if every else (),
    )


def composition(own: Own, past_end: str, resets: bool, every: bool) -> Composition:
    """past_end: as asked for; "last" needs no equations."""
    past_end = "zero" if past_end == "last" else past_end
    sizes = tuple(own.sizes.items())
    return _composition(own.cell, sizes, own.threads, past_end, resets, every)


def _with_states(cell: Cell) -> Cell:
    """The cell that puts out the next value of every state as well."""
    old = cell.declaration
    known = {output.name for output in old.outputs}
    nowhere = Place("<states>", 1, 1, "")
    more = [next_of(name) for name in cell.states if next_of(name) not in known]
    outputs = (*old.outputs, *(Output(name, nowhere, True) for name in more))
    return Cell.of(declare.from_declaration(replace(old, outputs=outputs), "<states>"))


def composed(
    chosen: Composition, params: Mapping[str, Tensor], inputs: Inputs, states: Sequence[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool, past_end: str,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
    """Output, last states and, if they are put out, those of all steps; see layers/sequence.py."""
    own, once = chosen.own, chosen.own.once
    x = inputs[chosen.x]
    steps = x.shape[0]
    inputs, ends = dict(inputs), lengths
    order = None
    if resets is not None:
        flags = _as_it_runs(resets, lengths, reverse)
        inputs[chosen.reset] = flags.unsqueeze(-1).to(x.dtype)
    if chosen.alive and lengths is not None:
        t = torch.arange(steps).unsqueeze(1)
        inputs[chosen.alive] = (t < lengths).unsqueeze(-1).to(x.dtype)
        if reverse:
            order, reverse = torch.where(t < lengths, lengths - 1 - t, t), False
            inputs = {
                n: tensor if n in once else _permuted(tensor, order) for n, tensor in inputs.items()
            }
        ends = None
    outputs, last = own.run(
        chosen.key, [params[name] for name in own.params], inputs,
        [states[k] for k in chosen.starts], ends, reverse,
    )  # fmt: skip
    y = _permuted(outputs[chosen.output], order)
    every = [_permuted(outputs[k], order) for k in chosen.every]
    if past_end == "last" and lengths is not None:
        y = y if reverse else _held(y, lengths)
        every = [_held(s, lengths, first, reverse) for s, first in zip(every, states, strict=False)]
    return y, [last[k] for k in chosen.ends], every


def _held(
    values: Tensor, lengths: Tensor, first: Tensor | None = None, reverse: bool = False
) -> Tensor:
    """[T, B, ...] with those of a row's last step past its length.  first: [B, ...], before any
    step, where a row has none; past the end of rows that run `reverse` as well."""
    steps = values.shape[0]  # len() would fix it where T is open
    if not steps:
        return values
    t = torch.arange(steps).unsqueeze(1)
    behind = [None] * (values.dim() - 2)
    kept = first
    if not reverse:
        at = (lengths - 1).clamp(min=0).unsqueeze(0)
        kept = _taken(values, at)[0]
        if first is not None:
            kept = torch.where((lengths > 0)[(..., *behind)], kept, first)
    return torch.where((t < lengths)[(..., *behind)], values, kept)


def _as_it_runs(resets: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """Flags before the steps as they run: a backward direction starts where a segment ends."""
    if not reverse:
        return resets
    steps = resets.shape[0]
    t = torch.arange(steps).unsqueeze(1)
    ends = steps if lengths is None else lengths  # no segment begins after a row's last step
    return resets.roll(-1, 0) & (t + 1 < ends)


def _permuted(value: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return value
    return _taken(value, order)


def _taken(values: Tensor, at: Tensor) -> Tensor:
    """values[at[k, n], n]: [K, B, ...] of [T, B, ...]. In an export take_along_dim would fix an
    open T and B."""
    places = at[(..., *[None] * (values.dim() - 2))]
    return values.gather(0, places.expand(*at.shape, *values.shape[2:]))
