"""The formulas of axes_cells over a sequence, as PyTorch's autograd differentiates them.

In: a kernel or its signature.  Out: a point of a cell, and results by hand with their leaves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from derive.kernel.signature import Sizes

SIZES = {"I": 5, "H": 6, "N": 2, "D": 3, "K": 4, "M": 7, "R": 2}
STEPS, ROWS = 4, 3


def point(kernel: Any, seed: int = 3) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Parameters, inputs and states; a learned start is left out."""
    own, random = kernel.signature, np.random.default_rng(seed)
    sizes = Sizes(STEPS, ROWS, {dim: SIZES[dim] for dim in own.dims()})
    params = kernel.init(dict(sizes.dims), seed=seed)
    for name, axes in own.params.items():
        drawn = 0.3 * random.normal(size=sizes.shape(axes))
        params[name] = params[name] + drawn if name in params else drawn
    x = {
        name: random.normal(
            size=((ROWS,) if name in own.once else (STEPS, ROWS)) + sizes.lengths(w)
        )
        for name, w in own.inputs.items()
    }
    state = {
        name: 0.5 * random.normal(size=(ROWS, *sizes.lengths(w)))
        for name, w in own.states.items()
        if name not in own.learned
    }
    return params, x, state


def over_time(step: Any, own: Any, p: Any, x: Any, state: Any, lengths: Any = None) -> Any:
    """Outputs and last states of a step by hand; own: the cell's signature."""
    s = dict(state)
    for name, start in own.learned.items():
        s.setdefault(name, p[start].expand(ROWS, *p[start].shape))
    outputs: dict[str, list[Any]] = {}
    for t in range(STEPS):
        here = {n: a if n in own.once else a[t] for n, a in x.items()}
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
    return {n: torch.stack(a) for n, a in outputs.items()}, s


def by_hand(
    step: Any, own: Any, params: Any, x: Any, state: Any, lengths: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """Outputs, last states, and the tensors whose gradients autograd finds."""
    leaves = {
        group: {n: torch.tensor(a, requires_grad=True) for n, a in arrays.items()}
        for group, arrays in (("params", params), ("inputs", x), ("states", state))
    }
    found = over_time(step, own, leaves["params"], leaves["inputs"], leaves["states"], lengths)
    return *found, leaves
