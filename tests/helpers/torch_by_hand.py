"""Families of the catalogue by hand in PyTorch, their gradients by autograd.

In: a cell, and one step of it as a function.  Out: `HAND`, {family: Hand}, and `by_hand`, a loop
over time whose leaves autograd differentiates.
Not here: the formulas (memories_by_hand.py, spaces_by_hand.py, gated_by_hand.py,
neurons_by_hand.py), the tests.

A step takes dictionaries of tensors, step(p, x, s), parameters, inputs and states, and returns
(outputs, next states). Its form differs from the catalogue's on purpose: loops over heads, whole
matrices in place of parts, complex numbers in place of pairs, autograd in place of inner gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from derive.kernel.signature import Sizes

Tensors = dict[str, Any]
Step = Callable[..., tuple[Tensors, Tensors]]
Arrays = dict[str, np.ndarray]

SIZES = {"I": 5, "H": 6, "N": 2, "D": 3, "K": 4, "M": 7, "R": 2, "P": 4, "E": 2}
STEPS, ROWS = 4, 3


@dataclass(frozen=True)
class Hand:
    """step, the options that are tried besides the defaults, and what arrays must lie within."""

    step: Step
    tried: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    within: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


HAND: dict[str, Hand] = {}


def family(
    within: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    sizes: Mapping[str, int] | None = None,
    **tried: tuple[Any, ...],
) -> Callable[[Step], Step]:
    """Registers a step under the name of its function, with the options to try."""

    def keep(step: Step) -> Step:
        HAND[step.__name__] = Hand(step, tried, within or {}, sizes or {})
        return step

    return keep


def point(kernel: Any, hand: Hand, seed: int = 3) -> tuple[Arrays, Arrays, Arrays]:
    """Parameters, inputs over time and states, in float64: the starts, and noise on them."""
    own, random = kernel.signature, np.random.default_rng(seed)
    known = {**SIZES, **hand.sizes}
    sizes = Sizes(STEPS, ROWS, {dim: known[dim] for dim in own.dims()})
    params = kernel.init(dict(sizes.dims), seed=seed)
    for name, axes in own.params.items():
        noise = 0.4 * random.normal(size=sizes.shape(axes))
        params[name] = params[name] + noise if name in params else noise
    x = {
        name: random.normal(
            size=((ROWS,) if name in own.once else (STEPS, ROWS)) + sizes.lengths(width)
        )
        for name, width in own.inputs.items()
    }
    state = {
        name: 0.5 * random.normal(size=(ROWS, *sizes.lengths(width)))
        for name, width in own.states.items()
        if name not in own.learned
    }
    for group in (params, x, state):
        for name, moved in hand.within.items():
            if name in group:
                group[name] = np.ascontiguousarray(moved(group[name]), dtype=float)
    return params, x, state


def by_hand(
    step: Step, kernel: Any, params: Arrays, x: Arrays, state: Arrays, lengths: Any = None
) -> tuple[Tensors, Tensors, dict[str, Tensors]]:
    """Outputs over time, last states, and the leaves: the tensors that autograd differentiates."""
    leaves = {
        group: {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
        for group, arrays in (("params", params), ("inputs", x), ("states", state))
    }
    p, inputs = leaves["params"], leaves["inputs"]
    s = dict(leaves["states"])
    for name, start in kernel.signature.learned.items():
        s[name] = p[start].expand(ROWS, *p[start].shape)
    outputs: dict[str, list[Any]] = {}
    for t in range(STEPS):
        here = {n: a if n in kernel.signature.once else a[t] for n, a in inputs.items()}
        out, after = step(p, here, s)
        if lengths is not None:
            alive = torch.tensor(lengths > t)

            def kept(new: Any, old: Any, alive: Any = alive) -> Any:
                return torch.where(alive.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

            out = {n: kept(a, torch.zeros_like(a)) for n, a in out.items()}
            after = {n: kept(after[n], s[n]) for n in after}
        s = after
        for name, array in out.items():
            outputs.setdefault(name, []).append(array)
    return {n: torch.stack(a) for n, a in outputs.items()}, s, leaves


def compare(kernel: Any, hand: Hand, step: Step, lengths: Any = None) -> None:
    """Values and every gradient of the kernel against those of `step`."""
    params, x, state = point(kernel, hand)
    run = kernel.forward(params, x, state, lengths=lengths)
    outputs, last, leaves = by_hand(step, kernel, params, x, state, lengths)
    random = np.random.default_rng(5)
    d_outputs = {n: random.normal(size=a.shape) for n, a in run.outputs.items()}
    d_states = {n: random.normal(size=a.shape) for n, a in run.states.items()}
    for found, want in ((run.outputs, outputs), (run.states, last)):
        assert found.keys() == want.keys()
        for key, array in found.items():
            assert np.isfinite(array).all()
            np.testing.assert_allclose(array, want[key].detach(), 1e-11, 1e-12, err_msg=key)

    loss: Any = sum((torch.tensor(d_outputs[n]) * a).sum() for n, a in outputs.items())
    loss = loss + sum((torch.tensor(d_states[n]) * a).sum() for n, a in last.items())
    loss.backward()
    grads = kernel.backward(run, d_outputs, d_states)
    assert grads.params.keys() == leaves["params"].keys() - set(kernel.signature.fixed)
    for group in ("params", "inputs", "states"):
        for key, array in getattr(grads, group).items():
            if key in leaves[group]:
                want = leaves[group][key].grad
                want = torch.zeros_like(leaves[group][key]) if want is None else want
                np.testing.assert_allclose(array, want, 1e-9, 1e-10, err_msg=key)
