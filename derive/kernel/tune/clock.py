"""Times of several contestants, taken in turn.

In: functions that take a sample each.  Out: `Times`: median, quartiles and processors kept busy.
Not here: where the samples are taken (bench/host.py), and whether results are right
(bench/agree.py).

A disturbance of the machine lasts longer than one call. So contestants take turns, in an order
that is turned round each time; each turn begins with a call that is not timed, which brings its
data back into the caches and wakes its threads, unless a call is so long that this does not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Seconds of a sample, at least: reading the clock takes a small part of it.
SAMPLE = 200e-6
#: The most calls in one sample.
CALLS = 64
#: A call that takes longer warms up on its own.
LONG = 0.1


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: seconds for each contestant, and least and most rounds."""

    seconds: float
    least: int
    most: int


FULL = Effort(seconds=0.2, least=3, most=31)
QUICK = Effort(seconds=0.02, least=3, most=5)


#: A contestant's turn: seconds of a call by the clock, and of all processors together.
Turn = Callable[[], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds a call: median and quartiles over rounds.

    processors: the median of processor time by time. Far below the number of threads, others
    were given the machine; above it, a library used more threads than it was asked to.
    """

    median: float
    low: float
    high: float
    rounds: int
    processors: float


class Clock:
    """Takes samples of one function. seconds: of a call, about; measured if left out."""

    def __init__(self, function: Callable[[], object], seconds: float | None = None) -> None:
        if seconds is None:
            function()
            start = time.perf_counter()
            function()
            seconds = time.perf_counter() - start
        self._function = function
        self._long = seconds > LONG
        self._calls = min(CALLS, 1 + int(SAMPLE / max(seconds, 1e-9)))

    def sample(self) -> tuple[float, float]:
        """Seconds of a call by the clock, and of all processors together."""
        if not self._long:
            self._function()
        processor, start = time.process_time(), time.perf_counter()
        for _ in range(self._calls):
            self._function()
        seconds = time.perf_counter() - start
        return seconds / self._calls, (time.process_time() - processor) / self._calls


def interleaved(turns: Sequence[Turn], effort: Effort) -> list[Times]:
    """Times of each contestant, all of them measured in turn."""
    return [_times(*zip(*found, strict=True)) for found in rounds(turns, effort)]


def rounds(turns: Sequence[Turn], effort: Effort) -> list[list[tuple[float, float]]]:
    """Of each contestant and each round: seconds a call, and processors kept busy."""
    samples: list[list[tuple[float, float]]] = [[] for _ in turns]
    order = list(range(len(turns)))
    limit = time.perf_counter() + effort.seconds * len(turns)
    for done in range(effort.most):
        if done >= effort.least and time.perf_counter() > limit:
            break
        for k in order:
            seconds, processor = turns[k]()
            samples[k].append((seconds, processor / seconds))
        order.reverse()
    return samples


def _times(samples: Sequence[float], busy: Sequence[float]) -> Times:
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Times(
        median=statistics.median(ordered),
        low=ordered[round(last / 4)],
        high=ordered[round(last * 3 / 4)],
        rounds=len(ordered),
        processors=statistics.median(busy),
    )
