"""Whether a tensor has numbers to look at.

In: tensors.  Out: yes or no.
Not here: what is done where it has none (running.py, ragged.py, checks.py).
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_traced(tensor: Tensor) -> bool:
    """Whether there are no numbers: on the device meta, or where something records what is done."""
    if tensor.device.type == "meta" or torch._C._len_torch_dispatch_stack():
        return True
    return type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__


def are_hidden(*tensors: Tensor) -> bool:
    """Whether numbers cannot be looked at: in a trace, or under a transform of torch.func."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    return any(map(is_traced, tensors))
