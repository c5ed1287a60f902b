"""A fault that was found: an exception, so that hypothesis shrinks what led to it.

In: what kind of fault it is, and the details.  Out: `Fault`, of a class of its own for each kind:
hypothesis tells faults apart by class and place, and shrinks none into another.
Not here: how it is shown (cli/report.py).
"""

from __future__ import annotations

import functools


class Fault(Exception):
    """kind: what is wrong, the same for all faults that are one; details: what was seen."""

    def __init__(self, kind: str, details: str) -> None:
        self.kind = kind
        self.details = details
        super().__init__(f"{kind}: {details}")


@functools.cache
def _class(kind: str) -> type[Fault]:
    return type("Fault", (Fault,), {"__doc__": kind})


def fault(kind: str, details: str) -> Fault:
    return _class(kind)(kind, details)
