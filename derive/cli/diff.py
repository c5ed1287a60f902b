"""`derive diff`: what changed from one cell to another, in meaning.

In: two CELLs.  Out: text or JSON on standard output; 0 nothing changed, 1 something did.
Not here: what counts as a change (comparison/diff.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from derive.cli import console
from derive.cli.select import cell_of

if TYPE_CHECKING:
    from derive.comparison.diff import Change, Comparison


def run(first: str, second: str, as_json: bool) -> int:
    a, b = cell_of(first), cell_of(second)
    from derive.comparison.diff import diff

    with console.progress("comparing", 1, lines=False) as tick:
        found = diff(a, b)
        tick(found.b)
    if as_json:
        console.result(json.dumps({"format": 1, "changed": bool(found), **asdict(found)}, indent=2))
    else:
        console.result("\n".join(lines(found)))
    return 1 if found else 0


def lines(found: Comparison) -> Iterator[str]:
    what = f"from {found.a} to {found.b}" if found.a != found.b else f"two versions of {found.a}"
    yield what + ("" if found else ": nothing changed")
    for title, changes in (
        ("inputs, states, parameters", found.arrays),
        ("equations", found.equations),
        ("gradient", found.gradient),
        ("cost", found.cost),
        ("structure", (found.structure,) if found.structure else ()),
    ):
        if changes:
            yield ""
            yield title
            for change in changes:
                yield from _change(change, " = " if title in ("equations", "gradient") else ": ")
    if found.renamed:
        yield ""
        names = ", ".join(f"{old} as {new}" for old, new in found.renamed.items())
        yield f"the same under another name: {names}"


def _change(change: Change, sign: str) -> Iterator[str]:
    note = f"   (follows from {', '.join(change.follows)})" if change.follows else ""
    if change.before is not None:
        only = note if change.after is None else ""
        yield f"  - {change.was or change.name}{sign}{change.before}{only}"
    if change.after is not None:
        yield f"  + {change.name}{sign}{change.after}{note}"
