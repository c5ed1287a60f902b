"""One sequence of one cell with tensors: which of torch's mechanisms serves a call.

In: an engine's key and tensors that fit each other.  Out: outputs and last states.
Not here: checking what a user gave (checks.py), layers (module.py).

| call                                             | goes to                              |
| ------------------------------------------------ | ------------------------------------ |
| traced: torch.compile, export, fake and meta     | operators.py                         |
| nothing to differentiate, no transform of torch.func | the engine                       |
| all else                                         | functions.py                         |

torch.jit.trace would record the memory of one call instead of a computation: an error says so.
Operators know no dual numbers but those of torch.func.jvp: in a trace an error says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

import derive.torch.operators  # noqa: F401
from derive.errors import ArgumentError
from derive.torch import checks
from derive.torch.engine import engine_of_key
from derive.torch.functions import Forward, Way, applied, is_differentiated
from derive.torch.traced import is_traced


def sequence(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None = None, reverse: bool = False,
) -> list[Tensor]:  # fmt: skip
    """Outputs [T, B, ...], then last states [B, ...].

    inputs: [T, B, ...]; of a cell without inputs one of no width.  lengths: [B] int64.
    """
    if torch.compiler.is_compiling() or is_traced(inputs[0]):
        if _has_dual_numbers():
            raise ArgumentError(
                "dual numbers cannot be traced through a derived cell",
                facts=("outside of torch.compile they work, and torch.func.jvp does inside",),
                hint="torch.func.jvp, or derive.torch.jvp(cell, ...)",
            )
        tensors = (*params, *inputs, *states)
        training = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        results = torch.ops.derive.forward(
            key, list(params), list(inputs), list(states), lengths, reverse, training
        )
        return list(results[:-1] if training else results)
    if torch._C._get_tracing_state() is not None:
        raise checks.jit_refused("trace")
    engine = engine_of_key(key)
    if not is_differentiated((*params, *inputs, *states)):
        return engine.forward(params, inputs, states, lengths, reverse, False)
    results = applied(Forward, Way(engine, reverse), lengths, *params, *inputs, *states)
    return list(results[:-1])


def _has_dual_numbers() -> bool:
    """Whether dual numbers may be about without torch.func.jvp, which operators do not see."""
    stack = torch._C._functorch.get_interpreter_stack() or ()
    moved = any(level.key() == torch._C._functorch.TransformType.Jvp for level in stack)
    return bool(forward_ad._current_level >= 0 and not moved)


#: Dynamo calls this while it traces, and guards on the same state itself.
_has_dual_numbers._dynamo_marked_constant = True  # type: ignore[attr-defined]
