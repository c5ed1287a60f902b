"""One sequence of one cell with tensors: which of torch's mechanisms serves a call.

In: an engine's key and tensors that fit each other.  Out: outputs and last states.
Not here: checking what a user gave (checks.py), layers (module.py).

| call                                             | goes to                              |
| ------------------------------------------------ | ------------------------------------ |
| traced: torch.compile, export, fake and meta     | operators.py                         |
| nothing to differentiate, no transform of torch.func | the engine                       |
| all else                                         | functions.py                         |

Operators know no forward mode: where it is active in a trace, an error says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

import derive.torch.operators  # noqa: F401
from derive.errors import ArgumentError
from derive.torch.engine import engine_of_key
from derive.torch.functions import Forward, Way, applied, is_differentiated


def sequence(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None = None, reverse: bool = False,
) -> list[Tensor]:  # fmt: skip
    """Outputs [T, B, ...], then last states [B, ...].

    inputs: [T, B, ...]; of a cell without inputs one of no width.  lengths: [B] int64.
    """
    if torch.compiler.is_compiling() or _is_traced(inputs[0]):
        if transform := _transform():
            raise ArgumentError(
                f"{transform} cannot be traced through a derived cell",
                facts=("outside of torch.compile it works",),
                hint="derive.torch.jvp(cell, ...) may stand inside of torch.compile"
                if transform == _FORWARD_MODE
                else "torch.compile(model) inside of the transform",
            )
        tensors = (*params, *inputs, *states)
        training = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        results = torch.ops.derive.forward(
            key, list(params), list(inputs), list(states), lengths, reverse, training
        )
        return list(results[:-1] if training else results)
    engine = engine_of_key(key)
    if not is_differentiated((*params, *inputs, *states)):
        return engine.forward(params, inputs, states, lengths, reverse, False)
    results = applied(Forward, Way(engine, reverse), lengths, *params, *inputs, *states)
    return list(results[:-1])


def _is_traced(tensor: Tensor) -> bool:
    """Whether there are no numbers: on the device meta, or where something records what is done."""
    if tensor.device.type == "meta" or torch._C._len_torch_dispatch_stack():
        return True
    return type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__


_FORWARD_MODE = "a derivative in forward mode"


def _transform() -> str:
    """The name of an active transform that operators do not support; "" for none."""
    stack = torch._C._functorch.get_interpreter_stack() or ()
    kinds = {level.key() for level in stack}
    if forward_ad._current_level >= 0 or torch._C._functorch.TransformType.Jvp in kinds:
        return _FORWARD_MODE
    return "a transform of torch.func" if kinds else ""


#: Dynamo calls this while it traces, and guards on the same state itself.
_transform._dynamo_marked_constant = True  # type: ignore[attr-defined]
