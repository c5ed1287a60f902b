"""Calls of a target that takes NumPy arrays: for one that cannot be called by address.

In: a Backend, the kind of call, tensors.  Out: outputs, last states and gradients as tensors.
Not here: shapes and dtypes, which the engine has looked at; calls by address
(kernel/fast/address_calls.py).

A tensor and its array share their memory, so nothing is copied but what is not contiguous.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from derive.kernel.backend import Backend
from derive.kernel.call import Call
from derive.kernel.signature import Signature

Tensors: TypeAlias = Sequence[Tensor]
#: Parameters by their places in the signature; those of a group lie below each other in one tensor.
Groups: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ArrayCalls:
    """Both passes with the sizes and the options of `kind`."""

    backend: Backend
    signature: Signature
    groups: Groups
    kind: Call

    def forward(
        self, params: Tensors, inputs: Tensors, states: Tensors, lengths: Tensor | None
    ) -> list[Tensor]:
        """Outputs and last states."""
        outputs, last, _ = self.backend.forward(self._call(params, inputs, states, lengths))
        return [torch.from_numpy(a) for a in (*outputs.values(), *last.values())]

    def backward(
        self, params: Tensors, inputs: Tensors, states: Tensors, lengths: Tensor | None,
        d_outputs: list[Tensor | None], d_states: list[Tensor | None],
    ) -> list[Tensor]:  # fmt: skip
        """Gradients of parameters, inputs and first states. The forward pass runs once more: what
        a backend keeps for its backward pass is no tensor."""
        call = self._call(params, inputs, states, lengths)
        _, _, kept = self.backend.forward(call)
        own = self.signature
        d_params, d_inputs, d_first = self.backend.backward(
            call, kept, _named(own.outputs, d_outputs), _named(own.states, d_states)
        )
        by_place = [torch.from_numpy(np.ascontiguousarray(a)) for a in d_params.values()]
        stacked = [torch.cat([by_place[place] for place in group]) for group in self.groups]
        others = [torch.from_numpy(a) for a in (*d_inputs.values(), *d_first.values())]
        if not own.inputs:
            others.insert(0, torch.zeros_like(inputs[0]))
        return [*stacked, *others]

    def _call(
        self, params: Tensors, inputs: Tensors, states: Tensors, lengths: Tensor | None
    ) -> Call:
        own = self.signature
        arrays = [np.empty(0)] * len(own.params)
        for group, tensor in zip(self.groups, params, strict=True):
            blocks = np.split(tensor.detach().numpy(), len(group))
            for place, block in zip(group, blocks, strict=True):
                arrays[place] = block
        return Call(
            self.kind.sizes,
            dict(zip(own.params, arrays, strict=True)),
            # A cell without inputs is told steps and rows by one tensor.
            {n: t.detach().numpy() for n, t in zip(own.inputs, inputs, strict=False)},
            {n: t.detach().numpy() for n, t in zip(own.states, states, strict=True)},
            None if lengths is None else lengths.numpy(),
            self.kind.reverse,
            self.kind.training,
        )


def _named(names: Iterable[str], given: list[Tensor | None]) -> dict[str, Any]:
    pairs = zip(names, given, strict=True)
    return {name: None if d is None else d.detach().numpy() for name, d in pairs}
