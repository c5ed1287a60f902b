"""Tensors that users hold whole, and the parts that kernels work with.

In: where parts lie, and tensors.  Out: those of its parts, in the order of an engine; and back.
Not here: which arrays are cut (language/axes/cuts.py), and where (binding/slices.py).

All of it is PyTorch's own: what is cut, joined, repeated over time or over rows is differentiated
by autograd, to any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from derive.binding.slices import Slices
from derive.binding.slices import join_by as joined


def cut_by(slices: Sequence[Slices], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The parts of each tensor, where it has several."""
    return [
        part(tensor, at) if at else tensor
        for own, tensor in zip(slices, tensors, strict=True)
        for at in own
    ]


def part(tensor: Tensor, at: Sequence[slice]) -> Tensor:
    return tensor[(..., *at)].contiguous()


def join_by(slices: Sequence[Slices], parts: Sequence[Tensor]) -> list[Tensor]:
    """Whole tensors."""
    return joined(slices, parts, lambda row, axis: torch.cat(row, dim=axis))
