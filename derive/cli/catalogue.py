"""`derive list`: the catalogue, and the options of each family.

In: nothing.  Out: tables on standard output.
Not here: the cells (catalogue/).
"""

from __future__ import annotations

import textwrap

from derive.cli import console

WIDTH = 100


def run() -> int:
    from derive import cells
    from derive.catalogue.entries import ENTRIES
    from derive.catalogue.option import to_text

    rows = [(name, _doc(name)) for name in cells.names()]
    first = max(len(name) for name, _ in rows)
    lines = []
    for name, doc in rows:
        lines += textwrap.wrap(
            f"{name.ljust(first)}  {doc}", WIDTH, subsequent_indent=" " * (first + 2)
        )
    lines += ["", "Options, after a colon:  lstm:peephole=true,forget_bias=1", ""]
    families = dict.fromkeys(family for family, _ in ENTRIES.values())
    for family in families:
        label = family
        for option in cells.options(family):
            default = to_text(option.default)
            text = f"{option.name}={default}  {option.meaning} ({option.type})"
            lines += textwrap.wrap(
                f"{label.ljust(first)}  {text}", WIDTH, subsequent_indent=" " * (first + 6)
            )
            label = ""  # said once
    console.result("\n".join(lines))
    return 0


def _doc(name: str) -> str:
    from derive import cells

    return " ".join(cells.from_spec(name).doc.split())
