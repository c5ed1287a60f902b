"""One layer and direction of any cell: whole tensors, and sequences with more than its equations.

In: a cell, its tensors.  Out: outputs and states.
Not here: layers (module.py), parameters (rnn.py), which mechanism of torch serves a call
(running.py).
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
from derive.layers.sequence import Plan, plan
from derive.layers.sizes import data_input, lengths_of
from derive.torch import whole
from derive.torch.engine import engine_of
from derive.torch.running import sequence

Inputs = Mapping[str, Tensor]


def key_of(cell: Cell, threads: int) -> str:
    """The key of its engine."""
    # By text: equal cells may have their parameters in another order.
    return engine_of(cell.to_text(), threads).key


@dataclass(frozen=True, slots=True)
class Own:
    """A cell with the lengths of its dimensions in one layer, and where its parts lie then: of
    parameters, inputs, states and outputs."""

    cell: Cell
    sizes: Mapping[str, int]
    threads: int
    names: tuple[str, ...]
    once: tuple[str, ...]
    slices: tuple[tuple[Slices, ...], ...]

    @classmethod
    def of(cls, cell: Cell, sizes: Mapping[str, int], threads: int) -> Own:
        lengths = Sizes(0, 0, sizes)
        groups = (cell.params, cell.inputs, cell.states, cell.outputs)
        slices = tuple(slices_of(cell, group, lengths) for group in groups)
        return cls(cell, sizes, threads, tuple(cell.inputs), cell.checked.once, slices)

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
        results = sequence(key, p, x, s, lengths, reverse)
        count = len(results) - len(s)
        return (
            whole.join_by(of_outputs, results[:count]), whole.join_by(of_states, results[count:])
        )  # fmt: skip


@lru_cache(maxsize=256)
def _plan(cell: Cell, past_end: str, resets: bool, every: bool) -> Plan:
    """The cell that runs, with all states among its outputs if they are wanted."""
    own = plan(cell, past_end, resets)
    return replace(own, cell=_with_states(own.cell)) if every else own


def _with_states(cell: Cell) -> Cell:
    """The cell that puts out the next value of every state as well."""
    old = cell.declaration
    known = {output.name for output in old.outputs}
    nowhere = Place("<states>", 1, 1, "")
    more = [next_of(name) for name in cell.states if next_of(name) not in known]
    outputs = (*old.outputs, *(Output(name, nowhere, True) for name in more))
    return Cell.of(declare.from_declaration(replace(old, outputs=outputs), "<states>"))


def composed(
    own: Own, params: Sequence[Tensor], inputs: Inputs, states: Sequence[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool, past_end: str, every: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
    """A sequence whose row ends and fresh starts are equations; see layers/sequence.py."""
    cell = own.cell
    x = inputs[data_input(cell)]
    chosen = _plan(cell, past_end, resets is not None, every)
    running, once = Own.of(chosen.cell, own.sizes, own.threads), own.once
    by_name = dict(zip(cell.params, params, strict=True))
    steps, rows = x.shape[:2]
    inputs = dict(inputs)
    start = dict(zip(cell.states, states, strict=True))
    order = None
    if resets is not None:
        flags = _as_it_runs(resets, lengths, reverse)
        inputs[chosen.inputs["reset"]] = flags.unsqueeze(-1).to(x.dtype)
    if past_end != "zero" and lengths is not None:
        t = torch.arange(steps).unsqueeze(1)
        inputs[chosen.inputs["alive"]] = (t < lengths).unsqueeze(-1).to(x.dtype)
        if reverse and past_end == "computed":
            order, reverse = torch.where(t < lengths, lengths - 1 - t, t), False
            inputs = {
                n: tensor if n in once else _permuted(tensor, order) for n, tensor in inputs.items()
            }
        lengths = None
    start |= {end: start[name] for name, end in chosen.ends.items()}
    first = [
        start[n] if n in start else x.new_zeros(rows, *lengths_of(axes, own.sizes))
        for n, axes in running.cell.states.items()
    ]
    ordered = [by_name[name] for name in running.cell.params]
    key = key_of(running.cell, own.threads)
    outputs, last_of_all = running.run(key, ordered, inputs, first, lengths, reverse)
    results = dict(zip(running.cell.outputs, outputs, strict=True))
    ends = dict(zip(running.cell.states, last_of_all, strict=True))
    y = _permuted(results[chosen.outputs[next(iter(cell.outputs))]], order)
    last = [ends[chosen.ends.get(name, name)] for name in cell.states]
    of_all = []
    if every:
        of_all = [
            _permuted(results[next_of(chosen.ends.get(name, name))], order) for name in cell.states
        ]
    return y, last, of_all


def _as_it_runs(resets: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """Flags before the steps as they run: a backward direction starts where a segment ends."""
    if not reverse:
        return resets
    flags = torch.cat([resets[1:], torch.zeros_like(resets[:1])])
    if lengths is not None:  # no segment begins after a row's last step
        flags = flags & (torch.arange(1, len(flags) + 1).unsqueeze(1) < lengths)
    return flags


def _permuted(value: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return value
    return torch.take_along_dim(value, order[(..., *[None] * (value.dim() - 2))], 0)
