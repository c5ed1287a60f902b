"""Arrays that users hold whole, for a backend that knows their parts alone.

In: a Backend of parts, and which parts each array has.  Out: a Backend of whole arrays.
Not here: which arrays are cut, and why (language/axes/cuts.py), checked arguments (arguments.py).

This is the one place where `K` of [4 H, I + H] meets its blocks: parameters, inputs and states
are cut at a call, outputs, states and gradients put together. Packed parameters are cut in the
first call of each size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from derive.kernel.axes import Axes
from derive.kernel.backend import Backend, Ready
from derive.kernel.call import Call
from derive.kernel.chunks import Sums
from derive.kernel.packed import Packed
from derive.kernel.signature import Array, Arrays, Dim, Sizes
from derive.kernel.stream import Turn

#: {name: ((part, (where it begins and ends on each axis)), ...)} of arrays that are cut.
Parts = Mapping[str, tuple[tuple[str, tuple[tuple[Dim, Dim], ...]], ...]]
_Slices = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """Names of whole arrays in declared order: of each kind."""

    params: tuple[str, ...]
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(slots=True)
class WholeBackend:
    """`derive.kernel.backend.Backend`."""

    inner: Backend
    parts: Parts
    groups: Groups
    dtype: np.dtype[Any]
    _known: dict[tuple[int, ...], dict[str, list[tuple[str, _Slices]]]] = field(
        default_factory=dict
    )

    # --- cutting and joining ----------------------------------------------------------------

    def _slices(self, sizes: Sizes) -> dict[str, list[tuple[str, _Slices]]]:
        """Where each part lies in its whole, for these sizes."""
        key = tuple(sizes.dims.values())
        found = self._known.get(key)
        if found is None:
            found = {
                name: [
                    (part, tuple(slice(sizes.width(a), sizes.width(b)) for a, b in bounds))
                    for part, bounds in parts
                ]
                for name, parts in self.parts.items()
            }
            self._known[key] = found
        return found

    def cut(self, arrays: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
        """Arrays by part; None stays None."""
        slices = self._slices(sizes)
        found: dict[str, Any] = {}
        for name, array in arrays.items():
            for part, own in slices.get(name, [(name, ())]):
                if array is None or not own:
                    found[part] = array
                else:
                    found[part] = np.ascontiguousarray(array[(..., *own)])
        return found

    def join(self, parts: Mapping[str, Array], names: tuple[str, ...], sizes: Sizes) -> Arrays:
        """Whole arrays, of parts by name; those that are missing are left out."""
        slices = self._slices(sizes)
        found: Arrays = {}
        for name in names:
            own = slices.get(name)
            if own is None:
                if name in parts:
                    found[name] = parts[name]
                continue
            if own[0][0] not in parts:
                continue
            first = parts[own[0][0]]
            stops = ([each.stop for each in at] for _, at in own)
            lengths = [max(of_axis) for of_axis in zip(*stops, strict=True)]
            whole = np.empty((*first.shape[: first.ndim - len(lengths)], *lengths), first.dtype)
            for part, at in own:
                whole[(..., *at)] = parts[part]
            found[name] = whole
        return found

    def _params(self, params: Mapping[str, Array], sizes: Sizes) -> Mapping[str, Array]:
        if type(params) is Packed:
            packed: dict[tuple[int, ...], Packed] = params._panels
            key = tuple(sizes.dims.values())
            if key not in packed:
                packed[key] = self._packed(params, sizes)
            return packed[key]
        return self.cut(params, sizes)

    def _packed(self, params: Packed, sizes: Sizes) -> Packed:
        arrays = {name: array.copy() for name, array in self.cut(params, sizes).items()}
        panels = self.inner.pack(sizes, arrays, params._weights)
        return Packed(arrays, None, Axes(), panels, params._weights)

    def _call(self, call: Call) -> Call:
        return replace(
            call,
            params=self._params(call.params, call.sizes),
            inputs=self.cut(call.inputs, call.sizes),
            states=self.cut(call.states, call.sizes),
        )

    # --- Backend ----------------------------------------------------------------------------

    def forward(self, call: Call) -> tuple[Arrays, Arrays, Any]:
        outputs, states, saved = self.inner.forward(self._call(call))
        return (
            self.join(outputs, self.groups.outputs, call.sizes),
            self.join(states, self.groups.states, call.sizes),
            saved,
        )

    def backward(
        self,
        call: Call,
        saved: Any,
        d_outputs: Mapping[str, Array | None],
        d_states: Mapping[str, Array | None],
        sums: Sums | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:
        sizes, groups = call.sizes, self.groups
        d_params, d_inputs, d_first = self.inner.backward(
            self._call(call), saved, self.cut(d_outputs, sizes), self.cut(d_states, sizes), sums
        )
        return (
            self.join(d_params, groups.params, sizes),
            self.join(d_inputs, groups.inputs, sizes),
            self.join(d_first, groups.states, sizes),
        )

    def step(self, call: Call) -> tuple[Arrays, Arrays]:
        outputs, states = self.inner.step(self._call(call))
        return (
            self.join(outputs, self.groups.outputs, call.sizes),
            self.join(states, self.groups.states, call.sizes),
        )

    def ready(self, call: Call) -> Ready | None:
        """There is none: arrays have to be cut."""
        return None

    def turns(
        self, call: Call, outputs: Arrays, states: tuple[Arrays, Arrays]
    ) -> tuple[Turn, Turn]:
        def turn(first: Arrays, last: Arrays) -> Turn:
            def run() -> None:
                found, after = self.step(replace(call, states=first))
                for name, array in found.items():
                    outputs[name][...] = array
                for name, array in after.items():
                    last[name][...] = array

            return run

        return turn(*states), turn(*reversed(states))

    def check_weights(self, weights: str) -> None:
        self.inner.check_weights(weights)

    def pack(
        self, sizes: Sizes, params: Mapping[str, Array], weights: str | None = None
    ) -> dict[tuple[int, ...], Packed]:
        """Packed parts by the lengths of all dimensions, made when a call tells them: parameters
        alone may not say where they are cut, as one of I + 2*N does not."""
        return {}

    def chunk_steps(self, sizes: Sizes) -> int:
        return self.inner.chunk_steps(sizes)
