"""How far the results of a call may be off, from what random roundings did to the reference.

In: arrays and their errors in the runs of noise.py.  Out: `Results`.
Not here: which arrays (expected.py), what is compared with them (paths.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.verification.noise import SAMPLES, Noisy
from derive.verification.reference import Arrays

#: A result may be this many times as far off as the samples were, root mean square. Six samples of
#: a normal error understate it threefold in one of 500 arrays; what remains is four deviations.
MARGIN = 12.0
#: Roundoffs of the reference itself, whose rows are scaled.
OWN = 3.0


@dataclass(frozen=True, slots=True)
class Results:
    """Arrays one behind the other, each element with its root mean square error in roundoffs; and
    for each array the same of its norm and of its mean along itself, <error, array>."""

    names: tuple[str, ...]
    starts: Any
    shapes: tuple[tuple[int, ...], ...]
    wanted: Any
    element: Any
    norm: Any
    along: Any


def results(wanted: Arrays, errors: Mapping[str, Any]) -> Results:
    """wanted: {name: array}; errors: {name: [SAMPLES, ...]}, in units of roundoff."""
    names = tuple(wanted)
    flat = [np.ravel(wanted[name]) for name in names]
    element, norm, along = [], [], []
    for name, array in zip(names, flat, strict=True):
        error = errors[name].reshape(SAMPLES, -1)
        squares = (error * error).mean(axis=0)
        # Twice, for there are many elements; what six samples miss of one shows in the others.
        element.append(2 * np.sqrt(squares + 0.25 * squares.mean()) + OWN / MARGIN * abs(array))
        norm.append(math.sqrt(squares.sum()) + OWN / MARGIN * _norm(array))
        # A state at rest is rounded alike in every step: along an array errors need not cancel.
        spread = float(np.sqrt(squares) @ abs(array))
        along.append(spread + OWN / MARGIN * _norm(array) ** 2)
    starts = np.cumsum([0, *(a.size for a in flat)])[:-1]
    shapes = tuple(np.shape(wanted[name]) for name in names)
    whole = np.concatenate(flat), np.concatenate(element)
    return Results(names, starts, shapes, *whole, np.array(norm), np.array(along))


def _norm(array: Any) -> float:
    return float(np.sqrt(np.sum(array * array)))


def of_runs(arrays: Mapping[str, Noisy], part: int) -> Results:
    """Those of one part of arrays in random roundings."""
    return results(
        {name: array.exact[part] for name, array in arrays.items()},
        {name: array.errors[part] for name, array in arrays.items()},
    )


def exactly(arrays: Arrays) -> Results:
    """Arrays that nothing rounds."""
    return results(arrays, {n: np.zeros((SAMPLES, *np.shape(a))) for n, a in arrays.items()})
