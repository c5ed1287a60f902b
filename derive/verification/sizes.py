"""Odd sizes: the lengths at which loops, tails and vectors go wrong.

In: a Step and a seed.  Out: `Case`s, each a set of sizes with lengths and a direction.
Not here: what is checked at them.

Over the cases of one run every dimension and the number of rows takes every length of `LENGTHS`
once, in an order of its own that the seed decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.program import Step
from derive.verification.points import Random

LENGTHS = (1, 2, 3, 5, 15, 16, 17, 33, 64, 100)
_SHORT = (1, 2, 3, 5)
_LONG = ((15, 16, 17, 33), (64, 100))


@dataclass(frozen=True, slots=True)
class Case:
    sizes: Mapping[str, int]
    steps: int
    rows: int
    lengths: Any
    reverse: bool

    @property
    def label(self) -> str:
        dims = "".join(f" {dim}={length}" for dim, length in self.sizes.items())
        more = " lengths" if self.lengths is not None else ""
        return f"T={self.steps} B={self.rows}{dims}{more}{' reverse' if self.reverse else ''}"


def cases(step: Step, seed: int, *, quick: bool) -> tuple[Case, ...]:
    random = Random(seed, 60)
    dims = step.program.dims()
    pool = LENGTHS[:7] if quick else LENGTHS
    orders = [random.order(pool) for _ in dims]
    count = 3 if quick else len(LENGTHS)
    drawn = [[order[k] for order in orders] for k in range(count)]
    # Many rows meet narrow arrays, few rows wide ones: all lengths are seen, at little work.
    by_width = sorted(range(count), key=lambda k: -int(np.prod(drawn[k])))
    for rows, k in zip(sorted(random.order(pool)[:count]), by_width, strict=True):
        drawn[k].append(rows)
    steps = [random.choice(_SHORT) for _ in drawn]
    if quick:
        steps = [1, 2, 3]
    else:
        # Long sequences go to the smallest arrays: the reference is slow, and T is not H.
        by_work = sorted(range(count), key=lambda k: int(np.prod(drawn[k])))
        for k, choices in zip(by_work, _LONG, strict=False):
            steps[k] = random.choice(choices)
    found = []
    for k, (t, drawn_sizes) in enumerate(zip(steps, drawn, strict=True)):
        rows = drawn_sizes[-1]
        sizes = dict(zip(dims, drawn_sizes, strict=False))
        lengths: Any = None
        if k % 2:
            lengths = np.array([random.choice(range(t + 1)) for _ in range(rows)])
            lengths[0] = t
            lengths[-1] = 0 if rows > 1 else t
        found.append(Case(sizes, t, rows, lengths, k % 3 == 1))
    return tuple(found)
