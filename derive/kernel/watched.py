"""What a run refers to and a caller may write into before `backward` reads it again.

In: a Call, and the fingerprints that forward took.  Out: the arrays; the error that names the one
that changed.
Not here: fingerprints (fingerprint.py).
"""

from __future__ import annotations

from derive.errors import ArgumentError
from derive.kernel.call import Call
from derive.kernel.fingerprint import Look
from derive.kernel.packed import Packed
from derive.kernel.signature import Array


def watched_arrays(call: Call) -> tuple[Array, ...]:
    """What a run refers to and a caller may write into."""
    if type(call.params) is Packed:
        return tuple(call.inputs.values())
    return (*call.params.values(), *call.inputs.values())


def changed_array(call: Call, seen: bytes, look: Look) -> ArgumentError:
    """The error that names the array that changed between forward and backward."""
    watched = watched_arrays(call)
    names = [f"parameter {name}" for name in call.params]
    names += [f"input {name}" for name in call.inputs]
    changed = "an array"
    for name, array in zip(names[-len(watched) :], watched, strict=True):
        now = look((array,))
        if not seen.startswith(now):
            changed = name
            break
        seen = seen[len(now) :]
    return ArgumentError(
        f"{changed} was written into between forward and backward",
        facts=("gradients of what forward saw need it as it was",),
        hint="call backward first, or give forward a copy of it",
    )
