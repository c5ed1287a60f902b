"""derive::forward and derive::backward: the operators that torch.compile and torch.export trace.

In: the key of an engine, and tensors.  Out: results, with shapes known for fake tensors and
derivatives for reverse mode, each operator's being the other on the tangent cell.
Not here: which of operators and functions is called (running.py).

Under a transform of torch.func, in a trace as well, an operator hands its call to functions.py,
which knows forward mode and batching and calls the operator without the transforms. Dual numbers
without torch.func it does not see; running.py does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from derive.torch.engine import engine_of_key
from derive.torch.functions import Backward, Forward, Way

_FORWARD = (
    "(str key, Tensor[] params, Tensor[] inputs, Tensor[] states, Tensor? lengths, bool reverse, "
    "bool training) -> Tensor[]"
)
_BACKWARD = (
    "(str key, Tensor[] params, Tensor[] inputs, Tensor[] states, Tensor? lengths, bool reverse, "
    "Tensor saved, Tensor[] d_outputs, Tensor[] d_states, bool[] wanted) -> Tensor[]"
)


def _forward(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool, training: bool,
) -> list[Tensor]:  # fmt: skip
    """Outputs, last states, and in training what backward needs."""
    engine = engine_of_key(key)
    room = None
    if training:
        room = engine.room(inputs[0].dtype, engine.sizes(params, inputs, states))
    return engine.forward(params, inputs, states, lengths, reverse, training, room)


def _forward_shapes(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool, training: bool,
) -> list[Tensor]:  # fmt: skip
    engine = engine_of_key(key)
    sizes = engine.sizes(params, inputs, states)
    like, ahead = inputs[0], (sizes.steps, sizes.rows)
    results = [like.new_empty((*ahead, *sizes.shape(axes))) for axes in engine.outputs]
    results += [like.new_empty((sizes.rows, *sizes.shape(axes))) for axes in engine.states]
    if training:
        results.append(like.new_empty(engine.room(like.dtype, sizes)))
    return results


def _backward(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool, saved: Tensor, d_outputs: Sequence[Tensor],
    d_states: Sequence[Tensor], wanted: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    """Gradients of the tensors that are wanted: a flag for each of params, inputs and states."""
    gradients = engine_of_key(key).backward(
        params, inputs, states, lengths, reverse, saved, d_outputs, d_states, wanted
    )
    return [g for g, flag in zip(gradients, wanted, strict=True) if flag]


def _backward_shapes(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool, saved: Tensor, d_outputs: Sequence[Tensor],
    d_states: Sequence[Tensor], wanted: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    tensors = (*params, *inputs, *states)
    shapes = [v.shape for v, flag in zip(tensors, wanted, strict=True) if flag]
    return [inputs[0].new_empty(shape) for shape in shapes]


# --- derivatives ----------------------------------------------------------------------------


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    key, params, x, states, lengths, reverse, training = inputs
    ctx.key, ctx.reverse, ctx.training = key, reverse, training
    ctx.counts = len(params), len(x), len(states)
    saved = output[-1] if training else None
    ctx.save_for_backward(lengths, saved, *params, *x, *states)


def _forward_backward(ctx: Any, cotangents: Sequence[Tensor | None]) -> tuple[Any, ...]:
    lengths, saved, *tensors = ctx.saved_tensors
    params, inputs, states = _split(ctx.counts, tensors)
    if saved is None:  # the graph was made for inference
        saved = inputs[0].new_empty(0)
    engine = engine_of_key(ctx.key)
    d_outputs, d_states = engine.cotangents(params, inputs, states, cotangents)
    wanted = [flag for group in ctx.needs_input_grad[1:4] for flag in group]
    found = iter(
        torch.ops.derive.backward(
            ctx.key,
            params,
            inputs,
            states,
            lengths,
            ctx.reverse,
            saved,
            d_outputs,
            d_states,
            wanted,
        )
    )
    groups = _split(ctx.counts, [next(found) if flag else None for flag in wanted])
    return None, *groups, None, None, None


def _keep_backward(ctx: Any, inputs: Any, output: Any) -> None:
    key, params, x, states, lengths, reverse, _, d_outputs, d_states, wanted = inputs
    ctx.key, ctx.reverse, ctx.wanted = key, reverse, tuple(wanted)
    ctx.counts = len(params), len(x), len(states), len(d_outputs), len(d_states)
    ctx.save_for_backward(lengths, *params, *x, *states, *d_outputs, *d_states)


def _backward_backward(ctx: Any, cotangents: Sequence[Tensor | None]) -> tuple[Any, ...]:
    lengths, *rest = ctx.saved_tensors
    groups = _split(ctx.counts, rest)
    primal, (d_outputs, d_states) = groups[:3], groups[3:]
    given = iter(cotangents)
    flat = [tensor for group in primal for tensor in group]
    moved = [next(given) if flag else None for flag in ctx.wanted]
    full = [torch.zeros_like(v) if t is None else t for v, t in zip(flat, moved, strict=True)]
    way = Way(engine_of_key(ctx.key), ctx.reverse)
    tangent = way.tangent.engine
    key, both = tangent.key, _split(tangent.counts, way.paired(flat, full))
    results = torch.ops.derive.forward(key, *both, lengths, ctx.reverse, True)
    outputs, states = ctx.counts[3:]
    zeros = [torch.zeros_like(d) for d in d_outputs], [torch.zeros_like(d) for d in d_states]
    flags = way.paired([True] * len(flat), [False] * len(flat))
    found = torch.ops.derive.backward(
        key, *both, lengths, ctx.reverse, results[-1], [*zeros[0], *d_outputs],
        [*zeros[1], *d_states], flags,
    )  # fmt: skip
    tangents = (
        results[outputs : 2 * outputs],
        results[2 * outputs + states : 2 * (outputs + states)],
    )
    return None, *_split(ctx.counts[:3], found), None, None, None, *map(list, tangents), None


def _split(counts: Sequence[int], tensors: Sequence[Any]) -> list[list[Any]]:
    found, at = [], 0
    for count in counts:
        found.append(list(tensors[at : at + count]))
        at += count
    return found


forward = torch.library.custom_op("derive::forward", _forward, mutates_args=(), schema=_FORWARD)
forward.register_fake(_forward_shapes)
forward.register_autograd(_forward_backward, setup_context=_keep)
backward = torch.library.custom_op("derive::backward", _backward, mutates_args=(), schema=_BACKWARD)
backward.register_fake(_backward_shapes)
backward.register_autograd(_backward_backward, setup_context=_keep_backward)


# --- transforms of torch.func -----------------------------------------------------------------


def _forward_transformed(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool, training: bool,
) -> list[Tensor]:  # fmt: skip
    way = Way(engine_of_key(key), reverse)
    results = Forward.apply(way, lengths, *params, *inputs, *states)
    return list(results if training else results[:-1])


def _backward_transformed(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool, saved: Tensor, d_outputs: Sequence[Tensor],
    d_states: Sequence[Tensor], wanted: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    way, tensors = Way(engine_of_key(key), reverse), (*params, *inputs, *states)
    return list(Backward.apply(way, tuple(wanted), lengths, saved, *tensors, *d_outputs, *d_states))


#: Where torch's dispatcher sends a call while a transform is active.
_TRANSFORMS = "FuncTorchDynamicLayerFrontMode"
_library = torch.library.Library("derive", "FRAGMENT")
_library.impl("forward", _forward_transformed, _TRANSFORMS)
_library.impl("backward", _backward_transformed, _TRANSFORMS)
