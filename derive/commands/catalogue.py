"""`derive list`: the catalogue, with the options of each entry.

In: nothing.  Out: a table on standard output.
Not here: the cells (cells/).
"""

from __future__ import annotations

from derive.commands import console


def run() -> int:
    from derive import cells

    rows = []
    for name in cells.names():
        options = " ".join(option.name for option in cells.options(name))
        rows.append((name, _title(name), options))
    console.result(console.table(("cell", "what", "options"), rows))
    return 0


def _title(name: str) -> str:
    """The first sentence of the entry's doc."""
    from derive import cells

    doc = cells.from_spec(name).doc
    return doc.partition(". ")[0].rstrip(".")
