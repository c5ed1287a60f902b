"""Engine: one cell's kernels, called with tensors.

In: a cell's text, and which of its parameters lie stacked in one tensor.  Out: outputs, last states
and gradients as fresh tensors; the engine of its tangent.
Not here: derivatives as torch knows them (functions.py, operators.py), what users call, targets
that are given arrays (array_calls.py).

Everything is keyed by content, so modules may be copied, pickled and sent to other processes.
Kernels are built when they are first called, those of the tangent with the first double backward.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from derive import pipeline, targets
from derive.binding.wanted import worth_a_kernel
from derive.cell import Cell
from derive.errors import BuildError, InternalError
from derive.kernel.backend import Backend
from derive.kernel.call import Call
from derive.kernel.fast.address_calls import AddressCalls, by_address
from derive.kernel.recycled import WORTH_KEEPING, recycled
from derive.kernel.signature import Signature, Sizes
from derive.torch import checks
from derive.torch.array_calls import ArrayCalls, Groups, Tensors
from derive.torch.threads import share_threads

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
#: Kinds of calls that are remembered.
_REMEMBERED = 256
#: Elements by which one saved array may exceed what its widths say: its memory begins on a line.
_LINE = 64


@dataclass(frozen=True, slots=True)
class _Plan:
    """Calls with these shapes: by address where the target can be called so, otherwise `arrays`.

    saved: elements of what is kept for backward.  partial: calls that compute some gradients only.
    """

    call: Call
    outputs: tuple[tuple[int, ...], ...]
    states: tuple[tuple[int, ...], ...]
    calls: AddressCalls | None
    arrays: ArrayCalls
    saved: int
    work: int
    partial: dict[tuple[str, ...], AddressCalls]


class Engine:
    """A cell in all dtypes. Safe to call from several threads."""

    def __init__(self, cell: Cell, threads: int, groups: Groups) -> None:
        self.cell = cell
        self.threads = threads
        self.groups = groups
        self.signature: Signature = pipeline.signature_of_parts(cell)
        self.params = tuple(tuple(shape) for shape in self.signature.params.values())
        self.inputs = tuple(map(_axes, self.signature.inputs.values()))
        self.states = tuple(map(_axes, self.signature.states.values()))
        self.outputs = tuple(map(_axes, self.signature.outputs.values()))
        self.key = f"{threads}\n{_groups_text(groups)}\n{cell.to_text()}"
        #: How many tensors there are of each kind; a cell without inputs is told T and B by one.
        self.counts = len(groups), max(len(self.inputs), 1), len(self.states)
        self._lock = threading.RLock()
        self._backends: dict[str, tuple[str, Backend]] = {}
        self._partials: dict[tuple[str, tuple[str, ...]], Backend] = {}
        self._rooms: dict[tuple[Any, ...], tuple[int, int, int, int]] = {}
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return engine_of_key, (self.key,)

    def __deepcopy__(self, memo: Any) -> Engine:
        return self

    @cached_property
    def tangent(self) -> Engine:
        """Of the cell of directional derivatives: tensors (P, tP), (X, tX) and (S, tS)."""
        count = len(self.params)
        moved = tuple(tuple(place + count for place in group) for group in self.groups)
        cell = pipeline.tangent_of_parts(self.cell)
        return engine_of(cell.to_text(), self.threads, (*self.groups, *moved))

    # --- kernels ----------------------------------------------------------------------------

    def backend(self, dtype: str) -> tuple[str, Backend]:
        """The preferred target, or the first that this machine can build, which is mentioned
        once: its name, and its backend."""
        with self._lock:
            if dtype not in self._backends:
                self._backends[dtype] = self._build(dtype)
            return self._backends[dtype]

    def _build(self, dtype: str) -> tuple[str, Backend]:
        if self.threads > 1:
            share_threads()
        first, *others = targets.by_preference()
        try:
            return first.name, pipeline.untuned(self.cell, first.name, dtype, self.threads)
        except BuildError as error:
            failed = error
        for row in others:
            try:
                made = pipeline.untuned(self.cell, row.name, dtype, self.threads)
            except BuildError:
                continue
            _mention_once(row.title, str(failed).splitlines()[0])
            return row.name, made
        raise failed

    # --- calls ------------------------------------------------------------------------------

    def sizes(self, params: Tensors, inputs: Tensors, states: Tensors) -> Sizes:
        """The lengths of every dimension, from any array that has them. Checks no shape."""
        steps, rows = inputs[0].shape[:2]
        dims: dict[str, int] = {}
        for group, tensor in zip(self.groups, params, strict=True):
            first, *rest = tensor.shape
            for axis, length in zip(
                self.params[group[0]], (first // len(group), *rest), strict=True
            ):
                dims.setdefault(str(axis), length)
        for kind, tensors, lead in ((self.inputs, inputs, 2), (self.states, states, 1)):
            for axes, tensor in zip(kind, tensors, strict=False):
                for axis, length in zip(axes, tensor.shape[lead:], strict=True):
                    dims.setdefault(str(axis), length)
        return Sizes(steps, rows, {dim: dims[dim] for dim in self.signature.dims()})

    def cotangents(
        self, params: Tensors, inputs: Tensors, states: Tensors, given: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Of outputs and of last states; zeros where there is none."""
        sizes, like = self.sizes(params, inputs, states), inputs[0]
        shapes = [(sizes.steps, sizes.rows, *sizes.shape(axes)) for axes in self.outputs]
        shapes += [(sizes.rows, *sizes.shape(axes)) for axes in self.states]
        full = [
            like.new_zeros(shape) if d is None else d
            for shape, d in zip(shapes, given, strict=False)
        ]
        return full[: len(self.outputs)], full[len(self.outputs) :]

    def saved(self, dtype: torch.dtype, sizes: Sizes) -> int:
        """Elements that a call of this kind keeps for backward."""
        return self._plan_of(dtype, sizes, False, True).saved

    def room(self, dtype: torch.dtype, sizes: Sizes) -> Any:
        """At least so many elements are kept: linear in steps and rows, which may be symbols."""
        dims = {dim: int(length) for dim, length in sizes.dims.items()}
        key = (dtype, *dims.values())
        if key not in self._rooms:
            # At multiples of a line nothing is rounded up.
            one, two = _LINE, 2 * _LINE
            corners = [self.saved(dtype, Sizes(t, b, dims)) for t in (one, two) for b in (one, two)]
            if not corners[0]:
                self._rooms[key] = (0, 0, 0, 0)  # calls of arrays keep nothing
            else:
                low, right, up, both = corners
                area = (both - up - right + low) // _LINE**2
                of_rows = (right - low) // _LINE - area * one
                of_steps = (up - low) // _LINE - area * one
                rest = low - area * one * one - (of_rows + of_steps) * one
                slack = _LINE * len(self.cell.step.program.arrays)
                self._rooms[key] = area, of_steps, of_rows, rest + slack
        area, of_steps, of_rows, rest = self._rooms[key]
        steps, rows = sizes.steps, sizes.rows
        return area * steps * rows + of_steps * steps + of_rows * rows + rest

    def forward(
        self, params: Tensors, inputs: Tensors, states: Tensors, lengths: Tensor | None,
        reverse: bool, training: bool, room: int | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """Outputs, last states, and in training what is kept for backward.

        room: elements of that, where it may have more than it needs.
        """
        params, inputs, states = _plain(params), _plain(inputs), _plain(states)
        plan = self._plan(params, inputs, states, reverse, training)
        like = inputs[0]
        sizes = plan.call.sizes
        if lengths is not None:
            checks.ends_fit(lengths, sizes.steps)
        if not (sizes.steps and sizes.rows):
            results = [like.new_empty(shape) for shape in plan.outputs]
            results += [state.clone() for state in states]
            return [*results, like.new_empty(room or 0)] if training else results
        if plan.calls is None:
            results = plan.arrays.forward(params, inputs, states, lengths)
            return [*results, like.new_empty(room or 0)] if training else results
        results = [torch.empty(shape, dtype=like.dtype) for shape in plan.outputs]
        results += [torch.empty(shape, dtype=like.dtype) for shape in plan.states]
        kept = 0
        if training:
            results.append(self._memory(plan.saved, room, like.dtype))
            kept = results[-1].data_ptr()
        last = results[:-1] if training else results
        plan.calls.forward(
            0 if lengths is None else lengths.data_ptr(),
            [*self._params_at(params), *self._inputs_at(inputs),
             *map(_at, states), *map(_at, last)],
            kept,
        )  # fmt: skip
        return results

    def backward(
        self, params: Tensors, inputs: Tensors, states: Tensors, lengths: Tensor | None,
        reverse: bool, saved: Tensor, d_outputs: Sequence[Tensor | None],
        d_states: Sequence[Tensor | None], wanted: Sequence[bool] = (),
    ) -> list[Tensor]:  # fmt: skip
        """Gradients of parameters, inputs and first states. Cotangents that are None are zero.

        saved: what forward kept; where it has no elements forward runs once more.  wanted: a flag
        for each gradient; those of others need not be right.
        """
        params, inputs, states = _plain(params), _plain(inputs), _plain(states)
        plan = self._plan(params, inputs, states, reverse, True)
        d_out = [None if d is None else _plain((d,))[0] for d in d_outputs]
        d_last = [None if d is None else _plain((d,))[0] for d in d_states]
        sizes = plan.call.sizes
        if not (sizes.steps and sizes.rows):
            zeros = [torch.zeros_like(tensor) for tensor in (*params, *inputs)]
            pairs = zip(states, d_last, strict=True)
            return [*zeros, *(torch.zeros_like(s) if d is None else d.clone() for s, d in pairs)]
        if plan.calls is None:
            return plan.arrays.backward(params, inputs, states, lengths, d_out, d_last)
        if not saved.numel():
            saved = self.forward(params, inputs, states, lengths, reverse, True)[-1]
        gradients = [torch.empty_like(tensor) for tensor in (*params, *inputs, *states)]
        count, after = len(params), len(params) + len(inputs)
        of_params = self._params_at(gradients[:count])
        of_inputs = self._inputs_at(gradients[count:after])
        calls = plan.calls
        if wanted and (names := self._only(plan, wanted)):
            calls = self._partial(plan, names, inputs[0].dtype)
            own = self.signature
            of_params = [a for n, a in zip(own.params, of_params, strict=True) if n in names]
            of_inputs = [a for n, a in zip(own.inputs, of_inputs, strict=True) if n in names]
        calls.backward(
            0 if lengths is None else lengths.data_ptr(),
            [*self._params_at(params), *self._inputs_at(inputs),
             *[0 if d is None else _at(d) for d in (*d_out, *d_last)],
             *of_params, *of_inputs,
             *map(_at, gradients[after:])],
            saved.data_ptr(),
        )  # fmt: skip
        return gradients

    def _only(self, plan: _Plan, wanted: Sequence[bool]) -> tuple[str, ...] | None:
        """The names whose gradients a long call computes; None: all."""
        own, (count, inputs, _) = self.signature, self.counts
        of_params = [False] * len(self.params)
        for group, flag in zip(self.groups, wanted, strict=False):
            for place in group:
                of_params[place] = flag
        of_inputs = wanted[count : count + inputs]
        return worth_a_kernel(self.cell, own, of_params, of_inputs, plan.work)

    def _partial(self, plan: _Plan, names: tuple[str, ...], dtype: torch.dtype) -> AddressCalls:
        if names not in plan.partial:
            key = (DTYPES[dtype], names)
            with self._lock:
                if key not in self._partials:
                    target, _ = self.backend(key[0])
                    self._partials[key] = pipeline.untuned(
                        self.cell, target, key[0], self.threads, wrt=names
                    )
            calls = by_address(self._partials[key], plan.call)
            assert calls is not None  # the backend for all gradients is called so
            plan.partial[names] = calls
        return plan.partial[names]

    # --- plans ------------------------------------------------------------------------------

    def _plan(
        self, params: Tensors, inputs: Tensors, states: Tensors, reverse: bool, training: bool
    ) -> _Plan:
        like = inputs[0]
        given = (*params, *inputs, *states)
        key = (reverse, training, *[t.shape for t in given], *[t.dtype for t in given])
        plan = self._plans.get(key)
        if plan is None:
            sizes = self.sizes(params, inputs, states)
            self._check(sizes, params, inputs, states)
            plan = self._plan_of(like.dtype, sizes, reverse, training)
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _plan_of(self, dtype: torch.dtype, sizes: Sizes, reverse: bool, training: bool) -> _Plan:
        _, backend = self.backend(DTYPES[dtype])
        shapes = (sizes.shape(axes) for axes in self.params)
        empty = {
            name: np.broadcast_to(np.empty((), DTYPES[dtype]), shape)
            for name, shape in zip(self.signature.params, shapes, strict=True)
        }
        call = Call(sizes, empty, {}, {}, None, reverse, training)
        calls = by_address(backend, call)
        return _Plan(
            call,
            tuple((sizes.steps, sizes.rows, *sizes.shape(axes)) for axes in self.outputs),
            tuple((sizes.rows, *sizes.shape(axes)) for axes in self.states),
            calls,
            ArrayCalls(backend, self.signature, self.groups, call),
            max(calls.saved, 1) if calls else 0,
            sizes.steps * sizes.rows * sum(array.size for array in empty.values()),
            {},
        )

    def _check(self, sizes: Sizes, params: Tensors, inputs: Tensors, states: Tensors) -> None:
        """The compiled functions trust these shapes and dtypes. Mistakes of users were found before
        (checks.py), so a difference here is a fault of derive."""
        ahead = (sizes.steps, sizes.rows)
        wanted = [
            (sizes.shape(self.params[group[0]])[0] * len(group),
             *sizes.shape(self.params[group[0]])[1:])
            for group in self.groups
        ]  # fmt: skip
        wanted += [(*ahead, *sizes.shape(axes)) for axes in self.inputs or ((0,),)]
        wanted += [(sizes.rows, *sizes.shape(axes)) for axes in self.states]
        given = (*params, *inputs, *states)
        for tensor, shape in zip(given, wanted, strict=True):
            if tuple(tensor.shape) != shape or tensor.dtype != given[0].dtype:
                raise InternalError(
                    f"{self.cell.name}: a tensor is {tensor.dtype} {tuple(tensor.shape)}, "
                    f"not {given[0].dtype} {shape}"
                )

    def _memory(self, needed: int, room: int | None, dtype: torch.dtype) -> Tensor:
        """Memory for what is kept. With room to spare it is zeroed, so that elements which nothing
        writes are the same each time."""
        if room is None:
            if needed * dtype.itemsize < WORTH_KEEPING:
                return torch.empty(needed, dtype=dtype)
            return torch.from_numpy(recycled((needed,), np.dtype(DTYPES[dtype])))
        if room < needed:
            raise InternalError(f"{self.cell.name}: room for {room} elements of {needed}")
        return torch.from_numpy(np.zeros(room, DTYPES[dtype]))

    def _params_at(self, tensors: Tensors) -> list[int]:
        found = [0] * len(self.params)
        for group, tensor in zip(self.groups, tensors, strict=True):
            at = _at(tensor)
            if len(group) == 1:
                found[group[0]] = at
                continue
            step = tensor.nbytes // len(group)
            for place in group:
                found[place] = at
                at += step
        return found

    def _inputs_at(self, tensors: Tensors) -> list[int]:
        return list(map(_at, tensors)) if self.inputs else []


#: Where tensors without elements lie: for PyTorch that is nowhere, for a kernel an array left out.
_EMPTY = np.empty(_LINE)
_EMPTY_AT: int = _EMPTY.ctypes.data


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr() or (0 if tensor.numel() else _EMPTY_AT)


def _axes(width: Any) -> tuple[Any, ...]:
    return tuple(width) if isinstance(width, tuple) else (width,)


def _plain(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Contiguous, with negation carried out: the memory of a view such as `z.conj().imag` holds
    other signs than its values."""
    return [(t.resolve_neg() if t.is_neg() else t).contiguous() for t in tensors]


def _groups_text(groups: Groups) -> str:
    return ";".join(",".join(map(str, group)) for group in groups)


def engine_of(text: str, threads: int, groups: Groups | None = None) -> Engine:
    """The engine of the cell with this text. groups: by default each parameter is a tensor."""
    if groups is None:
        groups = tuple((place,) for place in range(len(_cell_of(text).step.params)))
    return _engine(text, threads, groups)


@lru_cache(maxsize=256)
def _cell_of(text: str) -> Cell:
    return Cell.parse(text)


@lru_cache(maxsize=256)
def _engine(text: str, threads: int, groups: Groups) -> Engine:
    return Engine(_cell_of(text), threads, groups)


@lru_cache(maxsize=256)
def engine_of_key(key: str) -> Engine:
    """The engine whose `key` this is."""
    threads, groups, text = key.split("\n", 2)
    places = tuple(tuple(map(int, part.split(","))) for part in groups.split(";") if part)
    return engine_of(text, int(threads), places)


@lru_cache(maxsize=1)
def _mention_once(title: str, reason: str) -> None:
    warnings.warn(
        f"derive.torch computes with {title}, which is slower: {reason}", UserWarning, stacklevel=2
    )
