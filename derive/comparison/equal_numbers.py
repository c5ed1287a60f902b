"""Two cells in numbers: a map confirmed, or the nearest that one comes to the other.

In: two Cells, and a parameter map or none.  Out: how far apart they are.
Not here: what follows from that (equal.py).

Numbers come from the generated NumPy code in float64, over several steps and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive import pipeline
from derive.cell import Cell
from derive.comparison.parameter_map import ParameterMap
from derive.kernel import Kernel

Arrays = dict[str, Any]

STEPS, ROWS = 4, 3
FIT_ROWS, FIT_STEPS, ROUNDS, STARTS = 12, 4, 40, 4
#: No fit goes on after this many runs of the kernel, so that no machine sees another verdict.
RUNS = 9000
#: What is enough for an example where a proof is known.
FEW_RUNS = 1200


@dataclass(frozen=True, slots=True)
class Distance:
    """How near `target` comes to `source` at one point: the best of several fits.

    params: of the source; fitted: the target's; wanted, got: the outputs at the place where
    they differ most.  starts: how many fits there were.
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


def _sizes(a: Cell, b: Cell) -> tuple[dict[str, int], dict[str, int]]:
    """A length for every dimension: equal where arrays pair, by name otherwise."""
    sizes: dict[str, dict[str, int]] = {"a": {}, "b": {}}
    lengths = iter((3, 2, 4, 5, 6, 7, 8, 9, 10, 11))
    pairs = [*zip(a.outputs.values(), b.outputs.values(), strict=False)]
    pairs += [*zip(a.inputs.values(), b.inputs.values(), strict=False)]
    for (one,), (other,) in pairs:
        if isinstance(one, str) and one not in sizes["a"]:
            sizes["a"][one] = sizes["b"].get(str(other)) or next(lengths)
        if isinstance(other, str) and isinstance(one, str) and other not in sizes["b"]:
            sizes["b"][other] = sizes["a"][one]
    for key, cell, other in (("a", a, "b"), ("b", b, "a")):
        for dim in cell.step.program.dims():
            if dim not in sizes[key]:
                sizes[key][dim] = sizes[other].get(dim) or next(lengths)
    return sizes["a"], sizes["b"]


