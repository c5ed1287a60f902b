"""All layers of a module in one call of compiled code, where nothing is differentiated.

In: an engine, tensors of each layer and direction.  Out: output and last states, to the bit those
of layer after layer; None where the layers have to run so.
Not here: that one call (kernel/stack.py), which threads take part (kernel/side_by_side.py), what a
user gave (module.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from derive import pipeline
from derive.kernel.call import Call
from derive.kernel.side_by_side import way_of
from derive.kernel.stack import Layer, StackPlan
from derive.kernel.tasks import Slot
from derive.layers.at_once import kind_of
from derive.torch.engine import DTYPES, Engine, _at, engine_of_key
from derive.torch.functions import is_differentiated
from derive.torch.traced import is_traced


def may_run(x: Tensor) -> bool:
    """Whether no derivative is asked for and nothing is traced, and there is something to do. With
    gradients enabled each layer is a node of autograd."""
    return not (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or is_traced(x)
        or is_differentiated((x,))
        or not x.numel()
    )


def at_once(
    key: str, directions: int, params: Sequence[Sequence[Tensor]], x: Tensor,
    first: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]] | None:  # fmt: skip
    """key: of the engine.  params: of each layer and direction.  x: [T, B, I].  first: of each
    state [layers * directions, B, width]."""
    shapes = tuple(tuple(tuple(t.shape) for t in own) for own in params)
    of_states = tuple(tuple(state.shape[2:]) for state in first)
    plan = _plan(key, directions, shapes, tuple(x.shape), of_states, x.dtype)
    if plan is None:
        return None
    engine = engine_of_key(key)
    x, first = _plain(x), [_plain(state) for state in first]
    kept: list[Any] = [x, first]
    at = {Slot("x"): _at(x), Slot("lengths"): 0}
    last = [torch.empty_like(state) for state in first]
    for k, own in enumerate(params):
        whole = [_plain(tensor) for tensor in own]
        kept.append(whole)
        names = engine.signature
        for name, address in zip(names.params, engine._params_at(whole), strict=True):
            at[Slot("params", k, name)] = address
        for name, before, after in zip(names.states, first, last, strict=True):
            step = before.nbytes // len(params)
            at[Slot("first", k, name)] = _at(before) + k * step
            at[Slot("last", k, name)] = _at(after) + k * step
    results = {}
    for slot, shape in plan.written:
        if slot.kind != "last":
            results[slot] = torch.empty(shape, dtype=x.dtype)
            at[slot] = _at(results[slot])
    plan.by_address(at)
    return results[plan.result], last


def _plain(tensor: Tensor) -> Tensor:
    return (tensor.resolve_neg() if tensor.is_neg() else tensor).contiguous()


@lru_cache(maxsize=256)
def _plan(
    key: str, directions: int, shapes: tuple[Any, ...], of_x: tuple[int, ...],
    of_states: tuple[Any, ...], dtype: torch.dtype,
) -> StackPlan | None:  # fmt: skip
    engine: Engine = engine_of_key(key)
    target, _ = engine.backend(DTYPES[dtype])
    kind = kind_of(engine.cell, target, DTYPES[dtype])
    if kind is None:
        return None
    own, (steps, rows, *_) = kind.backend.signature, of_x
    x, y = next(iter(own.inputs)), next(iter(own.outputs))
    none = torch.empty((), dtype=dtype)
    states = [none.expand(rows, *shape) for shape in of_states]
    layers: list[Layer] = []
    for k, of_params in enumerate(shapes):
        number, direction = divmod(k, directions)
        below = range((number - 1) * directions, number * directions) if number else range(0)
        width = of_x[2:]
        if number:
            *others, one = layers[below[0]].shape(y)[2:]
            width = (*others, one * directions)
        tensors = [none.expand(shape) for shape in of_params]
        inputs = [none.expand(steps, rows, *width)]
        sizes = engine.sizes(tensors, inputs, states)
        engine._check(sizes, tensors, inputs, states)
        call = engine._plan_of(dtype, sizes, bool(direction), False).call
        call = Call(sizes, call.params, {}, {}, None, bool(direction), False)
        layers.append(Layer(kind.backend, call, x, y, tuple(below), kind.meetings))
    way = way_of(layers, engine.threads, kind.elementwise)
    if way is None:
        return None
    top = range(len(layers) - directions, len(layers))
    return StackPlan(
        pipeline.emit(engine.cell, target), layers, top,
        team=way.team, patient=way.patient, steps=way.steps,
    )  # fmt: skip
