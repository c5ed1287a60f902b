"""How many threads a call of the C target is worth.

In: a Call, a Signature, a number of threads.  Out: whether sharing pays, and whether to wait for
threads.
Not here: the pool that runs them (templates/c/pool.c.j2), how steps are shared (the shared header).

Work is counted in multiply-adds. A row of a step has as many as the parameters have elements, and
some for each element of a state of several axes, which is decayed, added to and read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from derive.kernel.call import Call
from derive.kernel.signature import Signature

#: Multiply-adds from which a second thread helps: of one step where threads meet in each, of one
#: call where each takes rows of its own, at least so many, through all steps (DK_ROWS_EACH).
SHARED_STEP = 1 << 15
SHARED_CALL = 1 << 21
ROWS_EACH = 4
#: The same of a chunk of steps, where no step needs a meeting, and its rows (DK_CHUNK_ROWS).
SHARED_CHUNK = 1 << 20
CHUNK_ROWS = 192
#: And of a call that may be shared at all, and of one worth waking sleeping threads for, which
#: takes some 50 us.
SHORT_CALL = 1 << 18
WAKING_CALL = 1 << 21
#: Of a step in which threads meet several times, so many more for each further meeting. One took
#: 0.4 to 0.8 us beside other work, in which a thread does 20,000 to 50,000 of them, and two threads
#: save half at best.
MEETING = 1 << 17
#: For each element of a state of several axes; measured 4 to 14 (mLSTM, gated DeltaNet, Mamba).
OF_STATE = 4


@dataclass(frozen=True, slots=True)
class Meetings:
    """How often threads that share the units of a step meet in it, forward and backward; 0 where
    they meet once a chunk of steps."""

    forward: int
    backward: int

    @classmethod
    def of(cls, files: Mapping[str, str], prefix: str) -> Meetings:
        """As the generated text `prefix`.c says."""
        text = next((t for path, t in files.items() if Path(path).name == f"{prefix}.c"), "")
        found = []
        for name in ("forward", "backward"):
            step = re.search(rf"^static void DK_NAME\({name}_step\)\(.*?^}}", text, re.M | re.S)
            found.append(step.group().count("dk_wait(team);") if step else 0)
        return cls(*found)

    def per_step(self, training: bool) -> int:
        """Of forward; in training of the pass that has more for its work: backward does twice as
        much."""
        return max(self.forward, -(-self.backward // 2) if training else 0)


#: Of a kernel whose threads meet in no step.
NO_MEETINGS = Meetings(0, 0)


def pays(
    call: Call, threads: int, signature: Signature, elementwise: bool, meetings: Meetings
) -> bool:
    """Whether there is work enough to share.  elementwise: threads meet once a chunk of steps."""
    sizes, count = call.sizes, work(call, signature)
    step = sizes.rows * count
    if elementwise:
        return min(sizes.steps * sizes.rows, CHUNK_ROWS) * count >= SHARED_CHUNK
    if sizes.rows // threads >= ROWS_EACH:
        return sizes.steps * step >= SHARED_CALL
    further = max(meetings.per_step(call.training) - 1, 0)
    return step >= SHARED_STEP + further * MEETING and sizes.steps * step >= SHORT_CALL


def worth_waking(call: Call, signature: Signature) -> bool:
    """Whether a call is long enough to wait until its threads are awake."""
    return call.sizes.steps * call.sizes.rows * work(call, signature) >= WAKING_CALL


def work(call: Call, signature: Signature) -> int:
    """Of one row of one step."""
    shapes = map(call.sizes.lengths, signature.states.values())
    return work_of((array.size for array in call.params.values()), shapes)


def work_of(params: Iterable[int], states: Iterable[Sequence[int]] = ()) -> int:
    """params: elements of each.  states: the shape of each, without rows."""
    return sum(params) + OF_STATE * sum(prod(shape) for shape in states if len(shape) > 1)