def _shape(shape: tuple[Any, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in shape)


def _draw(random: Any, group: Mapping[str, Any], sizes: Mapping[str, int], *front: int) -> Arrays:
    return {
        name: random.uniform(-1, 1, (*front, *_shape(shape, sizes)))
        for name, shape in group.items()
    }


def _kernel(cell: Cell) -> Kernel:
    return pipeline.compile(cell, target="numpy", dtype="float64")


def _paired(names: Any, values: Arrays) -> Arrays:
    """The same arrays under the names of the other cell: by name, else by place."""
    names = list(names)
    if set(names) == set(values):
        return {name: values[name] for name in names}
    return dict(zip(names, values.values(), strict=True))


def _apart(one: Any, other: Any) -> float:
    """The largest difference, relative to the largest number, or to 1."""
    one, other = np.asarray(one), np.asarray(other)
    if one.size == 0:
        return 0.0
    scale = max(1.0, float(np.abs(one).max()))
    return float(np.abs(one - other).max()) / scale


# --- a map ----------------------------------------------------------------------------------


def confirm(source: Cell, target: Cell, given: ParameterMap) -> float:
    """How far values and gradients of the two are apart with the map applied, over 3 points."""
    here, there = _sizes(source, target)
    there |= {mine: here[theirs] for mine, theirs in given.sizes.items() if theirs in here}
    kernels = _kernel(source), _kernel(target)
    return max(_confirm(source, target, given, here, there, kernels, seed) for seed in range(3))


def _confirm(
    source: Cell,
    target: Cell,
    given: ParameterMap,
    here: Mapping[str, int],
    there: Mapping[str, int],
    kernels: tuple[Kernel, Kernel],
    seed: int,
) -> float:
    random = np.random.default_rng(seed)
    params = _draw(random, source.params, here)
    mapped = {
        name: _applied(given.params[name], params, _shape(shape, there))
        for name, shape in target.params.items()
    }
    x = _draw(random, source.inputs, here, STEPS, ROWS)
    state = _draw(random, source.states, here, ROWS)
    if given.from_zero:
        state = {name: np.zeros_like(value) for name, value in state.items()}
    zero = {name: np.zeros((ROWS, *_shape(s, there))) for name, s in target.states.items()}
    matched = zero | {
        mine: given.moved(mine, state[theirs]) for mine, theirs in given.states.items()
    }
    one = kernels[0].forward(params, x, state=state)
    other = kernels[1].forward(mapped, _paired(target.inputs, x), state=matched)
    outputs = list(zip(source.outputs, target.outputs, strict=True))
    errors = [_apart(one.outputs[k], other.outputs[m]) for k, m in outputs]
    d_one = {k: random.uniform(-1, 1, one.outputs[k].shape) for k, _ in outputs}
    d_other = {m: d_one[k] for k, m in outputs}
    d_states = {s: np.zeros_like(v) for s, v in state.items()}
    d_matched = {s: np.zeros_like(v) for s, v in matched.items()}
    if not given.from_zero:
        for mine, theirs in given.states.items():
            d_matched[mine] = random.uniform(-1, 1, state[theirs].shape)
            d_states[theirs] = given.factor(mine) * d_matched[mine]
            moved = given.moved(mine, one.states[theirs])
            errors.append(_apart(moved, other.states[mine]))
    back = kernels[0].backward(one, d_one, d_states)
    forth = kernels[1].backward(other, d_other, d_matched)
    errors += [
        _apart(back.inputs[k], v) for k, v in _paired(source.inputs, dict(forth.inputs)).items()
    ]
    pulled = {name: np.zeros_like(value) for name, value in params.items()}
    for name, parts in given.params.items():
        for part in parts:
            _pull(part, forth.params[name], pulled)
    errors += [_apart(back.params[name], value) for name, value in pulled.items()]
    if not given.from_zero:
        errors += [
            _apart(back.states[theirs], given.factor(mine) * forth.states[mine])
            for mine, theirs in given.states.items()
        ]
    return max(errors) if np.isfinite(errors).all() else float("inf")


def _applied(parts: Any, params: Arrays, shape: tuple[int, ...]) -> Any:
    value: Any = np.zeros(shape)
    for part in parts:
        if part.kind == "one":
            term: Any = 1.0
        elif part.kind == "eye":
            term = np.eye(shape[0], shape[1])
        elif part.kind == "diag":
            term = np.diag(np.broadcast_to(params[part.name], shape[:1]))
        else:
            term = params[part.name].T if part.transposed else params[part.name]
        value = value + term * part.factor.numerator / part.factor.denominator
    return value


def _pull(part: Any, d_value: Any, into: Arrays) -> None:
    """The gradient with respect to what a part is made of."""
    if part.kind in ("one", "eye"):
        return
    d_part = np.asarray(d_value) * float(part.factor)
    if part.kind == "diag":
        d_part = np.diag(d_part)
    elif part.transposed:
        d_part = d_part.T
    if into[part.name].shape == (1,) and d_part.shape != (1,):
        d_part = d_part.sum(keepdims=True).reshape(1)
    into[part.name] += d_part


# --- a counter-example ----------------------------------------------------------------------


def nearest(source: Cell, target: Cell, runs: int = RUNS) -> Distance:
    """Fits the target's parameters to one point of the source, and says how near that came.

    Levenberg and Marquardt's least squares from several starts: the source's own parameters
    where they have the target's names, and random ones. Initial states are random and the same
    where states are called the same, and zero otherwise.
    """
    here, there = _sizes(source, target)
    random = np.random.default_rng(11)
    params = {name: 1.5 * v for name, v in _draw(random, source.params, here).items()}
    x = {n: 1.5 * v for n, v in _draw(random, source.inputs, here, FIT_STEPS, FIT_ROWS).items()}
    state = {name: np.zeros((FIT_ROWS, *_shape(s, here))) for name, s in source.states.items()}
    rest = {name: np.zeros((FIT_ROWS, *_shape(s, there))) for name, s in target.states.items()}
    if _shapes(state) == _shapes(rest):
        state = rest = _draw(random, source.states, here, FIT_ROWS)
    run = _kernel(source).forward(params, x, state=state, training=False)
    wanted = np.concatenate([np.ravel(run.outputs[key]) for key in source.outputs])
    kernel = _kernel(target)
    mine = _paired(target.inputs, x)
    shapes = {name: _shape(shape, there) for name, shape in target.params.items()}

    left = runs

    def outputs(flat: Any) -> Any:
        nonlocal left
        left -= 1
        values = _unpacked(flat, shapes)
        with np.errstate(all="ignore"):
            run = kernel.forward(values, mine, state=rest, training=False)
        return np.concatenate([np.ravel(run.outputs[key]) for key in target.outputs])

    best: tuple[float, Any] | None = None
    for start in range(STARTS):
        first = _draw(random, target.params, there)
        if start == 0:
            for name, value in params.items():
                if name in first and first[name].shape == value.shape:
                    first[name] = value
        flat = np.concatenate([np.ravel(v) for v in first.values()]) if first else np.zeros(0)
        flat, error = _least_squares(outputs, wanted, flat, lambda: left > 0)
        if best is None or error < best[0]:
            best = error, flat
        if best[0] < 1e-9 or left <= 0:
            break
    assert best is not None
    got = outputs(best[1])
    scale = max(float(np.sqrt(np.mean(wanted**2))), 1e-12)
    at = int(np.argmax(np.abs(got - wanted)))
    key, place = _where(at, {k: run.outputs[k].shape for k in source.outputs})
    return Distance(
        source=source.name,
        target=target.name,
        relative=float(np.abs(got - wanted).max()) / scale,
        params=params,
        fitted=_unpacked(best[1], shapes),
        inputs=x,
        output=key,
        place=place,
        wanted=float(wanted[at]),
        got=float(got[at]),
        starts=start + 1,
        state=state,
    )


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in arrays.items()}


