"""How near one cell can come to another: least squares fits at several widths.

In: two Cells.  Out: a `Distance` for each width tried: parameters and inputs of the one, and the
nearest that the other came.
Not here: what follows from it (equal.py). A fit that stays away is evidence and no proof.

The source starts from zero states. Those of the target at the start are fitted as well, the same
for all rows, because a state may be the other's in another form. Where outputs show every state
of both, both start from the same random ones instead. All starts of a fit, and all
directions of a Jacobian, are one array with an axis of its own: many fits cost what one costs.
Starts are the source's parameters under the target's names, parameters of the source of the same
shape in any order and with any sign, and random ones of several sizes. The number of runs is
fixed, so the result does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.algebra import NUMPY
from derive.cell import Cell
from derive.comparison.widths import lengths, paired, shape_of
from derive.program import Layout, Map, Program, Sum

Arrays = dict[str, Any]

#: Widths of units and inputs, and how many starts: one alone, where least can go wrong; two.
WIDTHS = ((1, 1, 40), (2, 2, 16))
ROWS, STEPS, ROUNDS = 12, 4, 60
#: Numbers that one run may hold; it bounds the memory.
LARGEST = 3_000_000
DONE, STEP = 1e-10, 1e-6
TRIALS = 6.0 ** np.array([-2, -1, 0, 1, 3, 6])
#: A fit that stays further away than this, relative to the outputs, is apart.
APART = 0.02


@dataclass(frozen=True, slots=True)
class Distance:
    """How near `target` comes to `source` at one point: the best of several fits.

    params: of the source; fitted: the target's, and its initial states; wanted, got: the outputs
    at the place where they differ most. relative: that difference, relative to all outputs.
    """

    source: str
    target: str
    relative: float
    params: Arrays
    fitted: Arrays
    inputs: Arrays
    output: str
    place: tuple[int, ...]
    wanted: float
    got: float
    starts: int
    state: Arrays


def nearest(source: Cell, target: Cell) -> list[Distance]:
    """One for each of WIDTHS that the two can have, up to the first that stays apart."""
    found: list[Distance] = []
    for k, (hidden, inputs, starts) in enumerate(WIDTHS):
        both = lengths(source, target, hidden, inputs, strict=False)
        if both is not None and not (found and found[-1].relative >= APART):
            found.append(_nearest(source, target, *both, seed=11 + k, count=starts))
    return found


def _nearest(
    source: Cell,
    target: Cell,
    here: Mapping[str, int],
    there: Mapping[str, int],
    *,
    seed: int,
    count: int,
) -> Distance:
    random = np.random.default_rng(seed)
    params = {n: random.uniform(-1.5, 1.5, shape_of(s, here)) for n, s in source.params.items()}
    x = {
        n: random.uniform(-2, 2, (STEPS, ROWS, *shape_of(s, here)))
        for n, s in source.inputs.items()
    }
    pinned = _pinned(source, target)
    state = {
        n: random.uniform(-1, 1, (1, ROWS, *shape_of(s, here))) * bool(pinned)
        for n, s in source.states.items()
    }
    given = {n: v[np.newaxis] for n, v in params.items()}
    outputs = _outputs(source, given, x, state, here)
    wanted = np.concatenate([v.reshape(-1) for v in outputs.values()])
    scale = max(float(np.sqrt(np.mean(wanted**2))), 1e-12)
    shapes = {n: shape_of(s, there) for n, s in target.params.items()}
    starts = {f"{n} at first": shape_of(s, there) for n, s in target.states.items() if not pinned}
    free = {**shapes, **starts}
    mine = paired(target.inputs, x)

    def run(flat: Any) -> Any:
        """[n, numbers of the target] -> [n, outputs]"""
        values = _unpacked(flat, free)
        first = {
            n: state[pinned[n]]
            if pinned
            else np.broadcast_to(
                values[f"{n} at first"][:, np.newaxis], (len(flat), ROWS, *shape_of(s, there))
            )
            for n, s in target.states.items()
        }
        with np.errstate(all="ignore"):
            out = _outputs(target, values, mine, first, there)
        return np.concatenate([v.reshape(len(flat), -1) for v in out.values()], axis=1)

    if not np.isfinite(wanted).all():
        flat, best = np.zeros(sum(int(np.prod(s)) for s in free.values())), 0.0
        got = wanted
    else:
        flat = _fit(run, wanted, _starts(random, params, free, count))
        got = run(flat[np.newaxis])[0]
        best = float(np.abs(got - wanted).max()) / scale
    at = int(np.argmax(np.abs(got - wanted)))
    key, place = _where(at, {k: v.shape[1:] for k, v in outputs.items()})
    name = dict(zip(source.step.outputs, source.outputs, strict=True))[key]
    return Distance(
        source.name, target.name, best, params, _unpacked(flat, free), x, name, place,
        float(wanted[at]), float(got[at]), count, {n: v[0] for n, v in state.items()},
    )  # fmt: skip


def _pinned(source: Cell, target: Cell) -> dict[str, str]:
    """{state of target: of source}, where outputs show every state of either: those must be the
    same from the start. Empty where some are hidden: then only zero states correspond."""
    found = {}
    for mine, theirs in zip(target.step.outputs, source.step.outputs, strict=True):
        if mine in target.step.next_states and theirs in source.step.next_states:
            state = target.step.states[target.step.next_states.index(mine)]
            found[state] = source.step.states[source.step.next_states.index(theirs)]
    whole = set(found) == set(target.step.states) and set(found.values()) == set(source.states)
    return found if whole else {}


def _starts(random: Any, params: Arrays, free: Mapping[str, Any], count: int) -> Any:
    rows = []
    for k in range(count):
        values = {}
        for name, shape in free.items():
            size = 10 ** random.uniform(-1, 1) if k % 2 else 1.0
            value = random.uniform(-1.5, 1.5, shape) * size
            if name.endswith(" at first"):
                value = np.zeros(shape)
            elif k == 0 and name in params and params[name].shape == shape:
                value = params[name]
            elif k < count // 2:
                alike = [n for n, v in params.items() if v.shape == shape]
                if alike:
                    value = params[random.choice(alike)] * random.choice([1, -1])
                    value = value + random.normal(size=shape) * 0.01
            values[name] = value
        rows.append(np.concatenate([np.ravel(v) for v in values.values()] or [np.zeros(0)]))
    return np.array(rows)


def _unpacked(flat: Any, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    values, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        values[name] = flat[..., at : at + size].reshape(*flat.shape[:-1], *shape)
        at += size
    return values


def _where(at: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    for key, shape in shapes.items():
        size = int(np.prod(shape))
        if at < size:
            return key, tuple(int(k) for k in np.unravel_index(at, shape))
        at -= size
    raise AssertionError


def _fit(run: Any, wanted: Any, starts: Any) -> Any:
    """Levenberg and Marquardt's method from all starts at once; the best end."""
    flat = starts.copy()
    count, size = flat.shape
    residual = run(flat) - wanted
    error = _mean(residual)
    damping = np.full(count, 1e-2)
    alive = np.isfinite(error)
    group = max(1, LARGEST // max(1, size * wanted.size))
    for _ in range(ROUNDS):
        if not size or not alive.any() or error.min() < DONE**2:
            break
        for some in np.array_split(np.flatnonzero(alive), -(-int(alive.sum()) // group)):
            moved = flat[some][:, np.newaxis] + STEP * np.eye(size)
            ends = run(moved.reshape(-1, size)).reshape(len(some), size, -1)
            slope = (ends - wanted - residual[some][:, np.newaxis]) / STEP
            usable = np.isfinite(slope).all(axis=(1, 2))
            alive[some[~usable]] = False
            some, slope = some[usable], slope[usable]
            if not len(some):
                continue
            square = slope @ np.swapaxes(slope, 1, 2)
            gradient = (slope @ residual[some][:, :, np.newaxis])[..., 0]
            values, vectors = np.linalg.eigh(square)
            turned = np.einsum("nij,ni->nj", vectors, gradient)
            scales = damping[some][:, np.newaxis] * TRIALS
            steps = turned[:, np.newaxis] / (
                np.maximum(values, 0)[:, np.newaxis] + scales[..., np.newaxis]
            )
            trials = flat[some][:, np.newaxis] - np.einsum("nij,nkj->nki", vectors, steps)
            ends = run(trials.reshape(-1, size)).reshape(*trials.shape[:2], -1) - wanted
            errors = _mean(ends)
            best = errors.argmin(axis=1)
            row = np.arange(len(some))
            better = errors[row, best] < error[some] * (1 - 1e-5)
            alive[some[~better]] = False
            kept = some[better]
            at = row[better], best[better]
            flat[kept], residual[kept], error[kept] = trials[at], ends[at], errors[at]
            damping[kept] = np.maximum(scales[at], 1e-14)
    return flat[int(np.argmin(error))]


def _mean(residual: Any) -> Any:
    with np.errstate(all="ignore"):
        value = np.mean(residual**2, axis=-1)
    return np.where(np.isfinite(value), value, np.inf)


# --- a cell for many parameters at once -----------------------------------------------------


def _outputs(
    cell: Cell, params: Arrays, x: Arrays, first: Arrays, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """{output array: [n, T, rows, width]} for params [n, ...] and states [n, rows, width]."""
    step, states = cell.step, dict(first)
    found: dict[str, list[Any]] = {name: [] for name in step.outputs}
    n = max((len(v) for v in (*params.values(), *states.values())), default=1)
    for t in range(STEPS):
        values = {**params, **{name: value[t][np.newaxis] for name, value in x.items()}, **states}
        _run(step.program, values, sizes, n)
        states = {s: values[m] for s, m in zip(step.states, step.next_states, strict=True)}
        for name in step.outputs:
            found[name].append(values[name])
    return {name: np.stack(parts, axis=1) for name, parts in found.items()}


def _run(program: Program, values: Arrays, sizes: Mapping[str, int], n: int) -> None:
    table = program.table()
    for equation in program.equations:
        out = table[equation.out]
        shape = shape_of(out.shape, sizes)
        shape = (n, ROWS, *shape) if out.per_row else (n, *shape)
        if isinstance(equation, Map):
            own = {
                name: values[name][:, np.newaxis]
                if out.per_row and not table[name].per_row
                else values[name]
                for name in equation.operands
            }
            value = NUMPY.evaluate(equation.expr, own, sizes)
        elif isinstance(equation, Sum):
            value = values[equation.source]
            if table[equation.source].shape != out.shape:
                value = value.sum(axis=-1)[..., np.newaxis]
        else:
            matrix, vector = values[equation.left], values[equation.right]
            own_matrix = (
                matrix if equation.layout is Layout.TRANSPOSED else np.swapaxes(matrix, 1, 2)
            )
            if out.per_row:
                value = np.matmul(vector, own_matrix)
            else:
                value = np.matmul(vector[:, np.newaxis], own_matrix)[:, 0]
        values[equation.out] = np.broadcast_to(value, shape)
