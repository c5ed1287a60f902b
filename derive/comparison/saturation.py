"""Whether outputs hardly change with parameters: a fit has nothing to go by there.

In: a way to run a cell for many parameters at once, and its parameters.  Out: whether.
Not here: runs and fits (fits.py).

tanh(W @ x + b - 30) is -1 for all parameters of ordinary size. A fit of tanh(W @ x + c) to it has
to find a c near -30, on a plateau, and ends anywhere: that it stays away says nothing of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import sympy

from derive.comparison.widths import Fitted
from derive.program import Map
from derive.symbolic import functions

Arrays = Mapping[str, Any]
#: {parameter: [n, ...]} -> {output: [n, T, rows, ...]}
Run = Callable[[Arrays], Arrays]

#: Steps of a parameter; a staircase (floor, sign) changes in the second alone.
SMALL, WIDE = 1e-6, 0.3
#: A number hears a parameter if it changes by this much of itself for a step of 1; and outputs
#: hardly change where fewer than this share of their numbers do.
LEAST, HEARD = 1e-4, 1 / 8
STAIRS = ("floor", "sign", "less", "less_equal", "equal", "not_equal")


def read(cell: Fitted, *outputs: str) -> set[str]:
    """Arrays that these outputs depend on, or any output."""
    step = cell.step
    made = {equation.out: equation.operands for equation in step.program.equations}
    made |= {s: (n,) for s, n in zip(step.states, step.next_states, strict=True)}
    found, waiting = set[str](), list(outputs or step.outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += made.get(name, ())
    return found


def has_stairs(cell: Fitted) -> bool:
    """Whether a function in it is constant but for jumps."""
    heads = {functions.RULES[name].head for name in STAIRS}
    return any(
        isinstance(equation, Map)
        and any(part.func in heads for part in sympy.preorder_traversal(equation.expr))
        for equation in cell.step.program.equations
    )


def saturated(run: Run, params: Arrays, names: Collection[str], *, stairs: bool) -> bool:
    """Whether outputs hardly change with numbers of these parameters: in fewer than HEARD of the
    rows and steps, at every place of every output.

    Where a function is saturated, all parameters within it are so. One alone that is so may
    cancel, as the bias of an exponential gate over its normaliser does: that hides nothing.
    stairs: whether a parameter may change outputs by jumps only.
    """
    own = [name for name in params if name in names]
    unheard = 0
    still = _run(run, _alone(params))
    for name in own:
        heard = np.zeros(params[name].size, bool)
        for by in (SMALL, WIDE) if stairs else (SMALL,):
            ends = _run(run, _moved(params, name, by))
            for key, value in still.items():
                heard |= _heard(ends[key], value, by).any(axis=1)
        unheard += not heard.all()
    return unheard > 0 and unheard >= min(2, len(own))


def on_plateau(
    run: Run, params: Arrays, names: Collection[str], output: str, place: tuple[int, ...]
) -> bool:
    """Whether an output hardly changes with any of these parameters at a place of it."""
    still = _run(run, _alone(params))[output]
    at = int(np.ravel_multi_index(place, still.shape[3:])) if place else 0
    for name in names:
        ends = _run(run, _moved(params, name, SMALL))[output]
        if _heard(ends, still, SMALL)[:, at].any():
            return False
    return bool(names)


def _alone(params: Arrays) -> dict[str, Any]:
    return {name: value[np.newaxis] for name, value in params.items()}


def _moved(params: Arrays, name: str, by: float) -> dict[str, Any]:
    """Each number of one parameter moved by a step, one at a time."""
    value = params[name]
    steps = by * np.eye(value.size).reshape(-1, *value.shape)
    return {**_alone(params), name: value + steps}


def _run(run: Run, params: Arrays) -> Arrays:
    with np.errstate(all="ignore"):
        return run(params)


def _heard(ends: Any, still: Any, by: float) -> Any:
    """[n, T, rows, ...] and [1, T, rows, ...] -> [n, places]: whether enough numbers at a place of
    the output changed. Each is measured by itself, for outputs may grow."""
    with np.errstate(all="ignore"):
        size = np.abs(still)
        changed = np.abs(ends - still) > LEAST * by * (size + 1e-3 * np.median(size))
    changed = np.broadcast_to(changed, (len(ends), *changed.shape[1:]))
    unknown = not np.isfinite(still).all()
    return (changed.mean(axis=(1, 2)) >= HEARD).reshape(len(ends), -1) | unknown
