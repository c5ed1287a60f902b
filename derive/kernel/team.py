"""How many threads a call of the C target is worth.

In: a Call, a number of threads.  Out: whether sharing pays, and whether to wait for threads.
Not here: the pool that runs them (templates/c/pool.c.j2), how steps are shared (the shared header).

Work is counted in multiply-adds, nearly all of them in matrices: a row of a step has as many as
the parameters have elements.
"""

from __future__ import annotations

from derive.kernel.call import Call

#: Multiply-adds from which a second thread helps: of one step where threads meet in each, of one
#: call where each takes rows of its own, at least so many, through all steps (DK_ROWS_EACH).
SHARED_STEP = 1 << 15
SHARED_CALL = 1 << 21
ROWS_EACH = 8
#: The same of a chunk of steps, where no step needs a meeting, and its rows (DK_CHUNK_ROWS).
SHARED_CHUNK = 1 << 20
CHUNK_ROWS = 192
#: And of a call that may be shared at all, and of one worth waking sleeping threads for, which
#: takes some 50 us.
SHORT_CALL = 1 << 18
WAKING_CALL = 1 << 21


def pays(call: Call, threads: int, elementwise: bool) -> bool:
    """Whether there is work enough to share.  elementwise: threads meet once a chunk of steps."""
    sizes, count = call.sizes, _work(call)
    step = sizes.rows * count
    if elementwise:
        return min(sizes.steps * sizes.rows, CHUNK_ROWS) * count >= SHARED_CHUNK
    if sizes.rows // threads >= ROWS_EACH:
        return sizes.steps * step >= SHARED_CALL
    return step >= SHARED_STEP and sizes.steps * step >= SHORT_CALL


def worth_waking(call: Call) -> bool:
    """Whether a call is long enough to wait until its threads are awake."""
    return call.sizes.steps * call.sizes.rows * _work(call) >= WAKING_CALL


def _work(call: Call) -> int:
    """Of one row of one step."""
    return sum(array.size for array in call.params.values())
