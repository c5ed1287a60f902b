"""What a race says.

In: outcomes.  Out: medians and quartiles; of each cell against the first one a verdict.
Not here: how that is shown (report.py).

Seeds are pairs: both cells see the same batches of the task. Whether their difference is more than
what seeds make of it is a paired t test (Student 1908) of the metric's logarithm, since metrics
differ by factors, and what diverged is worse than all else; Holm's correction (1979) for as many
comparisons as the race has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, median_low, stdev

import mpmath

from derive.race.trial import Outcome

LEVEL = 0.05
#: Metrics are taken to lie between: an error of 0 has no logarithm, nor has a model that diverged.
_FLOOR, _CEILING = 1e-6, 1e6

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference seen"


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the seeds of one cell in one task. final: median, and the quartiles; solved: the median
    step at which the task was solved, and seconds, None where fewer than half did."""

    final: float
    quartiles: tuple[float, float]
    params: int
    seconds: float
    solved: float | None
    solved_seconds: float | None
    count: int
    solved_count: int
    diverged: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a cell against the first one. ratio: the median of its metric over the other's, by seeds;
    wins: in how many seeds it is less; p: of the paired test, corrected."""

    cell: str
    against: str
    task: str
    what: str
    ratio: float
    wins: int
    count: int
    p: float


def summary(outcomes: Sequence[Outcome]) -> Summary:
    finals = [outcome.final for outcome in outcomes]
    low, high = _quartile(finals, 1), _quartile(finals, 3)
    # A seed that did not solve it would have solved it later than any other.
    step = median_low(math.inf if o.solved is None else o.solved for o in outcomes)
    second = median_low(math.inf if o.solved is None else o.solved_seconds or 0.0 for o in outcomes)
    return Summary(
        median(finals), (low, high), outcomes[0].params,
        median(outcome.seconds for outcome in outcomes),
        step if math.isfinite(step) else None,
        second if math.isfinite(second) else None,
        len(outcomes), sum(o.solved is not None for o in outcomes),
        sum(o.diverged for o in outcomes),
    )  # fmt: skip


def _quartile(values: Sequence[float], which: int) -> float:
    """On the line between its neighbours, as numpy.quantile; infinite where one that counts is."""
    ordered = sorted(values)
    at, part = divmod(which * (len(ordered) - 1), 4)
    if not part:
        return ordered[at]
    return (ordered[at] * (4 - part) + ordered[at + 1] * part) / 4


def verdicts(results: Mapping[tuple[str, str], Sequence[Outcome]]) -> list[Verdict]:
    """results: {(cell, task): outcomes in the order of the seeds}; of each cell but the first."""
    cells = list(dict.fromkeys(cell for cell, _ in results))
    tasks = list(dict.fromkeys(task for _, task in results))
    raw = []
    for task in tasks:
        first = list(map(_logarithm, results[cells[0], task]))
        for cell in cells[1:]:
            own = list(map(_logarithm, results[cell, task]))
            raw.append((cell, task, [a - b for a, b in zip(own, first, strict=True)]))
    corrected = holm([paired_t(differences) for _, _, differences in raw])
    found = []
    for (cell, task, differences), p in zip(raw, corrected, strict=True):
        middle = median(differences)
        what = NO_DIFFERENCE
        if p < LEVEL:
            what = BETTER if mean(differences) < 0 else WORSE
        wins = sum(difference < 0 for difference in differences)
        found.append(
            Verdict(cell, cells[0], task, what, math.exp(middle), wins, len(differences), p)
        )
    return found


def _logarithm(outcome: Outcome) -> float:
    """Of the final metric; what diverged is worse than anything that did not."""
    if outcome.diverged:
        return math.log(_CEILING)
    return math.log(min(max(outcome.final, _FLOOR), _CEILING))


def paired_t(differences: Sequence[float]) -> float:
    """The probability of a mean as far from 0, of normal differences around 0; 1 of one alone.

    Differences that are all equal have no spread to compare with: then it is the sign test's.
    """
    count = len(differences)
    if count < 2:
        return 1.0
    spread = stdev(differences)
    if spread <= 1e-9 * abs(mean(differences)):  # equal but for rounding
        return 1.0 if mean(differences) == 0 else 0.5 ** (count - 1)
    t = mean(differences) / (spread / math.sqrt(count))
    free = count - 1
    return float(mpmath.betainc(free / 2, 0.5, 0, free / (free + t * t), regularized=True))


def holm(ps: Sequence[float]) -> list[float]:
    """Corrected for all of them, in their order."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    found, largest = [0.0] * len(ps), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[k]))
        found[k] = largest
    return found
