"""How many parameters of a cell count: the dimension of the family of functions it can compute.

In: two Cells.  Out: a `Rank` that proves that one cannot compute the other, or None.
Not here: fits and maps (equal_numbers.py), what follows (equal.py).

The outputs on fixed inputs are a smooth function of the parameters. Where its Jacobian has rank
r at one point, the outputs fill an r-dimensional piece; where it has rank q at most everywhere,
they fill no more than q dimensions, whatever the map from one cell's parameters to the other's.
So r > q proves that some outputs of the first cell are none of the second's. r is a number of
singular values far above rounding. q is the number of parameters; or, of cells whose functions
are all analytic, the rank at random points, which is the largest but for points of measure zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive import scalar
from derive.cell import Cell
from derive.comparison.equal_numbers import _draw, _kernel, _paired, _sizes
from derive.program import Map

ROWS, STEPS, SEEDS = 16, 4, 2
#: Relative to the largest, singular values above SURE count for the source, those above NOISE
#: for the target, and the next one must be below ROUNDING.
SURE, NOISE, ROUNDING = 1e-9, 1e-12, 1e-14


@dataclass(frozen=True, slots=True)
class Rank:
    """After `steps` steps, source fills `source_rank` dimensions, target `target_rank` at most.

    sizes: of the source; counted: whether target_rank is the number of parameters; smallest:
    the last singular value of the source that counts, relative to the largest.
    """

    source: str
    target: str
    steps: int
    sizes: Mapping[str, int]
    source_rank: int
    target_rank: int
    counted: bool
    smallest: float


def analytic(cell: Cell) -> bool:
    """Whether every function of the cell is analytic, and differentiated as it is."""
    names = {scalar.stop_gradient: False}
    for equation in cell.step.program.equations:
        if isinstance(equation, Map):
            for part in equation.expr.atoms(*(rule.head for rule in scalar.RULES.values())):
                head = scalar.NAME_OF_HEAD.get(part.func)
                if part.func in names or head is None or not scalar.RULES[head].analytic:
                    return False
    return True


def excludes(source: Cell, target: Cell) -> Rank | None:
    """A proof that no parameters of `target` compute what `source` computes."""
    if not source.params or not _smooth(source) or not _smooth(target):
        return None
    here, there = _sizes(source, target)
    mine = _spectra(source, here, source, here)
    theirs = _spectra(target, there, source, here)
    if not all(len(values) for values in (*mine.values(), *theirs.values())):
        return None
    most = sum(int(np.prod(_lengths(shape, there))) for shape in target.params.values())
    exact = analytic(source) and analytic(target)
    for steps in range(1, STEPS + 1):
        values = mine[steps]
        rank = int((values > SURE).sum())
        other, counted = most, True
        if exact and (theirs[steps][_count(theirs[steps]) :] < ROUNDING).all():
            other, counted = _count(theirs[steps]), False
        if rank > other:
            last = float(values[rank - 1])
            return Rank(source.name, target.name, steps, here, rank, other, counted, last)
    return None


def _count(values: Any) -> int:
    return int((values > NOISE).sum())


def _smooth(cell: Cell) -> bool:
    """The derived gradient is that of the outputs: nothing stops it."""
    return not any(
        isinstance(e, Map) and e.expr.has(scalar.stop_gradient) for e in cell.step.program.equations
    )


def _lengths(shape: tuple[Any, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[d] if isinstance(d, str) else d for d in shape)


def _spectra(
    cell: Cell, sizes: Mapping[str, int], given: Cell, given_sizes: Mapping[str, int]
) -> dict[int, Any]:
    """{steps: singular values, relative to the largest}; of several points, those of most rank."""
    kernel = _kernel(cell)
    best: dict[int, Any] = {}
    for seed in range(SEEDS):
        random = np.random.default_rng(100 + seed)
        x = _paired(cell.inputs, _draw(random, given.inputs, given_sizes, STEPS, ROWS))
        x = {name: 1.5 * value for name, value in x.items()}
        params = {n: 1.5 * v for n, v in _draw(random, cell.params, sizes).items()}
        state = {n: np.zeros((ROWS, *_lengths(s, sizes))) for n, s in cell.states.items()}
        run = kernel.forward(params, x, state=state)
        count = sum(value.size for value in params.values()) + 4
        for steps in range(1, STEPS + 1):
            rows = []
            for _ in range(count):
                d_outputs = {k: np.zeros(v.shape) for k, v in run.outputs.items()}
                for value in d_outputs.values():
                    value[:steps] = random.normal(size=value[:steps].shape)
                grads = kernel.backward(run, d_outputs).params
                rows.append(np.concatenate([np.ravel(grads[name]) for name in params]))
            found = _singular_values(np.array(rows))
            if steps not in best or _count(found) > _count(best[steps]):
                best[steps] = found
    return best


def _singular_values(jacobian: Any) -> Any:
    if not np.isfinite(jacobian).all():
        return np.zeros(0)
    values = np.linalg.svd(jacobian, compute_uv=False)
    return values / values[0] if values.size and values[0] > 0 else values
