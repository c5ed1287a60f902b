"""Verification in a process of its own: a report also where a kernel crashes.

In: a cell's name and a function that verifies it, which can be pickled.  Out: its Report; where
the process gave none, one with a row that failed and says what was being checked.
Not here: the checks (verification/), processes (verification/apart.py).

Every command that runs kernels it has just made calls this: text that is wrong may crash, and then
the command has still to tell which cell it was, to verify the others, and to write nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derive.verification import Report
    from derive.verification.session import Progress


def verified(
    name: str,
    seed: int,
    work: Callable[..., Report],
    *,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report of work(progress=...), which may crash the process it runs in.

    seconds: of processor time; None: any.  progress: called in this process.
    """
    from derive.verification import Report, Row
    from derive.verification.apart import Ended, apart, say

    try:
        return apart(partial(work, progress=say), seconds=seconds, heard=progress)
    except Ended as end:
        why = f"the process that ran the kernels gave no result: {end}"
        row = Row("call", "kernels", float("inf"), 0.0, False, why)
        return Report(name, seed, (row,))
