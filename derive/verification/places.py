"""Sizes of calls: on both sides of each threshold of the generated texts.

In: a Step.  Out: `Place`s.
Not here: the options of calls (paths.py), odd sizes (sizes.py), the thresholds (emit/limits.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from derive.emit.limits import WIDEST_VECTOR, limit
from derive.kernel.numpy_backend import CHUNK_ROWS
from derive.program import Step
from derive.verification.points import small_sizes

#: Numbers of all arrays of all rows and steps of a place: a reference keeps some dozen of each.
MOST_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Sizes of calls, and how many options meet there in every combination. heavy: where a
    reference takes long, so that no cotangents are left out. low: also for the kernels with low
    thresholds."""

    sizes: Mapping[str, int]
    steps: int
    rows: int
    strength: int
    heavy: bool = False
    low: bool = True

    @property
    def label(self) -> str:
        dims = "".join(f" {dim}={length}" for dim, length in self.sizes.items())
        return f"T={self.steps} B={self.rows}{dims}"


def places(step: Step) -> tuple[Place, ...]:
    """Sizes on both sides of every threshold of the generated texts, or of its low value.

    Where arrays of a row have several axes, wide ones take turns: all of them at once would be
    more numbers than a machine holds.
    """
    dims = step.program.dims()
    chunk, early = limit("DK_CHUNK_ROWS").value, limit("DK_EARLY_ROWS").value
    high, each = limit("DK_OUTER_HEIGHT").value, limit("DK_ROWS_EACH").value
    lanes = WIDEST_VECTOR // 32
    longer = chunk + chunk // 8 + 1  # beyond a chunk, and no multiple of one

    def equal(width: int) -> dict[str, int]:
        return dict.fromkeys(dims, width)

    def apart(width: int) -> dict[str, int]:
        """No two dimensions alike."""
        return {dim: width + k for k, dim in enumerate(dims)}

    # Where a width is summed over, short arrays lose all digits: layer_norm of two numbers is +-1.
    few = min(small_sizes(step).values(), default=2)
    small = [
        Place(apart(few), 4, early - 1, 4),
        Place(equal(5), 5, early + 1, 3),
        Place(equal(4), 4, 4, 3),
    ]
    # Each number of rows that a tile can have, without and with a rest; widths on both sides of
    # whole vectors, of both precisions, and of what several of them hold.
    widths = (
        1, 3, lanes // 2, lanes // 2 + 1, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 1,
        3 * lanes + 1, 4 * lanes, 4 * lanes + 1, 6, 7,
    )  # fmt: skip
    rows = (1, 2, 3, 4, 5, 6, 7, 8, 9, 2 * each, 2 * each + 1, 3 * each, 3 * each + 1, 33)
    tiles = [
        Place(apart(width) if k % 2 else equal(width), 2 + k % 3, count, 2)
        for k, (width, count) in enumerate(zip(widths, rows, strict=True))
    ]
    # A single row has products of its own, with a loop for each number of vectors: quarters of the
    # widest ones are the narrowest.
    counts = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24)
    alone = [Place(apart(lanes // 4 * count + 1), 2, 1, 1) for count in counts]
    large = [
        Place(apart(few), longer, 1, 2, heavy=True, low=False),
        Place(apart(few), 3, longer + 40, 2, low=False),
        Place(apart(few + 1), 21, CHUNK_ROWS // 21 + 13, 2, low=False),
        Place(equal(few), 2, CHUNK_ROWS + 6, 2, low=False),
        Place(apart(8 * lanes + 1), 3, 5, 2, heavy=True, low=False),
        Place(equal(high + 32), 2, 4, 2, heavy=True, low=False),
    ]
    turns = [
        some[k % len(some)]
        for k, place in enumerate((*small, *tiles, *alone))
        if (some := _bounded(step, place, few))
    ]
    return (*turns, *(one for place in large for one in _bounded(step, place, few)))


def _bounded(step: Step, place: Place, few: int) -> tuple[Place, ...]:
    """The place, or places at which one dimension, or both of a matrix, have its widths."""
    if numbers_at(step, place) <= MOST_NUMBERS:
        return (place,)
    dims, arrays = step.program.dims(), step.program.arrays
    shared = [a.shape[-2:] for a in arrays if not a.per_row and len(a.shape) > 1]
    pairs = dict.fromkeys(frozenset(d for d in shape if isinstance(d, str)) for shape in shared)
    found: dict[frozenset[str], Place] = {}
    for wide in sorted((*pairs, *(frozenset((dim,)) for dim in dims)), key=len, reverse=True):
        sizes = {d: place.sizes[d] if d in wide else few + k for k, d in enumerate(dims)}
        one = replace(place, sizes=sizes)
        if any(wide <= more for more in found):
            continue
        for rows in (place.rows,) if len(wide) > 1 else (place.rows, 1):
            if numbers_at(step, one := replace(one, rows=rows)) <= MOST_NUMBERS:
                found[wide] = one
                break
    return tuple(found.values())


def numbers_at(step: Step, place: Place) -> int:
    """Of all arrays that belong to rows, at all rows and steps."""
    shapes = [array.shape for array in step.program.arrays if array.per_row]
    lengths = [[place.sizes[d] if isinstance(d, str) else d for d in shape] for shape in shapes]
    return sum(map(prod, lengths)) * place.rows * place.steps
