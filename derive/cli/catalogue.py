"""`derive list`: the catalogue in groups, and the options of what was asked for.

In: words that entries must have.  Out: tables on standard output.
Not here: the cells (catalogue/), which group a family belongs to (catalogue/entries.py).
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence

from derive.cli import console
from derive.errors import ArgumentError

WIDTH = 100


def run(words: Sequence[str], options: bool) -> int:
    from derive.catalogue.entries import ENTRIES, GROUPS

    wanted = [word.lower() for given in words for word in given.split()]
    found = {
        group: {
            name: doc
            for name, (family, _) in ENTRIES.items()
            if family in families
            for doc in (_doc(name),)
            if all(word in _words(group, name, family, doc) for word in wanted)
        }
        for group, families in GROUPS.items()
    }
    names = [name for entries in found.values() for name in entries]
    if not names:
        raise _nothing(words)
    first = max(map(len, names))
    lines: list[str] = []
    for group, entries in found.items():
        if entries:
            lines += [group, *(line for item in entries.items() for line in _entry(*item, first))]
            lines.append("")
    if wanted or options:
        lines += _options(dict.fromkeys(ENTRIES[name][0] for name in names), first)
    else:
        lines.append("derive list WORD ...   entries with these words, and their options")
    console.result("\n".join(lines))
    return 0


def _entry(name: str, doc: str, first: int) -> list[str]:
    return textwrap.wrap(
        f"  {name.ljust(first)}  {doc}", WIDTH, subsequent_indent=" " * (first + 4)
    )


def _options(families: Sequence[str] | dict[str, None], first: int) -> Iterator[str]:
    from derive import cells
    from derive.catalogue.option import to_text

    rows = [(family, option) for family in families for option in cells.options(family)]
    if not rows:
        yield "no options"
        return
    yield "Options, after a colon:  lstm:peephole=true,forget_bias=1"
    yield ""
    label = ""
    for family, option in rows:
        text = f"{option.name}={to_text(option.default)}  {option.meaning} ({option.type})"
        shown = "" if family == label else family
        label = family
        indent = " " * (first + 8)
        yield from textwrap.wrap(f"  {shown.ljust(first)}  {text}", WIDTH, subsequent_indent=indent)


def _words(group: str, name: str, family: str, doc: str) -> str:
    """All that a word is looked for in."""
    from derive import cells

    options = " ".join(option.name for option in cells.options(family))
    return f"{group} {name} {doc} {options} {cells.family(family).__doc__}".lower()


def _nothing(words: Sequence[str]) -> ArgumentError:
    from derive import cells

    near = [n for word in words for n in difflib.get_close_matches(word, cells.names(), n=3)]
    facts = (f"close: {', '.join(dict.fromkeys(near))}",) if near else ()
    return ArgumentError(
        f"no entry of the catalogue has {' and '.join(repr(word) for word in words)}",
        facts=facts,
        hint="derive list",
    )


def _doc(name: str) -> str:
    from derive.catalogue.entries import ENTRIES, function_of
    from derive.catalogue.option import doc_of

    family, preset = ENTRIES[name]
    return " ".join(doc_of(function_of(family), preset).split())
