"""Forward and Backward: two autograd Functions, each other's derivative on the tangent cell.

In: a Way (an engine and a direction), and tensors.  Out: results, which autograd, forward-mode AD
and torch.func may differentiate and batch, to any order.
Not here: numbers (engine.py); the operators that are recorded in a trace instead (operators.py).

    Forward:   P, X, S           -> Y, S', saved
    Backward:  P, X, S, dY, dS'  -> dP, dX, dS        (those that are wanted)

| derivative          | is                                                                     |
| ------------------- | ---------------------------------------------------------------------- |
| Forward, reverse    | Backward                                                               |
| Forward, jvp        | Forward of the tangent cell: its tangent results                       |
| Backward, reverse   | by dY: Forward of the tangent cell with the cotangents as tangents;    |
|                     | by P, X, S: Backward of the tangent cell, dY on its tangent outputs    |
| Backward, jvp       | the same Backward, with the tangent of dY on its plain outputs as well |

`saved` is what Forward keeps for Backward and has no derivative of its own: what depends on it is
P, X and S, and those derivatives are taken there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor as _is_of_older_vmap
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad

from derive.errors import ArgumentError
from derive.torch.engine import Engine
from derive.torch.traced import is_traced


@dataclass(frozen=True, slots=True)
class Way:
    """What runs, and in which direction of time."""

    engine: Engine
    reverse: bool

    @property
    def tangent(self) -> Way:
        return Way(self.engine.tangent, self.reverse)

    def split(self, tensors: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """Those of parameters, inputs and states."""
        params, inputs, states = self.engine.counts
        return (
            tensors[:params],
            tensors[params : params + inputs],
            tensors[-states:] if states else (),
        )

    def paired(self, tensors: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """Tensors of the tangent cell: (P, tP), (X, tX), (S, tS)."""
        kinds = list(zip(self.split(tensors), self.split(tangents), strict=True))
        if not self.engine.inputs:  # what tells T and B has no tangent
            kinds[1] = (kinds[1][0], ())
        return [tensor for kind, moved in kinds for tensor in (*kind, *moved)]


def is_differentiated(tensors: Sequence[Any]) -> bool:
    """Whether a derivative may be asked of what is computed from these, or any batching."""
    if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
        return True
    return torch.is_grad_enabled() and (not tensors or any(t.requires_grad for t in tensors))


def applied(function: Any, *args: Any) -> Any:
    """function.apply(*args). Without transforms their preparation is skipped: looking up
    the signature of `forward` takes longer than a short call of a kernel."""
    if torch._C._are_functorch_transforms_active():
        return function.apply(*args)
    return super(torch.autograd.Function, function).apply(*unwrap_dead_wrappers(args))


class Forward(torch.autograd.Function):  # type: ignore[misc]
    """Outputs, last states, and what Backward needs."""

    @staticmethod
    def forward(way: Way, lengths: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        params, inputs, states = way.split(tensors)
        if is_traced(inputs[0]):
            own = list(params), list(inputs), list(states)
            key = way.engine.key
            return tuple(torch.ops.derive.forward(key, *own, lengths, way.reverse, True))
        return tuple(way.engine.forward(params, inputs, states, lengths, way.reverse, True))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        way, lengths, *tensors = inputs
        saved = output[-1]
        ctx.mark_non_differentiable(saved)
        ctx.set_materialize_grads(False)
        ctx.way = way
        ctx.save_for_backward(lengths, saved, *tensors)
        ctx.save_for_forward(lengths, saved, *tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        lengths, saved, *tensors = ctx.saved_tensors
        wanted = tuple(ctx.needs_input_grad[2:])
        given = cotangents[:-1]
        if not any(wanted) or all(d is None for d in given):
            return (None,) * (2 + len(tensors))
        _refuse_older_vmap(given)
        if not is_differentiated(()):  # no graph of the gradient is wanted
            found = iter(Backward.forward(ctx.way, wanted, lengths, saved, *tensors, *given))
        else:
            found = iter(applied(Backward, ctx.way, wanted, lengths, saved, *tensors, *given))
        return None, None, *(next(found) if flag else None for flag in wanted)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        lengths, _, *tensors = ctx.saved_tensors
        _refuse_older_vmap(tangents[2:])
        results = _moved(ctx.way, lengths, tensors, tangents[2:])
        return *_tangents_of(ctx.way, results), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, way: Way, lengths: Any, *tensors: Any) -> Any:
        of_params, _, _ = way.split(in_dims[2:])
        if any(dim is not None for dim in of_params):
            return _one_by_one(Forward, info, in_dims, (way, lengths, *tensors))
        folded = _Folded(way, info.batch_size, in_dims[1], in_dims[2:], lengths, tensors)
        results = Forward.apply(way, folded.lengths, *folded.tensors)
        count = len(way.engine.outputs)
        outputs = [folded.apart(y, 1) for y in results[:count]]
        states = [folded.apart(s, 0) for s in results[count:-1]]
        return (*outputs, *states, results[-1]), (*[1] * count, *[0] * len(states), None)


class Backward(torch.autograd.Function):  # type: ignore[misc]
    """The gradients that are `wanted`, a flag for each of P, X and S."""

    @staticmethod
    def forward(
        way: Way, wanted: tuple[bool, ...], lengths: Tensor | None, saved: Tensor, *rest: Any
    ) -> tuple[Tensor, ...]:
        tensors, d_outputs, d_states = _parted(way, wanted, rest)
        params, inputs, states = way.split(tensors)
        if is_traced(inputs[0]):
            own = list(params), list(inputs), list(states)
            full = way.engine.cotangents(*own, (*d_outputs, *d_states))
            return tuple(torch.ops.derive.backward(
                way.engine.key, *own, lengths, way.reverse, saved, *full, list(wanted)
            ))  # fmt: skip
        gradients = way.engine.backward(
            params, inputs, states, lengths, way.reverse, saved, d_outputs, d_states, wanted
        )
        return tuple(g for g, flag in zip(gradients, wanted, strict=True) if flag)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        way, wanted, lengths, _, *rest = inputs
        ctx.set_materialize_grads(False)
        ctx.way, ctx.wanted = way, wanted
        ctx.save_for_backward(lengths, *rest)
        ctx.save_for_forward(lengths, *rest)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        way, wanted = ctx.way, ctx.wanted
        lengths, *rest = ctx.saved_tensors
        if all(g is None for g in cotangents):
            return (None,) * (4 + len(rest))
        tensors, d_outputs, d_states = _parted(way, wanted, rest)
        given = iter(cotangents)
        directions = [next(given) if flag else None for flag in wanted]
        results = _moved(way, lengths, tensors, directions)
        of_tensors = tuple(ctx.needs_input_grad[4 : 4 + len(tensors)])
        found: list[Any] = [None] * len(tensors)
        if any(of_tensors):
            zero = [None] * len(d_outputs), [None] * len(d_states)
            found = _pulled(way, lengths, tensors, directions, results[-1], of_tensors,
                            (zero[0], d_outputs), (zero[1], d_states))  # fmt: skip
        needs = ctx.needs_input_grad[4 + len(tensors) :]
        moved = [
            t if need else None for t, need in zip(_tangents_of(way, results), needs, strict=True)
        ]
        return None, None, None, None, *found, *moved

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        way, wanted = ctx.way, ctx.wanted
        lengths, *rest = ctx.saved_tensors
        tensors, d_outputs, d_states = _parted(way, wanted, rest)
        directions, t_outputs, t_states = _parted(way, wanted, tangents[4:])
        results = _moved(way, lengths, tensors, directions)
        found = _pulled(way, lengths, tensors, directions, results[-1], wanted,
                        (t_outputs, d_outputs), (t_states, d_states))  # fmt: skip
        return tuple(g for g, flag in zip(found, wanted, strict=True) if flag)

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, way: Way, wanted: Any, lengths: Any, saved: Any, *rest: Any
    ) -> Any:
        tensors, d_outputs, d_states = _parted(way, wanted, rest)
        of_tensors, of_outputs, of_states = _parted(way, wanted, in_dims[4:])
        of_params, _, _ = way.split(of_tensors)
        count = len(of_params)
        moving = any(dim is not None for dim in (in_dims[2], *of_tensors))
        if any(dim is not None for dim in of_params) or any(wanted[:count]):
            if in_dims[3] is None and moving:
                saved = saved.new_empty(0)  # of all samples together
            return _one_by_one(Backward, info, in_dims, (way, wanted, lengths, saved, *rest))
        folded = _Folded(way, info.batch_size, in_dims[2], of_tensors, lengths, tensors)
        if in_dims[3] is not None or not moving:
            saved = (saved if in_dims[3] is None else saved.select(in_dims[3], 0)).new_empty(0)
        d_outputs = [
            folded.together(d, dim, 1) for d, dim in zip(d_outputs, of_outputs, strict=True)
        ]
        d_states = [folded.together(d, dim, 0) for d, dim in zip(d_states, of_states, strict=True)]
        found = Backward.apply(
            way, wanted, folded.lengths, saved, *folded.tensors, *d_outputs, *d_states
        )
        inputs = way.engine.counts[1]
        axes = [1 if place < count + inputs else 0 for place, flag in enumerate(wanted) if flag]
        apart = [folded.apart(g, axis) for g, axis in zip(found, axes, strict=True)]
        return tuple(apart), tuple(axes)


def _refuse_older_vmap(tensors: Sequence[Any]) -> None:
    if any(tensor is not None and _is_of_older_vmap(tensor) for tensor in tensors):
        raise ArgumentError(
            "is_grads_batched=True and vectorize=True do not batch derived cells",
            facts=("they use a batching that torch.func has replaced",),
            hint="torch.func.vmap over torch.func.vjp, torch.func.jacrev or jacfwd",
        )


def _parted(way: Way, wanted: Sequence[bool], rest: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Tensors P, X, S; cotangents of outputs; of last states."""
    count, outputs = len(wanted), len(way.engine.outputs)
    return rest[:count], rest[count : count + outputs], rest[count + outputs :]


