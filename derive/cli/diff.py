"""`derive diff`: what changed from one cell to another, in meaning.

In: two CELLs.  Out: text or JSON on standard output; 0 nothing changed, 1 something did.
Not here: what counts as a change (comparison/diff.py), its text (comparison/change_text.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict

from derive.cli import console
from derive.cli.select import cell_of


def run(first: str, second: str, as_json: bool) -> int:
    a, b = cell_of(first), cell_of(second)
    from derive.comparison.diff import diff

    with console.progress("comparing", 1, lines=False) as tick:
        found = diff(a, b)
        tick(found.b)
    if as_json:
        console.result(json.dumps({"format": 1, "changed": bool(found), **asdict(found)}, indent=2))
    else:
        console.result(str(found))
        console.relations(first, second)
    return 1 if found else 0
