"""How many dimensions the functions of a cell fill: a proof that another cannot compute them.

In: two Cells.  Out: a `Rank` that proves that one cannot compute the other, or None.
Not here: fits (fits.py), maps (one_direction.py), what follows (equal.py).

The outputs on fixed inputs are a function of the parameters, smooth but for kinks. Where its
Jacobian has r independent rows, the outputs fill an r-dimensional piece; those of a cell with q
parameters never fill more than q dimensions. So r > q proves that some outputs of the first cell
are none of the second's, for any map between the parameters.

That the r rows are independent is proved in interval arithmetic (balls.py): an approximate
inverse X of the r x r matrix J is computed, and the largest row sum of |I - X J| is bounded by a
number below 1. Numbers of a singular value that is small prove nothing and are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.comparison.balls import BALLS, Ball, Open, lift, matmul, total
from derive.comparison.widths import lengths, paired, shape_of
from derive.program import Layout, Map, Matmul, Program, Step, Sum
from derive.symbolic import functions

ROWS, STEPS = 12, 4
#: Widths at which a proof is tried, smallest first; and points for each.
WIDTHS, SEEDS = ((2, 2), (3, 2)), 2


@dataclass(frozen=True, slots=True)
class Rank:
    """In `steps` steps source fills `source_rank` dimensions at least, target no more than it
    has parameters, `target_rank`. sizes: of the source; residual: the bound on |I - X J|."""

    source: str
    target: str
    steps: int
    sizes: Mapping[str, int]
    source_rank: int
    target_rank: int
    residual: float


def excludes(source: Cell, target: Cell) -> Rank | None:
    """A proof that no parameters of `target` compute what `source` computes."""
    if not source.params:
        return None
    for hidden, inputs in WIDTHS:
        both = lengths(source, target, hidden, inputs)
        if both is None:
            return None
        here, there = both
        most = _count(target, there)
        if _count(source, here) <= most:
            continue
        for seed in range(SEEDS):
            found = _rank(source, here, seed, most + 1)
            if found is not None:
                rank, steps, residual = found
                return Rank(source.name, target.name, steps, here, rank, most, residual)
    return None


def _count(cell: Cell, sizes: Mapping[str, int]) -> int:
    """Parameters that an output depends on, by number."""
    step = cell.step
    used = {*step.next_states, *step.outputs}
    for equation in reversed(step.program.equations):
        if equation.out in used:
            used.update(equation.operands)
    return sum(
        int(np.prod(shape_of(shape, sizes))) for name, shape in cell.params.items() if name in used
    )


def _rank(
    cell: Cell, sizes: Mapping[str, int], seed: int, enough: int
) -> tuple[int, int, float] | None:
    """A number of independent rows of the Jacobian that is proved, at least `enough`."""
    random = np.random.default_rng(100 + seed)
    params = {
        name: random.uniform(-1.5, 1.5, shape_of(shape, sizes)).round(6)
        for name, shape in cell.params.items()
    }
    inputs = {
        name: random.uniform(-1.5, 1.5, (STEPS, ROWS, *shape_of(shape, sizes))).round(6)
        for name, shape in cell.inputs.items()
    }
    try:
        with np.errstate(all="ignore"):
            jacobians = _jacobian(cell.step, params, inputs, sizes)
    except Open:
        return None
    for steps in range(1, STEPS + 1):
        whole = np.concatenate([j.mid for j in jacobians[:steps]], axis=1)
        radius = np.concatenate([j.rad for j in jacobians[:steps]], axis=1)
        if not (np.isfinite(whole).all() and np.isfinite(radius).all()):
            return None
        order, rank = _pivots(whole)
        if rank < enough:
            continue
        rows, columns = order[0][:enough], order[1][:enough]
        part = Ball(whole[np.ix_(rows, columns)], radius[np.ix_(rows, columns)])
        residual = _residual(part)
        if residual < 1:
            return enough, steps, residual
    return None


def _pivots(matrix: Any) -> tuple[tuple[list[int], list[int]], int]:
    """Rows and columns in the order of complete pivoting, and how many pivots are not tiny."""
    left = matrix.copy()
    scale = np.abs(left).max(axis=1, keepdims=True)
    left = left / np.where(scale == 0, 1, scale)
    rows, columns = [], []
    for _ in range(min(left.shape)):
        row, column = np.unravel_index(np.argmax(np.abs(left)), left.shape)
        pivot = left[row, column]
        if abs(pivot) < 1e-9:
            break
        rows.append(int(row))
        columns.append(int(column))
        left = left - np.outer(left[:, column], left[row]) / pivot
        left[row], left[:, column] = 0, 0
    return (rows, columns), len(rows)


def _residual(part: Ball) -> float:
    """A bound on the largest row sum of |I - X J| over all J in the ball; infinite if none."""
    try:
        inverse = np.linalg.inv(part.mid)
    except np.linalg.LinAlgError:
        return float("inf")
    product = matmul(inverse, part)
    left = lift(np.eye(part.shape[0])) + product * -1.0
    bound = float((abs(left.mid) + left.rad).sum(axis=1).max() * (1 + 1e-9))
    return bound if np.isfinite(bound) else float("inf")


# --- the Jacobian in balls ------------------------------------------------------------------


def _jacobian(
    step: Step, params: Mapping[str, Any], inputs: Mapping[str, Any], sizes: Mapping[str, int]
) -> list[Ball]:
    """Of each step: [parameters, outputs of all rows], by forward mode from zero states."""
    count = sum(value.size for value in params.values())
    table = step.program.table()
    at, unit = 0, {}
    for name, value in params.items():
        own = np.zeros((count, value.size))
        own[at : at + value.size] = np.eye(value.size)
        unit[name] = Ball(own.reshape(count, *value.shape))
        at += value.size
    states = {s: Ball(np.zeros((ROWS, *shape_of(table[s].shape, sizes)))) for s in step.states}
    moving = {
        s: Ball(np.zeros((count, ROWS, *shape_of(table[s].shape, sizes)))) for s in step.states
    }
    found = []
    for t in range(STEPS):
        values: dict[str, Ball] = {name: Ball(value) for name, value in params.items()}
        values |= {name: Ball(value[t]) for name, value in inputs.items()} | states
        walk = _Forward(step.program, values, {**unit, **moving}, sizes)
        walk.run()
        states = {s: walk.values[n] for s, n in zip(step.states, step.next_states, strict=True)}
        moving = {s: walk.tangent(n) for s, n in zip(step.states, step.next_states, strict=True)}
        parts = [walk.tangent(name) for name in step.outputs]
        found.append(
            Ball(
                np.concatenate([p.mid.reshape(count, -1) for p in parts], axis=1),
                np.concatenate([p.rad.reshape(count, -1) for p in parts], axis=1),
            )
        )
    return found


class _Forward:
    """Values, and tangents with an axis of directions before the others."""

    def __init__(
        self,
        program: Program,
        values: dict[str, Ball],
        tangents: dict[str, Ball],
        sizes: Mapping[str, int],
    ) -> None:
        self.program, self.values, self.tangents, self.sizes = program, values, tangents, sizes
        self.table = program.table()
        self.count = next(iter(tangents.values())).shape[0]

    def tangent(self, name: str) -> Ball:
        if name in self.tangents:
            return self.tangents[name]
        return Ball(np.zeros((self.count, *self.values[name].shape)))

    def run(self) -> None:
        for equation in self.program.equations:
            out = self.table[equation.out]
            shape = shape_of(out.shape, self.sizes)
            shape = (ROWS, *shape) if out.per_row else shape
            moving = [n for n in equation.operands if n in self.tangents]
            slope: Ball | None = None
            if isinstance(equation, Map):
                value = BALLS.evaluate(equation.expr, self.values, self.sizes)
                for name in moving:
                    partial = functions.partial(equation.expr, functions.symbol(name))
                    if partial != 0:
                        factor = lift(BALLS.evaluate(partial, self.values, self.sizes))
                        part = self._spread(self.tangents[name], name, out.per_row) * factor
                        slope = part if slope is None else slope + part
            elif isinstance(equation, Sum):
                value, slope = self._sum(equation, moving)
            else:
                value, slope = self._product(equation)
            self.values[equation.out] = BALLS.broadcast(value, shape)
            if slope is not None:
                self.tangents[equation.out] = BALLS.broadcast(slope, (self.count, *shape))

    def _spread(self, tangent: Ball, name: str, per_row: bool) -> Ball:
        """With an axis of rows, where the result has one and it has none."""
        if per_row and not self.table[name].per_row:
            return tangent[:, np.newaxis]
        return tangent

    def _sum(self, equation: Sum, moving: list[str]) -> tuple[Ball, Ball | None]:
        source, out = self.table[equation.source], self.table[equation.out]
        value = self.values[equation.source]
        slope = self.tangents[equation.source] if moving else None
        if source.shape != out.shape:
            value = total(value, -1)[..., np.newaxis]
            slope = None if slope is None else total(slope, -1)[..., np.newaxis]
        return value, slope

    def _product(self, equation: Matmul) -> tuple[Ball, Ball | None]:
        turned = equation.layout is Layout.TRANSPOSED
        matrix, vector = self.values[equation.left], self.values[equation.right]
        own = matrix if turned else matrix.T
        value = matmul(vector, own)
        slope = None
        if equation.right in self.tangents:
            slope = matmul(self.tangents[equation.right], own)
        if equation.left in self.tangents:
            moved = self.tangents[equation.left]
            moved = (
                moved
                if turned
                else Ball(np.swapaxes(moved.mid, 1, 2), np.swapaxes(moved.rad, 1, 2))
            )
            shared = len(vector.shape) == 1
            rows = vector[np.newaxis] if shared else vector
            part = matmul(rows, moved)
            part = part[:, 0] if shared else part
            slope = part if slope is None else slope + part
        return value, slope


__all__ = ["Rank", "excludes", "paired"]
