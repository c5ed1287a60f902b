"""A Comparison in words: what `derive diff` prints, and what a Comparison is as text.

In: a Comparison, or one Change of it.  Out: lines.
Not here: what counts as a change (diff.py), JSON and exit statuses (cli/diff.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derive.comparison.diff import Change, Comparison


def title(found: Comparison) -> str:
    return f"from {found.a} to {found.b}" if found.a != found.b else f"two versions of {found.a}"


def summary(found: Comparison) -> str:
    """In one line: "from lstm to cifg: 4 arrays, 1 equation, 6 gradient lines, 5 costs"."""
    counts = (
        (len(found.arrays), "array"),
        (len(found.equations), "equation"),
        (len(found.gradient), "gradient line"),
        (len(found.cost), "cost"),
    )
    parts = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in counts if n]
    parts += ["structure"] if found.structure else []
    return f"{title(found)}: {', '.join(parts) or 'nothing'} changed"


def lines(found: Comparison) -> Iterator[str]:
    yield title(found) + ("" if found else ": nothing changed")
    for heading, changes in (
        ("inputs, states, parameters", found.arrays),
        ("equations", found.equations),
        ("gradient", found.gradient),
        ("cost", found.cost),
        ("structure", (found.structure,) if found.structure else ()),
    ):
        if changes:
            yield ""
            yield heading
            sign = " = " if heading in ("equations", "gradient") else ": "
            for change in changes:
                yield from change_lines(change, sign)
    if found.renamed:
        yield ""
        names = ", ".join(f"{old} as {new}" for old, new in found.renamed.items())
        yield f"the same under another name: {names}"


def change_lines(change: Change, sign: str) -> Iterator[str]:
    note = f"   (follows from {', '.join(change.follows)})" if change.follows else ""
    if change.before is not None:
        only = note if change.after is None else ""
        yield f"  - {change.was or change.name}{sign}{change.before}{only}"
    if change.after is not None:
        yield f"  + {change.name}{sign}{change.after}{note}"
