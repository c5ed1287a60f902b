"""`derive list`: the catalogue in groups, and the options of what was asked for.

In: words that entries must have, and what kind of recurrence they must be.  Out: tables on
standard output.
Not here: the cells (catalogue/), which group a family belongs to (catalogue/entries.py), what kind
of recurrence a cell is (recurrence/).
"""

from __future__ import annotations

import difflib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from derive.cli import console
from derive.errors import ArgumentError

if TYPE_CHECKING:
    from derive.cell import Cell

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """linear: recurrences that are affine in their states.  states: "matrix", "vector" or a
    number; "" for any."""

    linear: bool = False
    states: str = ""

    def __bool__(self) -> bool:
        return self.linear or bool(self.states)

    def has(self, kind: _Kind) -> bool:
        if self.linear and not kind.linear:
            return False
        if self.states in ("matrix", "vector"):
            return bool(kind.ranks) and (max(kind.ranks) > 1) is (self.states == "matrix")
        return not self.states or int(self.states) == len(kind.ranks)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Of the recurrence of an entry: in words, whether it is linear, the axes of its states."""

    words: str
    linear: bool
    ranks: tuple[int, ...]


def run(
    words: Sequence[str],
    options: bool,
    *,
    linear: bool = False,
    states: str | None = None,
    pages: str | None = None,
) -> int:
    from derive.catalogue.entries import ENTRIES, GROUPS

    wanted = [word.lower() for given in words for word in given.split()]
    kept = Filter(linear, _states(states))
    found: dict[str, dict[str, str]] = {}
    with_words: list[str] = []
    for group, families in GROUPS.items():
        for name, (family, _) in ENTRIES.items():
            doc = _doc(name) if family in families else ""
            if family not in families or not _has(wanted, group, name, family, doc):
                continue
            with_words.append(name)
            if kept:
                kind = _kind(name)
                if not kept.has(kind):
                    continue
                doc = f"{kind.words}. {doc}"
            found.setdefault(group, {})[name] = doc
    names = [name for entries in found.values() for name in entries]
    if not names:
        raise _nothing(words) if not with_words else _none_of_kind(words, kept, with_words)
    if pages is not None:
        from derive.cli.pages import write

        write(found, pages)
        return 0
    first = max(map(len, names))
    lines: list[str] = []
    for group, entries in found.items():
        lines += [group, *(line for item in entries.items() for line in _entry(*item, first))]
        lines.append("")
    if wanted or options:
        lines += _options(dict.fromkeys(ENTRIES[name][0] for name in names), first)
    else:
        lines.append("derive list WORD ...   entries with these words, and their options")
    console.result("\n".join(lines))
    return 0


def _states(text: str | None) -> str:
    """What --states says; ArgumentError for what it cannot say."""
    if text is None:
        return ""
    value = text.strip().lower()
    if value in ("matrix", "vector") or (value.isascii() and value.isdigit()):
        return value
    raise ArgumentError(
        f"--states takes matrix, vector or a number, not '{text}'", hint="derive list --states 2"
    )


def _has(wanted: Sequence[str], group: str, name: str, family: str, doc: str) -> bool:
    return all(word in _words(group, name, family, doc) for word in wanted)


@cache
def _cell(name: str) -> Cell:
    from derive import cells

    return cells.from_spec(name)


def _kind(name: str) -> _Kind:
    from derive.inspect.facts.structure_words import what_it_is
    from derive.recurrence import recurrence

    cell = _cell(name)
    table = cell.step.program.table()
    found = recurrence(cell.step)
    said = what_it_is(found, {state: table[state].shape for state in cell.step.states})
    ranks = tuple(len(shape) for shape in cell.states.values())
    return _Kind(said, bool(ranks) and found.linear_in_order, ranks)


def _none_of_kind(words: Sequence[str], kept: Filter, with_words: Sequence[str]) -> ArgumentError:
    """What the entries with the words are instead; without words, which filters leave some."""
    from derive import cells

    options = ["--linear"] * kept.linear + [f"--states {kept.states}"] * bool(kept.states)
    what = "no entry of the catalogue"
    if words:
        shown = with_words[:5]
        facts = [f"{name}: {_kind(name).words}" for name in shown]
        facts += [f"and {len(with_words) - 5} more"] * (len(with_words) > 5)
        having = " and ".join(repr(word) for word in words)
        return ArgumentError(
            f"{what} with {having} passes {' '.join(options)}",
            facts=tuple(facts),
            hint=f"derive list {' '.join(options)}",
        )
    choices = _choices({name: _kind(name) for name in cells.names()})
    near = [option for option in choices if option.split()[0] in [o.split()[0] for o in options]]
    return ArgumentError(
        f"{what} passes {' '.join(options)}",
        facts=tuple(f"{option}: {_few(names)}" for option, names in choices.items()),
        hint=f"derive list {(near or list(choices))[0]}",
    )


def _choices(kinds: Mapping[str, _Kind]) -> dict[str, list[str]]:
    """{option: the entries that it leaves}, of those that leave any."""
    counts = sorted({len(kind.ranks) for kind in kinds.values()})
    filters = {
        "--linear": Filter(linear=True),
        **{f"--states {kind}": Filter(states=kind) for kind in ("vector", "matrix")},
        **{f"--states {count}": Filter(states=str(count)) for count in counts},
    }
    found = {
        option: [name for name, kind in kinds.items() if kept.has(kind)]
        for option, kept in filters.items()
    }
    return {option: names for option, names in found.items() if names}


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[: 4 if more else 5]) + more


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
    """All that a word is looked for in; the title is the first line of the family's file."""
    from derive import cells
    from derive.catalogue.entries import function_of

    options = " ".join(option.name for option in cells.options(family))
    title = (sys.modules[function_of(family).__module__].__doc__ or "").partition("\n\n")[0]
    return f"{group} {name} {doc} {options} {title} {cells.family(family).__doc__}".lower()


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