def _unpacked(flat: Any, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    values, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        values[name] = flat[at : at + size].reshape(shape)
        at += size
    return values


def _where(at: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    for key, shape in shapes.items():
        size = int(np.prod(shape))
        if at < size:
            return key, tuple(int(k) for k in np.unravel_index(at, shape))
        at -= size
    raise AssertionError


def _least_squares(
    outputs: Any, wanted: Any, flat: Any, goes_on: Callable[[], bool]
) -> tuple[Any, float]:
    """Parameters, and the root of the mean squared difference that is left."""
    residual = outputs(flat) - wanted
    error = float(np.mean(residual**2)) if np.isfinite(residual).all() else np.inf
    damping = 1e-2
    for _ in range(ROUNDS):
        if not goes_on() or not np.isfinite(error) or error < 1e-24 or flat.size == 0:
            break
        slope = np.empty((wanted.size, flat.size))
        for k in range(flat.size):
            moved = flat.copy()
            moved[k] += 1e-6
            slope[:, k] = (outputs(moved) - wanted - residual) / 1e-6
        square, gradient = slope.T @ slope, slope.T @ residual
        before = error
        for _ in range(6):
            step = np.linalg.lstsq(square + damping * np.eye(flat.size), -gradient, rcond=None)[0]
            trial = outputs(flat + step) - wanted
            new = float(np.mean(trial**2)) if np.isfinite(trial).all() else np.inf
            if new < error:
                flat, residual, error = flat + step, trial, new
                damping = max(damping / 5, 1e-12)
                break
            damping *= 5
        if error > before * (1 - 1e-5):
            break
    return flat, float(np.sqrt(error))
