"""An independent check that arrays of two cells correspond: both in numbers, with gradients.

In: two cells' parts, and names of the first one's arrays for the second's.  Out: `Confirmed`.
Not here: how the names were found. The cells are run by the interpreter, their derived gradients by
interpretation; this file shares no rule with the proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from derive.comparison.indexed import Names, Put
from derive.comparison.widths import shape_of
from derive.derivative import reverse_step
from derive.verification.reference import Point, run
from derive.verification.through_time import backpropagate, backward_of

if TYPE_CHECKING:
    from derive.comparison.equal_axes import Parts

STEPS, ROWS, ROUNDING = 3, 2, 1e-9
#: (what numbers are drawn, how large), one point each; see _draw.
KINDS = (
    ("ordinary", 1.0), ("ties", 1.0), ("zeros", 0.0), ("ordinary", 0.3), ("ties", 2.0),
    ("ordinary", 2.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Confirmed:
    """apart: where the two differ, "" if nowhere; error: the largest relative difference."""

    apart: str
    error: float


def confirm(a: Parts, b: Parts, names: Names) -> Confirmed:
    """At points of several kinds, in widths from 1 to 7: outputs, last states, gradients."""
    error = 0.0
    times = Counter(mine for mine, _ in names.arrays.values())
    back = [backward_of(reverse_step(cell.step)) for cell in (a, b)]
    for seed, (kind, scale) in enumerate(KINDS):
        random = np.random.default_rng(seed)
        one = _point(a, random, kind, scale, seed)
        # A state that no output depends on corresponds to none, so nothing is asked of its end.
        told = {mine for mine, _ in names.arrays.values()}
        ends = {n: d if n in told else np.zeros_like(d) for n, d in one.d_states.items()}
        one = replace(one, d_states=ends)
        sizes = {dim: one.sizes.get(str(names.dim(dim)), 2) for dim in b.step.program.dims()}
        two = _told(b, one, names, sizes, a)
        with np.errstate(all="ignore"):
            runs = run(a.step, one), run(b.step, two)
            pulled = [
                backpropagate(own, at, ran)
                for own, at, ran in zip(back, (one, two), runs, strict=True)
            ]
        pairs: list[tuple[str, Any, Any, tuple[int, ...] | None]] = [
            (f"output {mine}", runs[0].outputs[mine], runs[1].outputs[theirs], None)
            for mine, theirs in zip(a.step.outputs, b.step.outputs, strict=True)
        ]
        for theirs, (mine, axes) in names.arrays.items():
            if theirs in b.states:
                pairs.append(
                    (
                        f"state {mine}",
                        runs[0].states[mine],
                        runs[1].states[theirs],
                        axes,
                    )
                )
            plain = theirs not in b.less.put and mine not in a.less.told
            if not plain or len(axes) != len(b.shapes[theirs]) or times[mine] > 1:
                continue  # its gradient is that of several
            sign = -1.0 if theirs in names.minus else 1.0
            pairs.append((f"gradient of {mine}", pulled[0][mine], sign * pulled[1][theirs], axes))
        for what, left, right, lie in pairs:
            off = _off(left, right if lie is None else _turned(right, lie))
            if not off <= ROUNDING:
                return Confirmed(f"{what} at {kind} numbers, by {off:.1e}", off)
            error = max(error, off)
    return Confirmed("", error)


def _turned(value: Any, axes: tuple[int, ...]) -> Any:
    """The axes of b's array in the order of a's; those before them stay."""
    ahead = value.ndim - len(axes)
    return value.transpose(*range(ahead), *(ahead + axis for axis in axes))


def _lying(value: Any, axes: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """An array of a as one of b: its axes are at those of b, and it is repeated along others."""
    ahead = value.ndim - len(axes)
    order = sorted(range(len(axes)), key=lambda k: axes[k])
    value = value.transpose(*range(ahead), *(ahead + k for k in order))
    spread = tuple(slice(None) if k in axes else np.newaxis for k in range(len(shape)))
    return np.broadcast_to(value[(..., *spread)], (*value.shape[:ahead], *shape))


def _less(a: Parts, params: Mapping[str, Any], name: str) -> Any:
    """A parameter of the cell with fewer of them."""
    value, told = params[name], a.less.told.get(name)
    if told is None:
        return value
    value = value * float(told.factor)
    for other, axes in told.times:
        value = value * _lying(params[other], axes, value.shape)
    for other, axes in told.plus:
        value = value + _lying(params[other], axes, value.shape)
    return value + float(told.shift)


def _draw(random: Any, kind: str, scale: float, shape: tuple[int, ...]) -> Any:
    """ties: whole numbers, of which many are equal."""
    if kind == "ties":
        return random.integers(-1, 2, shape) * scale
    return random.uniform(-1, 1, shape) * scale


def _point(cell: Parts, random: Any, kind: str, scale: float, seed: int) -> Point:
    dims = cell.step.program.dims()
    sizes = {dim: 1 + (2 * k + seed) % 7 if seed != 1 else 1 for k, dim in enumerate(dims)}

    def drawn(group: Mapping[str, Any], *ahead: int) -> dict[str, Any]:
        return {
            n: 1.0 * _draw(random, kind, scale, (*ahead, *shape_of(s, sizes)))
            for n, s in group.items()
        }

    weights = {
        name: random.uniform(0.5, 1.5, (STEPS, ROWS, *shape_of(cell.shapes[name], sizes)))
        for name in cell.step.outputs
    }
    return Point(
        sizes, STEPS, ROWS, drawn(cell.params), drawn(cell.inputs, STEPS, ROWS),
        drawn(cell.states, ROWS), weights,
        {n: random.uniform(0.5, 1.5, (ROWS, *shape_of(s, sizes))) for n, s in cell.states.items()},
    )  # fmt: skip


def _told(b: Parts, one: Point, names: Names, sizes: Mapping[str, int], a: Parts) -> Point:
    """The same point for the second cell; what does not correspond is 0."""

    def group(mine: Mapping[str, Any], theirs: Mapping[str, Any], *ahead: int) -> dict[str, Any]:
        found = {}
        for name, shape in theirs.items():
            lengths = shape_of(shape, sizes)
            own, axes = names.arrays.get(name, ("", ()))
            put = b.less.put.get(name, Put())
            if put.number is not None or own not in mine:
                found[name] = np.full((*ahead, *lengths), float(put.number or 0))
                continue
            value = _less(a, mine, own) if own in a.params else mine[own]
            sign = (-1.0 if name in names.minus else 1.0) * float(put.factor)
            found[name] = sign * _lying(value, axes, lengths) + float(put.shift)
        return found

    weights = {
        theirs: one.d_outputs[mine]
        for mine, theirs in zip(a.step.outputs, b.step.outputs, strict=True)
    }
    return Point(
        sizes, one.steps, one.rows, group(one.params, b.params),
        group(one.inputs, b.inputs, STEPS, ROWS), group(one.states, b.states, ROWS), weights,
        group(one.d_states, b.states, ROWS),
    )  # fmt: skip


def _off(one: Any, other: Any) -> float:
    """The largest difference, relative to the numbers; infinite where one alone is a number."""
    if one.shape != other.shape:
        return float("inf")
    numbers = np.isfinite(one), np.isfinite(other)
    if (numbers[0] != numbers[1]).any():
        return float("inf")
    one, other = one[numbers[0]], other[numbers[0]]
    if not one.size:
        return 0.0
    return float(np.abs(one - other).max() / max(np.abs(one).max(), 1.0))
