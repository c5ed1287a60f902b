"""Whether the layers of a stack run side by side, and by how many threads.

In: the layers of a stack, a number of threads.  Out: a `Way`, or None where layer after layer, each
by all threads, is sooner.
Not here: running them (stack.py), when threads share one layer (team.py).

Two times are compared, in multiply-adds of one thread. Side by side: what a list of tasks takes if
each thread takes the next one that may begin. One after another: each layer in the time of one
thread, divided by what sharing it gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.kernel.stack import Layer
from derive.kernel.team import ROWS_EACH, SHORT_CALL, WAKING_CALL, pays, work

#: What a second thread adds that shares the units of each step, and so waits for the first in each;
#: one that shares rows waits once a chunk. Measured: 0.3 to 0.5 at 128 units and eight rows.
OF_UNITS = 0.4
OF_ROWS = 0.9
#: Of the time of layer after layer: what takes longer than that side by side does not gain enough.
WORTH = 0.9
#: Rows of all steps of a part, and its steps at least: enough for the products with inputs before
#: the loop to read each weight for several rows, few enough for the layer above to begin soon.
PART_ROWS, PART_STEPS = 8, 4


@dataclass(frozen=True, slots=True)
class Way:
    """team: threads that take part.  patient: whether to wait until they are awake.  steps: of a
    part; 0: layers begin when those below have ended."""

    team: int = 1
    patient: bool = True
    steps: int = 0


def way_of(
    layers: Sequence[Layer], threads: int, shares_well: bool = False, *, backward: bool = False
) -> Way | None:
    """shares_well: threads that share a layer meet once a chunk of steps.  backward: of the passes
    from the last layer to the first, which follow each other by whole chunks."""
    if threads < 2:
        return Way()
    sizes = layers[0].call.sizes
    steps = max(PART_ROWS // max(sizes.rows, 1), PART_STEPS)
    part = layers[0].backend.chunk_steps(sizes) if backward else steps
    works = [work(layer.call, layer.signature) * sizes.steps * sizes.rows for layer in layers]
    together = sum(
        one / (1 + _gain(layer, threads, shares_well))
        for one, layer in zip(works, layers, strict=True)
    )
    beside = _finished(_tasks(layers, works, backward), threads, part / max(sizes.steps, 1))
    if sum(works) < SHORT_CALL or beside >= WORTH * together:
        return None if together < sum(works) else Way()
    return Way(min(threads, len(layers)), sum(works) >= WAKING_CALL, steps)


def _gain(layer: Layer, threads: int, shares_well: bool) -> float:
    if not pays(layer.call, threads, layer.signature, shares_well, layer.meetings):
        return 0
    by_rows = shares_well or layer.call.sizes.rows // threads >= ROWS_EACH
    return (threads - 1) * (OF_ROWS if by_rows else OF_UNITS)


#: What a task takes, and the earlier ones that it reads from.
_Task = tuple[float, tuple[int, ...]]


def _tasks(layers: Sequence[Layer], works: Sequence[float], backward: bool) -> list[_Task]:
    if not backward:
        return [(own, layer.reads) for layer, own in zip(layers, works, strict=True)]
    last = len(layers) - 1
    readers = [
        tuple(last - k for k, other in enumerate(layers) if number in other.reads)
        for number in range(len(layers))
    ]
    return [(works[k], readers[k]) for k in reversed(range(len(layers)))]


def _finished(tasks: Sequence[_Task], threads: int, part: float) -> float:
    """When the last of them is complete. part: of a task, by which the only one that it reads from
    has to be ahead."""
    free = [0.0] * threads
    ends: list[float] = []
    for own, reads in tasks:
        begin = min(free)
        end = begin + own
        for k in reads:
            follows = ends[k] + min(part, 1) * own
            end = max(end, follows if len(reads) == 1 else max(begin, ends[k]) + own)
        ends.append(end)
        free[free.index(begin)] = end
    return max(ends)
