"""A cell over whole sequences: rows that end, rows that start afresh, both directions.

In: a Cell, its parameters and arrays [T, B, width].  Out: `Sequence`, whose `backward` gives
the gradients. What a row's end and a fresh start mean is written as equations (compose.py) and
differentiated like the rest; here they only get their inputs.
Not here: structures and layouts of other libraries (rnn_cell/), stacks (rnn.py).

What happens past a row's length:

    past_end      outputs                                    last states
    "zero"        0                                          those of the row's last step
    "last"        repeated; 0 before the first step          those of the row's last step
    "computed"    those of running on past the end           those of the row's last step

A backward direction starts at the row's last step. There "last" leaves 0 past the end, as
Keras does, because nothing came before; "computed" reads the steps past the end after the
row's first step, as reversing each row by its length does.

resets [T, B]: where it is true, a row starts afresh before that step: from states that are zero,
or from what they have learned to start from. It marks where a segment begins in time; a backward
direction starts afresh where the segment ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from derive import targets
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError, BuildError
from derive.kernel import Gradients, Kernel, Run
from derive.kernel.convert import (
    axes_text,
    closest,
    dtype_text,
    read,
    shape_text,
    to_array,
    to_lengths,
)
from derive.kernel.signature import ROWS, STEPS, Array, Arrays, Sizes
from derive.layers.compose import held, restarted, running_on
from derive.pipeline import compile as compile_cell

PAST_END = ("zero", "last", "computed")


_TARGET: ContextVar[tuple[str | None, int]] = ContextVar("target", default=(None, 1))


@contextmanager
def using(target: str | None = None, threads: int = 1) -> Iterator[None]:
    """Inside the `with`, kernels are made for this target and number of threads.

    Without a target: C where a compiler is there, NumPy otherwise (`kernel_of`), which is also
    the rule outside of any `with`.
    """
    token = _TARGET.set((target, threads))
    try:
        yield
    finally:
        _TARGET.reset(token)


def kernel_for(cell: Cell, dtype: str) -> Kernel:
    """The kernel that `using` says."""
    return kernel_of(cell, dtype, *_TARGET.get())


@lru_cache(maxsize=256)
def kernel_of(cell: Cell, dtype: str, target: str | None = None, threads: int = 1) -> Kernel:
    """A kernel for the cell; without a target that of the first in order of preference that this
    machine can build (targets.py): C where a compiler is there, NumPy otherwise."""
    if target is not None:
        return compile_cell(cell, target=target, dtype=dtype, threads=threads)
    failed: BuildError | None = None
    for row in targets.by_preference():
        try:
            return compile_cell(cell, target=row.name, dtype=dtype, threads=threads)
        except BuildError as error:
            failed = failed or error
    assert failed is not None
    raise failed


@dataclass(frozen=True, slots=True)
class Plan:
    """The cell that runs, and the names of what was added to it."""

    cell: Cell
    inputs: Mapping[str, str]  # "reset", "alive" -> input
    outputs: Mapping[str, str]  # key -> key of the cell that runs
    ends: Mapping[str, str]  # state -> state that stops at the row's end


@lru_cache(maxsize=256)
def plan(cell: Cell, past_end: str, resets: bool) -> Plan:
    """The equations of `cell` with those of row ends and fresh starts."""
    inputs: dict[str, str] = {}
    outputs = {key: key for key in cell.outputs}
    ends: dict[str, str] = {}
    if resets:
        # Before row ends: what remembers an output is no state that a fresh start clears.
        fresh = restarted(cell)
        cell = fresh.cell
        inputs["reset"] = fresh.added["reset"]
        outputs = {key: fresh.outputs[new] for key, new in outputs.items()}
    if past_end != "zero":
        names = tuple(cell.states)
        ended = held(cell) if past_end == "last" else running_on(cell)
        cell = ended.cell
        inputs["alive"] = ended.added["alive"]
        outputs = {key: ended.outputs[new] for key, new in outputs.items()}
        if past_end == "computed":
            ends = {state: ended.added[f"end {state}"] for state in names}
    return Plan(cell, inputs, outputs, ends)


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """outputs: {key: [T, B, width]}; states: {name: [B, width]} after each row's last step."""

    outputs: Arrays
    states: Arrays
    _plan: Plan = field(repr=False)
    _kernel: Kernel = field(repr=False)
    _run: Run = field(repr=False)
    _order: Array | None = field(repr=False)

    def backward(
        self,
        d_outputs: Mapping[str, Any] | None = None,
        d_states: Mapping[str, Any] | None = None,
    ) -> Gradients:
        """Gradients of params, inputs and initial states, by the names of the given cell."""
        plan, order = self._plan, self._order
        d_out = {
            plan.outputs[key]: d if d is None or order is None else self._ordered(key, d)
            for key, d in (d_outputs or {}).items()
        }
        d_last = {plan.ends.get(name, name): d for name, d in (d_states or {}).items()}
        grads = self._kernel.backward(self._run, d_out, d_last)
        once = self._plan.cell.checked.once
        inputs = {
            name: d if name in once else _permuted(d, order)
            for name, d in grads.inputs.items()
            if name not in plan.inputs.values()
        }
        # A state that stops at the row's end starts as the state it follows: both gradients.
        states = {
            name: grads.states[name] + grads.states[plan.ends[name]]
            if name in plan.ends
            else grads.states[name]
            for name in self.states
        }
        return Gradients(grads.params, inputs, states)

    def _ordered(self, key: str, d: Any) -> Array:
        """A cotangent in the order in which its rows ran."""
        array = to_array(d, f"cotangent of output {key}", self._kernel.dtype)
        if array.shape != self.outputs[key].shape:
            raise ArgumentError(
                f"cotangent of output {key} has the wrong shape",
                facts=(f"the output is {shape_text(self.outputs[key].shape)}, "
                       f"given {shape_text(array.shape)}",),
            )  # fmt: skip
        return _permuted(array, self._order)


