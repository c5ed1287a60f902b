"""Engine: one cell's kernels, called by XLA.

In: a cell's text, a number of threads.  Out: functions of arrays that a lowering may call, and
the shapes of what they give; the engine of its tangent.
Not here: derivatives as JAX knows them (primitives.py), what users call (functional.py).

Everything is keyed by content. Kernels are built when a function that calls them is traced.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import jax
import numpy as np

from derive import pipeline, targets
from derive.binding.wanted import worth_a_kernel
from derive.cell import Cell
from derive.errors import InternalError
from derive.jax.handlers import TARGET, key_of
from derive.kernel.backend import Backend
from derive.kernel.call import Call
from derive.kernel.fast.address_calls import AddressCalls, Function, by_address
from derive.kernel.signature import Signature, Sizes, axes_of

Arrays: TypeAlias = Sequence[Any]
#: Says that an array is left out, where the handler is told where arrays lie.
_NONE = -(2**63)
#: Kinds of calls that are remembered.
_REMEMBERED = 256


class Engine:
    """A cell in both dtypes. Safe to call from several threads."""

    def __init__(self, text: str, threads: int) -> None:
        self.cell = _cell_of(text)
        self.text, self.threads = text, threads
        self.signature: Signature = pipeline.signature_of_parts(self.cell)
        own = self.signature
        self.params = tuple(tuple(shape) for shape in own.params.values())
        self.inputs = tuple(map(axes_of, own.inputs.values()))
        self.states = tuple(map(axes_of, own.states.values()))
        self.outputs = tuple(map(axes_of, own.outputs.values()))
        #: How many arrays there are of each kind; a cell without inputs is told T and B by one.
        self.counts = len(self.params), max(len(self.inputs), 1), len(self.states)
        self._lock = threading.RLock()
        self._backends: dict[tuple[str, Any], tuple[Backend, str]] = {}
        self._calls: dict[tuple[Any, ...], tuple[AddressCalls, str]] = {}

    def __repr__(self) -> str:
        return self.cell.name

    def __reduce__(self) -> tuple[Any, ...]:
        return engine_of, (self.text, self.threads)

    @cached_property
    def tangent(self) -> Engine:
        """Of the cell of directional derivatives: arrays (P, tP), (X, tX) and (S, tS)."""
        return engine_of(pipeline.tangent_of_parts(self.cell).to_text(), self.threads)

    def of_order(self, order: int) -> Engine:
        """The tangent of the tangent ..., `order` times."""
        return self if order == 0 else self.tangent.of_order(order - 1)

    # --- shapes -----------------------------------------------------------------------------

    def split(self, arrays: Arrays) -> tuple[Arrays, Arrays, Arrays]:
        """Those of parameters, inputs and states."""
        params, inputs, _ = self.counts
        return arrays[:params], arrays[params : params + inputs], arrays[params + inputs :]

    def sizes(self, arrays: Arrays) -> Sizes:
        """The lengths of every dimension; InternalError where shapes do not fit each other: the
        compiled functions trust them, and mistakes of users were found before."""
        params, inputs, states = self.split(arrays)
        steps, rows = inputs[0].shape[:2]
        kinds = (
            (self.params, params, ()), (self.inputs, inputs, (steps, rows)),
            (self.states, states, (rows,)),
        )  # fmt: skip
        dims: dict[str, int] = {}
        for axes_of_all, given, ahead in kinds:
            for axes, array in zip(axes_of_all, given, strict=False):
                for axis, length in zip(axes, array.shape[len(ahead) :], strict=True):
                    dims.setdefault(str(axis), int(length))
        found = Sizes(int(steps), int(rows), {dim: dims[dim] for dim in self.signature.dims()})
        for axes_of_all, given, ahead in kinds:
            for axes, array in zip(axes_of_all, given, strict=False):
                wanted = (*ahead, *found.shape(axes))
                if tuple(array.shape) != wanted or array.dtype != arrays[0].dtype:
                    raise InternalError(
                        f"{self.cell.name}: an array is {array.dtype} {array.shape}, "
                        f"not {arrays[0].dtype} {wanted}"
                    )
        return found

    def results(self, sizes: Sizes) -> list[tuple[int, ...]]:
        """Shapes of outputs, then of last states."""
        return [
            *((sizes.steps, sizes.rows, *sizes.shape(axes)) for axes in self.outputs),
            *((sizes.rows, *sizes.shape(axes)) for axes in self.states),
        ]

    def saved(self, sizes: Sizes, dtype: Any) -> int:
        """Elements that are kept for backward."""
        return max(self._address_calls(sizes, str(dtype), False, True, None)[0].saved, 1)

    def pair(self, arrays: Arrays, tangents: Arrays) -> list[Any]:
        """Arrays of the tangent cell: (P, tP), (X, tX), (S, tS)."""
        kinds = list(zip(self.split(arrays), self.split(tangents), strict=True))
        if not self.inputs:  # what tells T and B has no tangent
            kinds[1] = (kinds[1][0], [])
        return [array for kind, moved in kinds for array in (*kind, *moved)]

    def firsts(self, flags: Sequence[bool]) -> list[bool]:
        """Flags of the tangent cell's arrays: these of its plain ones, none of its tangents."""
        found: list[bool] = self.pair(flags, [False] * len(flags))
        return found

    # --- calls ------------------------------------------------------------------------------

    def forward(self, ends: Arrays, arrays: Arrays, reverse: bool, training: bool) -> list[Any]:
        """Outputs, last states, and in training what is kept for backward."""
        sizes, dtype = self.sizes(arrays), arrays[0].dtype
        calls, content = self._address_calls(sizes, str(dtype), reverse, training, None)
        shapes = self.results(sizes)
        count = len(shapes)
        if training:
            shapes.append((max(calls.saved, 1),))
        operands = [*ends, *self._without_x(arrays)]
        at = [*range(len(ends), len(operands)), *(-1 - k for k in range(count))]
        saved = -1 - count if training else _NONE
        return self._called(calls.forward, content + "forward", ends, operands, at, saved,
                            shapes, dtype)  # fmt: skip

    def backward(
        self, ends: Arrays, arrays: Arrays, reverse: bool, saved: Any,
        cotangents: Sequence[Any | None], wanted: Sequence[bool],
    ) -> list[Any]:  # fmt: skip
        """The gradients that are wanted, a flag for each array. cotangents: of outputs, then of
        last states; None: zero."""
        sizes, dtype = self.sizes(arrays), arrays[0].dtype
        own = self.signature
        params, inputs, states = self.split(wanted)
        names = worth_a_kernel(
            self.cell, own, params, inputs, sizes.steps * sizes.rows * self._weights(sizes)
        )
        calls, content = self._address_calls(sizes, str(dtype), reverse, True, names)
        if saved.shape != (max(calls.saved, 1),):  # of other rows: it would be read as of these
            raise InternalError(
                f"{self.cell.name}: {saved.shape} elements were kept, not {calls.saved}"
            )
        given = [d for d in cotangents if d is not None]
        plain = self._without_x(arrays)
        (count, _, state_count), first = self.counts, len(ends)
        operands = [*ends, *plain, *given, saved]
        of_given = iter(range(first + len(plain), len(operands)))
        at = [*range(first, first + len(plain) - state_count)]  # backward reads no first states
        at += [_NONE if d is None else next(of_given) for d in cotangents]
        computed = [n for n in own.params if names is None or n in names]
        computed += [n for n in own.inputs if names is None or n in names]
        flags = dict(zip((*own.params, *own.inputs), (*params, *inputs), strict=False))
        shapes = {n: sizes.shape(axes) for n, axes in zip(own.params, self.params, strict=True)}
        shapes |= {n: (sizes.steps, sizes.rows, *sizes.shape(axes))
                   for n, axes in zip(own.inputs, self.inputs, strict=True)}  # fmt: skip
        of_states = [(sizes.rows, *sizes.shape(axes)) for axes in self.states]
        all_shapes = [*(shapes[n] for n in computed), *of_states]
        at += [-1 - k for k in range(len(all_shapes))]
        found = self._called(
            calls.backward, f"{content}backward", ends, operands, at, len(operands) - 1,
            all_shapes, dtype,
        )  # fmt: skip
        by_name = dict(zip(computed, found, strict=False))
        result = [by_name[n] for n in own.params if flags[n]]
        if self.inputs:
            result += [by_name[n] for n in own.inputs if flags[n]]
        elif inputs[0]:
            result.append(jax.numpy.zeros_like(arrays[count]))
        pairs = zip(found[len(computed) :], states, strict=True)
        return [*result, *(g for g, flag in pairs if flag)]

    def _without_x(self, arrays: Arrays) -> Arrays:
        """Without that which tells T and B of a cell that has no inputs."""
        count = self.counts[0]
        return arrays if self.inputs else [*arrays[:count], *arrays[count + 1 :]]

    def _weights(self, sizes: Sizes) -> int:
        return sum(int(np.prod(sizes.shape(axes), dtype=np.int64)) for axes in self.params)

    def _called(
        self, function: Function, content: str, ends: Arrays, operands: Arrays,
        at: Sequence[int], saved: int, shapes: Sequence[tuple[int, ...]], dtype: Any,
    ) -> list[Any]:  # fmt: skip
        key = key_of(content, function.run, function.pool)

        def count(place: int) -> int:
            if place == _NONE:
                return 0
            return math.prod(operands[place].shape if place >= 0 else shapes[-1 - place])

        words = [
            key, function.team, function.patient, np.dtype(dtype).itemsize, function.workspace,
            saved, function.saved, 0 if ends else _NONE, len(function.sizes), *function.sizes,
            function.reverse, len(at), *(word for place in at for word in (place, count(place))),
            len(function.rest), *function.rest,
        ]  # fmt: skip
        kinds = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
        call = jax.ffi.ffi_call(TARGET, kinds)
        return list(call(*operands, words=np.array(words, np.int64)))

    # --- kernels ----------------------------------------------------------------------------

    def _address_calls(
        self, sizes: Sizes, dtype: str, reverse: bool, training: bool,
        names: tuple[str, ...] | None,
    ) -> tuple[AddressCalls, str]:  # fmt: skip
        """Calls with these sizes, and what tells their functions from all others."""
        key = (sizes.steps, sizes.rows, *sizes.dims.values(), dtype, reverse, training, names)
        with self._lock:
            if key not in self._calls:
                backend, content = self._backend(dtype, names)
                shapes = (sizes.shape(axes) for axes in self.params)
                empty = {
                    name: np.broadcast_to(np.empty((), dtype), shape)
                    for name, shape in zip(self.signature.params, shapes, strict=True)
                }
                calls = by_address(backend, Call(sizes, empty, {}, {}, None, reverse, training))
                assert calls is not None  # a unit of C is called so
                if len(self._calls) >= _REMEMBERED:
                    self._calls.clear()
                self._calls[key] = calls, content
            return self._calls[key]

    def _backend(self, dtype: str, names: tuple[str, ...] | None) -> tuple[Backend, str]:
        if (dtype, names) not in self._backends:
            files = pipeline.emit(self.cell, _TARGET, wrt=names)
            content = "\n".join(f"{path}\n{text}" for path, text in sorted(files.items()))
            made = pipeline.untuned(self.cell, _TARGET, dtype, self.threads, wrt=names)
            self._backends[dtype, names] = made, f"{self.threads} {dtype}\n{content}"
        return self._backends[dtype, names]


#: The target whose functions are called by address.
_TARGET = next(row.name for row in targets.by_preference() if row.unit is not None)


@lru_cache(maxsize=256)
def _cell_of(text: str) -> Cell:
    return Cell.parse(text)


@lru_cache(maxsize=256)
def engine_of(text: str, threads: int) -> Engine:
    """The engine of the cell with this text."""
    return Engine(text, threads)
