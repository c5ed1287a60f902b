"""Whether contestants computed the same thing.

In: the results of each, and those of two reference runs in float64.  Out: for each contestant the
worst error in units of what is allowed.
Not here: the computations.

The reference is a plain NumPy loop in float64. Float32 is allowed an error, in every element of
an array,

    SAFETY * (spread + sqrt(n) * u * largest),      u = 2^-24,

`largest` being the largest absolute value of the array, n the terms of the longest sum that leads
to it: I + H products in a step, T * B rows in the gradient of a parameter. `spread` is by how much
the array moves when every number given is moved by sqrt(n) * u relative to itself, at random, in
float64: how much the recurrence itself magnifies rounding. Rounding errors add up like the square
root of their number (Higham & Mary 2019). A wrong gate, sign, order or step is wrong by many
thousand times as much.

Thin weights, and what a library rounds with them, are allowed

    SAFETY * (spread + u * largest)

with the `spread` of numbers that are moved by u, the rounding of one weight: 2^-9 of itself in
bfloat16, 2^-8 of the largest in its row in eight bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from derive.bench import stacks
from derive.bench.peers.numpy_loop import loop_contestant
from derive.bench.task import D_PARAM, Results, Task
from derive.kernel.signature import Arrays

UNIT = 2.0**-24
SAFETY = 8.0
#: The rounding of one weight.
THIN = {"bfloat16": 2.0**-9, "int8": 2.0**-8}


def allowed(task: Task) -> tuple[Results, dict[str, float]]:
    """Results in float64, and the error allowed in each array."""
    exact = _train(task)
    step_terms = max(task.shape.I + task.shape.H, 2)
    moved = _train(_moved(task, step_terms**0.5 * UNIT))
    limits = {}
    for name, array in exact.items():
        terms = step_terms
        if name.startswith(D_PARAM):
            terms = max(terms, task.shape.T * task.shape.B)
        largest, spread = np.abs(array).max(initial=0), np.abs(moved[name] - array).max(initial=0)
        limits[name] = float(SAFETY * (spread + terms**0.5 * UNIT * largest))
    return exact, limits


def allowed_of_thin(task: Task, exact: Results, dtype: str) -> dict[str, float]:
    """The error allowed where weights have fewer bits: in what inference gives."""
    moved = _train(_moved(task, THIN[dtype]))
    limits = {}
    for name, array in exact.items():
        largest, spread = np.abs(array).max(initial=0), np.abs(moved[name] - array).max(initial=0)
        limits[name] = float(SAFETY * (spread + THIN[dtype] * largest))
    return limits


def worst(results: Results, exact: Results, limits: dict[str, float]) -> tuple[float, str]:
    """The largest error in units of the allowed one, and the array that has it."""
    found = (0.0, "")
    for name, array in results.items():
        if name not in exact or array.shape != exact[name].shape:
            return float("inf"), name
        error = float(np.abs(array - exact[name]).max(initial=0))
        share = error / limits[name] if limits[name] else (0.0 if error == 0 else float("inf"))
        if not share <= found[0]:  # NaN is the worst of all
            found = (share if share == share else float("inf"), name)
    return found


def _train(task: Task) -> Results:
    if task.shape.is_stack:
        return stacks.results(task.as_dtype("float64"), _train)
    one = loop_contestant("reference", task, "float64")
    assert one.train is not None
    return one.read(one.train())


def _moved(task: Task, relative: float) -> Task:
    random = np.random.Generator(np.random.PCG64(0))

    def move(group: Arrays) -> Arrays:
        return {
            name: a * (1 + relative * (2 * random.random(a.shape) - 1)) for name, a in group.items()
        }

    task = task.as_dtype("float64")
    return replace(
        task, params=move(task.params), inputs=move(task.inputs), states=move(task.states),
        d_outputs=move(task.d_outputs),
    )  # fmt: skip
