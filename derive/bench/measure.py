"""Times of several contestants, taken in turn.

In: functions without arguments.  Out: `Times`: median, quartiles and processors kept busy.
Not here: what the functions do, and whether they are right (agree.py).

Whatever disturbs a machine lasts longer than one call. So contestants take turns, in an order
that is turned round each time; each turn begins with a call that is not timed, which brings its
data back into the caches and lets threads of the one before come to rest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: A sample is at least this long, so that the clock does not count.
SAMPLE = 200e-6
#: The most calls in one sample.
CALLS = 64


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: seconds for each contestant, and least and most rounds."""

    seconds: float
    least: int
    most: int


FULL = Effort(seconds=0.5, least=5, most=41)
QUICK = Effort(seconds=0.02, least=3, most=5)


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


def interleaved(functions: Sequence[Callable[[], object]], effort: Effort) -> list[Times]:
    """Times of each function, all of them measured in turn."""
    calls = [_calls(function) for function in functions]
    samples: list[list[float]] = [[] for _ in functions]
    busy: list[list[float]] = [[] for _ in functions]
    turns = list(range(len(functions)))
    limit = time.perf_counter() + effort.seconds * len(functions)
    for done in range(effort.most):
        if done >= effort.least and time.perf_counter() > limit:
            break
        for turn in turns:
            seconds, processor = _sample(functions[turn], calls[turn])
            samples[turn].append(seconds)
            busy[turn].append(processor / seconds)
        turns.reverse()
    return [_times(s, b) for s, b in zip(samples, busy, strict=True)]


def _calls(function: Callable[[], object]) -> int:
    """Calls in one sample: enough for the clock."""
    function()
    start = time.perf_counter()
    function()
    return min(CALLS, 1 + int(SAMPLE / max(time.perf_counter() - start, 1e-9)))


def _sample(function: Callable[[], object], calls: int) -> tuple[float, float]:
    function()
    processor, start = time.process_time(), time.perf_counter()
    for _ in range(calls):
        function()
    seconds = time.perf_counter() - start
    return seconds / calls, (time.process_time() - processor) / calls


def _times(samples: list[float], busy: list[float]) -> Times:
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Times(
        median=statistics.median(ordered),
        low=ordered[round(last / 4)],
        high=ordered[round(last * 3 / 4)],
        rounds=len(ordered),
        processors=statistics.median(busy),
    )