def run_sequence(
    cell: Cell,
    params: Mapping[str, Any],
    x: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    *,
    dtype: str,
    lengths: Any = None,
    reverse: bool = False,
    past_end: str = "zero",
    resets: Any = None,
    training: bool = True,
    remat: str | None = None,
) -> Sequence:
    """All steps of all rows in one call of the fused kernel; shapes as Kernel.forward's."""
    if not isinstance(past_end, str) or past_end not in PAST_END:
        raise unknown_past_end(past_end)
    if lengths is None:
        past_end = "zero"
    chosen = plan(cell, past_end, resets is not None)
    kernel = kernel_for(chosen.cell, dtype)
    inputs, start = dict(x), dict(state or {})
    order = None
    once = cell.checked.once
    moving = (np.shape(array)[:2] for name, array in x.items() if name not in once)
    shape: tuple[int, ...] = next(moving, ())
    if len(shape) == 2:  # else the kernel says what is wrong with x
        sizes = Sizes(shape[0], shape[1], {})
        if lengths is not None:
            lengths = to_lengths(lengths, sizes)
        if resets is not None:
            flags = to_resets(resets, sizes, lengths, reverse)
            inputs[chosen.inputs["reset"]] = flags[:, :, None].astype(dtype)
        if past_end != "zero":
            alive = np.arange(sizes.steps)[:, None] < lengths
            inputs[chosen.inputs["alive"]] = alive[:, :, None].astype(dtype)
            if reverse and past_end == "computed":
                order, reverse = _by_row_reversed(sizes, lengths), False
                inputs = {
                    n: array
                    if n in once
                    else _permuted(to_array(array, f"input {n}", kernel.dtype), order)
                    for n, array in inputs.items()
                }
    start |= {end: start[name] for name, end in chosen.ends.items() if name in start}
    run = kernel.forward(
        params,
        inputs,
        start,
        lengths=lengths if past_end == "zero" else None,
        reverse=reverse,
        training=training,
        remat=remat,
    )
    outputs = {key: _permuted(run.outputs[new], order) for key, new in chosen.outputs.items()}
    states = {name: run.states[chosen.ends.get(name, name)] for name in cell.states}
    return Sequence(outputs, states, chosen, kernel, run, order)


def unknown_past_end(given: Any) -> ArgumentError:
    return ArgumentError(
        f"past_end is {' or '.join(map(repr, PAST_END))}, not {given!r}",
        hint=closest(given, PAST_END),
    )


def by_time(resets: Any, steps: int, rows: int, *, swap: bool) -> Array:
    """Resets [T, B]; with `swap` they are given as [B, T], and errors speak of that."""
    flags = read(resets, "resets")
    wanted = (rows, steps) if swap else (steps, rows)
    if flags.shape != wanted:
        axes = (ROWS, STEPS) if swap else (STEPS, ROWS)
        raise ArgumentError(
            "resets has the wrong shape",
            facts=(f"resets is {axes_text(axes)} with T = {steps}, B = {rows}, "
                   f"given {shape_text(flags.shape)}",),
            hint=f"resets=np.zeros({wanted}, bool)",
        )  # fmt: skip
    return np.swapaxes(flags, 0, 1) if swap else flags


def to_resets(value: Any, sizes: Sizes, lengths: Array | None, reverse: bool) -> Array:
    """[T, B] booleans, where a row starts afresh in the order in which it runs."""
    flags = read(value, "resets")
    if flags.dtype.kind not in "biu" or (flags.dtype.kind != "b" and np.any(flags > 1)):
        raise ArgumentTypeError(
            f"resets must hold booleans, not {dtype_text(flags)}",
            hint="resets=np.zeros((T, B), bool)",
        )
    if flags.shape != (sizes.steps, sizes.rows):
        raise ArgumentError(
            "resets has the wrong shape",
            facts=(
                f"resets is {axes_text((STEPS, ROWS))} with T = {sizes.steps}, "
                f"B = {sizes.rows}, given {shape_text(flags.shape)}",
            ),
            hint=f"resets=np.zeros(({sizes.steps}, {sizes.rows}), bool)",
        )
    flags = flags.astype(bool)
    if not reverse:
        return flags
    backward = np.zeros_like(flags)
    backward[:-1] = flags[1:]
    if lengths is not None:  # the flag after a row's last step belongs to nothing
        backward &= np.arange(1, sizes.steps + 1)[:, None] < lengths
    return backward


def _by_row_reversed(sizes: Sizes, lengths: Array) -> Array:
    """[T, B] the step that comes at each place when each row is reversed by its length."""
    t = np.arange(sizes.steps)[:, None]
    return np.where(t < lengths, lengths - 1 - t, t)


def _permuted(array: Array, order: Array | None) -> Array:
    """`array` [T, B, width] with each row's steps in the given order, which is its own inverse."""
    if order is None:
        return array
    return np.take_along_axis(array, order[(..., *[None] * (array.ndim - 2))], axis=0)
