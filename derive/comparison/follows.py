"""Which changed lines only follow from another change.

In: the lines of two cells, and which of them changed.  Out: for each, what it follows from.
Not here: what counts as a change (diff.py).

An equation follows where it says the same but for names of definitions that one cell alone has:
with `g = tanh(a)` in one cell and `k = sin(a)` in the other, `h' = z * h + (1 - z) * g` and
`h' = z * h + (1 - z) * k` differ because g is k now. A line of the gradient follows from the
changed equations that read the array, or are part of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from derive.program import Step

#: So many definitions of one cell alone are matched with those of the other, in every order.
FEW = 3

#: name -> (its value, its text)
Lines = Mapping[str, tuple[Any, str]]


def replaced(
    name: str,
    old: Lines,
    after: Lines,
    same: Callable[[Any, Any, Mapping[str, str]], bool],
    common: Collection[str],
) -> dict[str, str] | None:
    """{definition of the old cell alone: that of the new one} under which both lines say the same.

    same(value, value, names): whether two values are equal once names are exchanged.
    """
    if name not in old or name not in after:
        return None
    left = _alone(old[name][0], old, common)
    right = _alone(after[name][0], after, common)
    if not left or len(left) != len(right) or len(left) > FEW:
        return None
    for order in itertools.permutations(right):
        names = dict(zip(left, order, strict=True))
        if same(old[name][0], after[name][0], names):
            return names
    return None


def _alone(value: Any, lines: Lines, common: Collection[str]) -> list[str]:
    names = {symbol.name for symbol in value.free_symbols}
    return sorted(name for name in names if name in lines and name not in common)


def origins(
    line: str, changed: Mapping[str, str], parts: Sequence[Mapping[str, set[str]]]
) -> tuple[str, ...]:
    """The changed equations that a line of the gradient follows from.

    They read its array, are its array, or have it as a part.

    changed: {equation: what the old cell calls it}.  parts: of both cells.
    """
    array = line.removeprefix("d_")
    return tuple(
        new
        for new, old in changed.items()
        if array in (new, old)
        or any(array in found.get(name, ()) for found in parts for name in (new, old))
    )


def parts_of(step: Step) -> dict[str, set[str]]:
    """{definition: what it reads, and what stands between: W_h, a_g, ... of tanh(W @ h + b)}."""
    made = {equation.out: equation for equation in step.program.equations}
    named = {*step.defined, *step.next_states}
    found: dict[str, set[str]] = {}
    for name in named & set(made):
        waiting, seen = list(made[name].operands), set()
        while waiting:
            part = waiting.pop()
            if part in seen:
                continue
            seen.add(part)
            if part in made and part not in named:
                waiting += made[part].operands
        found[name] = seen
    return found
