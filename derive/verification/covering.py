"""Choices of options that contain every combination of so many of them.

In: {option: its values}, a strength.  Out: a tuple of choices {option: value}, the same every time.
Not here: what the options mean (paths.py).

With strength s every s options take all combinations of their values together in some choice: a
covering array (Cohen, Dalal, Fredman & Patton 1997, The AETG system). What goes wrong only where s
options meet is met, in far fewer calls than all combinations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations, product
from typing import Any

from derive.verification.points import Random

_Choice = tuple[int, ...]
#: Candidates of which the one that covers most is taken.
_TRIED = 12


def covering(options: Mapping[str, Sequence[Any]], strength: int) -> Iterator[dict[str, Any]]:
    names = tuple(options)
    for row in _rows(tuple(len(options[name]) for name in names), min(strength, len(names))):
        yield {name: options[name][k] for name, k in zip(names, row, strict=True)}


@cache
def _rows(counts: tuple[int, ...], strength: int) -> tuple[_Choice, ...]:
    """Numbers of values, one row a choice."""
    groups = tuple(combinations(range(len(counts)), strength))
    missing = {
        (group, values)
        for group in groups
        for values in product(*(range(counts[k]) for k in group))
    }
    if strength == len(counts):
        return tuple(product(*map(range, counts)))
    random, rows = Random(0, 70, strength, *counts), []
    while missing:
        start = min(missing)
        best: tuple[int, _Choice] = (-1, ())
        for _ in range(_TRIED):
            row = [random.choice(range(count)) for count in counts]
            for k, value in zip(*start, strict=True):
                row[k] = value
            new = sum((g, tuple(row[k] for k in g)) in missing for g in groups)
            best = max(best, (new, tuple(row)))
        rows.append(best[1])
        missing -= {(g, tuple(best[1][k] for k in g)) for g in groups}
    return tuple(rows)
