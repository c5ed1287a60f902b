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

from derive.kernel.signature import Signature
from derive.kernel.stack import Layer
from derive.kernel.team import ROWS_EACH, SHORT_CALL, WAKING_CALL, pays, work

#: What a second thread adds that shares the units of each step, and so waits for the first in each;
#: one that shares rows waits once a chunk. Measured: 0.3 to 0.5 at 128 units and eight rows.
OF_UNITS = 0.4
OF_ROWS = 0.9
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


def way_of(layers: Sequence[Layer], threads: int, shares_well: bool = False) -> Way | None:
    """shares_well: threads that share a layer meet once a chunk of steps."""
    if threads < 2:
        return Way()
    sizes = layers[0].call.sizes
    steps = max(PART_ROWS // max(sizes.rows, 1), PART_STEPS)
    part = steps / max(sizes.steps, 1)
    works = [work(layer.call, layer.signature) * sizes.steps * sizes.rows for layer in layers]
    together = sum(
        one / (1 + _gain(layer, threads, shares_well))
        for one, layer in zip(works, layers, strict=True)
    )
    beside = _finished(layers, works, threads, part)
    if sum(works) < SHORT_CALL or beside >= together:
        return None if together < sum(works) else Way()
    return Way(min(threads, len(layers)), sum(works) >= WAKING_CALL, steps)


def _gain(layer: Layer, threads: int, shares_well: bool) -> float:
    own: Signature = layer.signature
    if not pays(layer.call, threads, own, shares_well, layer.backend._meetings):
        return 0
    by_rows = shares_well or layer.call.sizes.rows // threads >= ROWS_EACH
    return (threads - 1) * (OF_ROWS if by_rows else OF_UNITS)


def _finished(layers: Sequence[Layer], works: Sequence[float], threads: int, part: float) -> float:
    """When the last of them is complete. part: of a layer, by which one that is read in parts is
    ahead of the one that reads it."""
    free = [0.0] * threads
    ends: list[float] = []
    for layer, own in zip(layers, works, strict=True):
        begin = min(free)
        end = begin + own
        for k in layer.reads:
            if len(layer.reads) == 1 and layers[k].call.reverse == layer.call.reverse:
                end = max(end, ends[k] + part * own)
            else:
                end = max(end, max(begin, ends[k]) + own)
        ends.append(end)
        free[free.index(begin)] = end
    return max(ends)
