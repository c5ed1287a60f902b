"""The array contract: what a caller may hand to a kernel, and what a kernel then sees.

In: a Signature (names and shapes, plain data) and what the caller gave: arrays, lists,
mappings, None.  Out: `Call` and cotangents, in which every array is C-contiguous, aligned, of
native byte order, of the kernel's dtype and of exactly the right shape; or an ArgumentError or
ArgumentTypeError before anything was computed.
Not here: whether shapes agree (axes.py), what is computed (kernel.py and its backends). SymPy is
not imported, so that a generated kernel starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.axes import Axes, Group, Slot, group, with_axes
from derive.kernel.call import Call
from derive.kernel.convert import (
    MOST,
    axes_text,
    closest,
    kind_text,
    shape_text,
    to_array,
    to_count,
    to_flag,
    to_lengths,
    to_width,
    zeros,
)
from derive.kernel.packed import Packed, read_only
from derive.kernel.remat import to_remat
from derive.kernel.signature import ROWS, STEPS, Array, Arrays, Signature, Sizes, names_in

#: Combinations of shapes that are looked up instead of compared.
_REMEMBERED = 256


class Arguments:
    """Checks and converts the arguments of one cell's kernel. Immutable once built."""

    __slots__ = (
        "_d_outputs", "_d_states", "_dims", "_inputs", "_inputs_of_step", "_needed", "_params",
        "_seen",
        "_states", "dtype", "signature",
    )  # fmt: skip

    def __init__(self, signature: Signature, dtype: Any) -> None:
        self.signature = signature
        self.dtype = np.dtype(dtype)
        self._seen: dict[object, Axes] = {}
        self._dims = signature.dims()
        self._needed = set(self._dims)
        inputs, states = signature.inputs, signature.states
        self._params = group("params", "parameters", "parameter", signature.params)
        moving = {n: w for n, w in inputs.items() if n not in signature.once}
        shapes = with_axes(inputs, ROWS) | with_axes(moving, STEPS, ROWS)
        self._inputs = group("x", "inputs", "input", {name: shapes[name] for name in inputs})
        self._inputs_of_step = group("x_t", "inputs", "input", with_axes(inputs, ROWS))
        self._states = group("state", "states", "state", with_axes(states, ROWS))
        self._d_outputs = group(
            "d_outputs",
            "outputs",
            "cotangent of output",
            with_axes(signature.outputs, STEPS, ROWS),
        )
        self._d_states = group("d_states", "states", "cotangent of state", with_axes(states, ROWS))

    def of_forward(
        self, params: Any, x: Any, state: Any, lengths: Any,
        reverse: Any = False, training: Any = True, remat: Any = None,
    ) -> Call:  # fmt: skip
        """Arguments of `Kernel.forward`; shapes and errors as told there."""
        reverse = to_flag(reverse, "reverse")
        training = to_flag(training, "training")
        remat = to_remat(remat)
        given = self._given(params, x, state, lengths, self._inputs)
        learned = self._learned(state)
        return Call(*given, reverse=reverse, training=training, remat=remat, learned=learned)

    def of_step(self, params: Any, x_t: Any, state: Any) -> Call:
        """Arguments of `Kernel.step`."""
        return Call(*self._given(params, x_t, state, None, self._inputs_of_step), step=True)

    def of_stream(
        self, params: Packed, rows: Any, state: Any, lengths: Mapping[str, Any]
    ) -> tuple[Call, Axes]:
        """Arguments of `Kernel.stream`, inputs of zeros, and the axes that its steps keep to.

        lengths: of dimensions that no parameter tells.
        """
        axes, _ = self._packed(params)
        for name, length in self.lengths(lengths).items():
            axes.tell(name, length, name)
        axes.tell(ROWS, to_count(rows, "rows", most=MOST), "rows")
        states = self._bind_states(state, axes, params)
        for slot in self._inputs_of_step.slots:
            for width in (name for axis in slot.axes[1:] for name in names_in(axis)):
                if width in axes.known:
                    continue
                raise ArgumentError(
                    f"nothing given determines the width {width} of {slot.label}",
                    facts=(f"no parameter or state given has an axis {width}",),
                    hint=f"kernel.stream(params, {width}=4)",
                )
        sizes = Sizes(1, axes.known[ROWS], {dim: axes.known[dim] for dim in self._dims})
        inputs = {
            slot.name: zeros((sizes.rows, *sizes.shape(slot.axes[1:])), self.dtype, slot.label)
            for slot in self._inputs_of_step.slots
        }
        return Call(sizes, params, inputs, states, step=True), axes

    def of_stream_step(self, axes: Axes, x_t: Any) -> Arrays:
        """Inputs of one step of a stream with these axes."""
        group, axes = self._inputs_of_step, Axes(axes)
        if group.slots:
            return self._required(group, self._named(group, x_t), axes)
        self._shape_without_inputs(group, x_t, axes)
        return {}

    def of_reset(self, axes: Axes, state: Any, params: Packed) -> Arrays:
        """States of a stream with these axes and parameters; where left out as in `forward`."""
        return self._bind_states(state, Axes(axes), params)

    def lengths(self, given: Mapping[str, Any]) -> dict[str, int]:
        """Lengths of dimensions that a caller gives by name."""
        for name in given:
            if name not in self._dims:
                raise ArgumentError(
                    f"{self.signature.name} has no dimension {name!r}",
                    facts=(
                        f"{self.signature.name} has the dimensions "
                        f"{', '.join(self._dims) or 'none'}",
                    ),
                    hint=closest(name, self._dims),
                )
        return {name: to_width(length, name) for name, length in given.items()}

    def of_backward(
        self, sizes: Sizes, d_outputs: Any, d_states: Any
    ) -> tuple[dict[str, Array | None], dict[str, Array | None]]:
        """Cotangents of `Kernel.backward`: every name is there, None stands for zero."""
        return (
            self._cotangents(self._d_outputs, sizes, d_outputs),
            self._cotangents(self._d_states, sizes, d_states),
        )

    def _given(
        self, params: Any, x: Any, state: Any, lengths: Any, inputs: Group
    ) -> tuple[Sizes, Mapping[str, Array], Arrays, Arrays, Array | None]:
        """What a call begins with."""
        kept_params: Mapping[str, Array]
        if type(params) is Packed:
            axes, kept_params = self._packed(params)
        else:
            axes = Axes()
            kept_params = self._parameters(params, axes)
        if inputs.slots:
            kept_inputs = self._required(inputs, self._named(inputs, x), axes)
        else:
            kept_inputs = {}
            self._shape_without_inputs(inputs, x, axes)
        states = self._bind_states(state, axes, kept_params)
        known = axes.known
        if axes.waiting or not known.keys() >= self._needed:
            self._undetermined(axes)
        dims = {dim: known[dim] for dim in self._dims}
        sizes = Sizes(known.get(STEPS, 1), known[ROWS], dims)
        for name in self.signature.once:
            if inputs is self._inputs:
                kept_inputs[name] = np.repeat(kept_inputs[name][np.newaxis], sizes.steps, axis=0)
        if lengths is not None:
            lengths = to_lengths(lengths, sizes)
        return sizes, kept_params, kept_inputs, states, lengths

    def _undetermined(self, axes: Axes) -> None:
        """ArgumentError where a dimension stands in sums only, of which none tells its length."""
        for dim in self._dims:
            if dim not in axes.known:
                facts = tuple(
                    f"{slot.label} is {axes_text(slot.axes)}, given {shape_text(shape)}"
                    for slot, shape in axes.waiting
                )
                raise ArgumentError(
                    f"nothing given determines the length of {dim}",
                    facts=facts,
                    hint=f"give an array with an axis {dim} alone, for example a state",
                )

    def pack(self, params: Any) -> tuple[Sizes, Arrays, Axes]:
        """Parameters alone, as copies. A dimension that no parameter has counts as 1."""
        axes = Axes()
        arrays = {n: read_only(array) for n, array in self._parameters(params, axes).items()}
        dims = {dim: axes.known.get(dim, 1) for dim in self._dims}
        return Sizes(1, 1, dims), arrays, axes

    def _packed(self, params: Packed) -> tuple[Axes, Packed]:
        if params._owner is not self:
            raise ArgumentError(
                "params were packed by another kernel",
                hint=f"params = kernel.pack(...) of this kernel of {self.signature.name}",
            )
        return Axes(params._axes), params

    def _parameters(self, params: Any, axes: Axes) -> Arrays:
        if not isinstance(params, Mapping):
            raise ArgumentTypeError(
                f"params must be a mapping from names to arrays, not {kind_text(params)}",
                facts=(self._params.listing(self.signature.name),),
                hint='for example params = kernel.init(H=4, seed=0), or {"W": ..., "b": ...}',
            )
        return self._required(self._params, params, axes)

    def _required(self, group: Group, given: Mapping[str, Any], axes: Axes) -> Arrays:
        dtype = self.dtype
        arrays = {}
        for slot in group.slots:
            value = given.get(slot.name)
            if value is None:
                self._refuse_strangers(group, given)  # a misspelt name explains a missing one
                raise ArgumentError(
                    f"{slot.label} is missing",
                    facts=(
                        group.listing(self.signature.name),
                        f"{slot.label} is {axes_text(slot.axes)}",
                    ),
                    hint=f'{group.argument}["{slot.name}"] = ...',
                )
            array = to_array(value, slot.label, dtype)
            if array.ndim == 0 and slot.axes == (1,):
                array = array.reshape(1)
            arrays[slot.name] = array
        self._bind(group, arrays, axes)
        if len(given) != len(arrays):
            self._refuse_strangers(group, given)
        return arrays

    def _bind(self, group: Group, arrays: Arrays, axes: Axes) -> None:
        """Take the lengths of the axes of all arrays; what fitted once is known to fit again."""
        shapes = tuple([(name, array.shape) for name, array in arrays.items()])
        key = (group.argument, shapes, tuple(axes.known.items()), axes.told)
        seen = self._seen.get(key)
        if seen is None:
            for slot in group.slots:
                if slot.name in arrays:
                    axes.bind(slot, arrays[slot.name].shape)
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[key] = Axes(axes)
        else:
            axes.become(seen)

    def _named(self, group: Group, given: Any) -> Mapping[str, Any]:
        """`given` as a mapping: a bare array stands for the only slot."""
        if isinstance(given, Mapping):
            return given
        if len(group.slots) == 1:
            return {group.slots[0].name: given}
        if not group.slots:
            raise ArgumentError(
                f"{self.signature.name} has no {group.plural}, but {group.argument} was given",
                hint=f"leave {group.argument} out",
            )
        entries = ", ".join(f'"{slot.name}": ...' for slot in group.slots)
        raise ArgumentError(
            f"{group.argument} must be a mapping from names to arrays, not {kind_text(given)}",
            facts=(
                group.listing(self.signature.name),
                "a bare array stands for the only one",
            ),
            hint=f"{group.argument}={{{entries}}}",
        )

    def _optional(self, group: Group, given: Any) -> Mapping[str, Any]:
        if given is None:
            return {}
        named = self._named(group, given)
        self._refuse_strangers(group, named)
        return named

    def _refuse_strangers(self, group: Group, given: Mapping[str, Any]) -> None:
        names = [slot.name for slot in group.slots]
        for name in given:
            if name not in names:
                raise ArgumentError(
                    f"{group.argument} has an entry {name!r}, "
                    f"but {self.signature.name} has no such {group.singular}",
                    facts=(group.listing(self.signature.name),),
                    hint=closest(name, names),
                )

    def _shape_without_inputs(self, group: Group, x: Any, axes: Axes) -> None:
        """T and B of a cell without inputs: x is an empty array [T, B, 0], or x_t [B, 0]."""
        stepping = group is self._inputs_of_step
        if isinstance(x, Mapping):
            self._refuse_strangers(group, x)
            x = None
        if x is not None:
            slot = Slot(group.argument, group.argument, (ROWS, 0) if stepping else (STEPS, ROWS, 0))
            axes.bind(slot, to_array(x, group.argument, self.dtype).shape)
        elif not stepping:
            raise ArgumentError(
                f"nothing determines the number of time steps of {self.signature.name}",
                facts=(f"{self.signature.name} has no inputs",),
                hint="x=np.empty((T, B, 0))",
            )

    def _bind_states(self, given: Any, axes: Axes, params: Mapping[str, Array]) -> Arrays:
        named = self._optional(self._states, given)
        arrays: Arrays = {}
        for slot in self._states.slots:
            value = named.get(slot.name)
            if value is not None:
                arrays[slot.name] = to_array(value, slot.label, self.dtype)
        self._bind(self._states, arrays, axes)
        axes.settle()
        if ROWS not in axes.known:
            raise ArgumentError(
                f"nothing determines the number of batch rows of {self.signature.name}",
                facts=(f"{self.signature.name} has no inputs, and no state was given",),
                hint="x_t=np.empty((B, 0))",
            )
        # Every state that was given has said its width by now.
        return {
            slot.name: arrays[slot.name] if slot.name in arrays else self._start(slot, axes, params)
            for slot in self._states.slots
        }

    def _start(self, slot: Slot, axes: Axes, params: Mapping[str, Array]) -> Array:
        """A state that was left out: what it has learned, or zeros."""
        zeros_ = self._zero_state(slot, axes)
        if slot.name in self.signature.learned:
            zeros_[...] = params[self.signature.learned[slot.name]]
        return zeros_

    def _learned(self, given: Any) -> tuple[str, ...]:
        """The states that start from a parameter in a call with these states."""
        learned = self.signature.learned
        if not learned or given is None:
            return tuple(learned)
        named = self._named(self._states, given)
        return tuple(name for name in learned if named.get(name) is None)

    def _zero_state(self, slot: Slot, axes: Axes) -> Array:
        widths = slot.axes[1:]
        for width in (name for axis in widths for name in names_in(axis)):
            if width in axes.known:
                continue
            shown = ", ".join(map(str, widths))
            raise ArgumentError(
                f"nothing given determines the width {width} of {slot.label}",
                facts=(f"no parameter, input or other state given has an axis {width}",),
                hint=f'state={{"{slot.name}": np.zeros(({axes.known[ROWS]}, {shown}))}}',
            )
        known = {dim: axes.known[dim] for dim in self._dims if dim in axes.known}
        lengths = Sizes(1, axes.known[ROWS], known).shape(widths)
        return zeros((axes.known[ROWS], *lengths), self.dtype, slot.label)

    def _cotangents(self, group: Group, sizes: Sizes, given: Any) -> dict[str, Array | None]:
        named = self._optional(group, given)
        arrays: dict[str, Array | None] = {}
        for slot in group.slots:
            value = named.get(slot.name)
            if value is None:
                arrays[slot.name] = None
                continue
            array = to_array(value, slot.label, self.dtype)
            before = {STEPS: sizes.steps, ROWS: sizes.rows}
            wanted = tuple(
                before[axis] if axis in before else sizes.width(axis) for axis in slot.axes
            )
            if array.shape != wanted:
                raise ArgumentError(
                    f"{slot.label} has the wrong shape",
                    facts=(f"{slot.label} is {axes_text(slot.axes)}, "
                           f"given {shape_text(array.shape)}",),
                    hint=f"give {slot.label} the shape {axes_text(wanted)}",
                )  # fmt: skip
            arrays[slot.name] = array
        return arrays