def _moved(way: Way, lengths: Any, tensors: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Results of the tangent cell; a tangent that is None is zero."""
    full = [torch.zeros_like(v) if t is None else t for v, t in zip(tensors, tangents, strict=True)]
    return Forward.apply(way.tangent, lengths, *way.paired(tensors, full))


def _tangents_of(way: Way, results: Sequence[Any]) -> list[Any]:
    """Of all results of the tangent cell, the tangents of outputs and last states."""
    outputs, states = len(way.engine.outputs), len(way.engine.states)
    return [
        *results[outputs : 2 * outputs],
        *results[2 * outputs + states : 2 * (outputs + states)],
    ]


def _pulled(
    way: Way, lengths: Any, tensors: Sequence[Any], tangents: Sequence[Any], saved: Any,
    wanted: Sequence[bool], d_outputs: tuple[Any, Any], d_states: tuple[Any, Any],
) -> list[Any]:  # fmt: skip
    """Gradients of P, X and S by the backward pass of the tangent cell, None where not wanted.

    d_outputs, d_states: cotangents of its plain results, and of its tangents.
    """
    full = [torch.zeros_like(v) if t is None else t for v, t in zip(tensors, tangents, strict=True)]
    flags = way.paired(wanted, [False] * len(wanted))
    given = (*d_outputs[0], *d_outputs[1], *d_states[0], *d_states[1])
    found = iter(
        Backward.apply(
            way.tangent, tuple(flags), lengths, saved, *way.paired(tensors, full), *given
        )
    )
    return [next(found) if flag else None for flag in wanted]


# --- vmap -----------------------------------------------------------------------------------


class _Folded:
    """Samples side by side as rows of one call: [T, n * B, ...] and [n * B, ...]."""

    def __init__(
        self, way: Way, count: int, of_lengths: Any, dims: Sequence[Any], lengths: Any,
        tensors: Sequence[Any],
    ) -> None:  # fmt: skip
        self.count = count
        kinds = zip(way.split(tensors), way.split(dims), (None, 1, 0), strict=True)
        self.tensors = [
            tensor if axis is None else self.together(tensor, dim, axis)
            for kind, dims_of, axis in kinds
            for tensor, dim in zip(kind, dims_of, strict=True)
        ]
        self.lengths = self.together(lengths, of_lengths, 0)
        x, dim = way.split(tensors)[1][0], way.split(dims)[1][0]
        self.rows = [length for k, length in enumerate(x.shape) if k != dim][1]  # of one sample

    def together(self, tensor: Any, dim: Any, axis: int) -> Any:
        """axis: that of the rows."""
        if tensor is None:
            return None
        if dim is None:
            shape = list(tensor.shape)
            shape.insert(axis, self.count)
            return tensor.unsqueeze(axis).expand(shape).flatten(axis, axis + 1)
        return tensor.movedim(dim, axis).flatten(axis, axis + 1)

    def apart(self, tensor: Any, axis: int) -> Any:
        return tensor.unflatten(axis, (self.count, self.rows))


def _one_by_one(function: Any, info: Any, in_dims: Any, args: Sequence[Any]) -> Any:
    """A call for each sample; of none, one call of zeros tells the shapes."""

    def call(sample: Callable[[Any, int], Any]) -> Any:
        pairs = zip(args, in_dims, strict=True)  # of flags the second is no number
        own = [sample(a, dim) if isinstance(dim, int) else a for a, dim in pairs]
        return function.apply(*own)

    if not info.batch_size:
        shapes = call(lambda a, dim: a.new_zeros([n for k, n in enumerate(a.shape) if k != dim]))
        stacked = tuple(part.new_empty((0, *part.shape)) for part in shapes)
        return stacked, (0,) * len(stacked)
    results = [call(lambda a, dim, k=k: a.select(dim, k)) for k in range(info.batch_size)]  # type: ignore[misc]
    stacked = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)
