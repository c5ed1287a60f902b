"""`vary lstm: o = 1`: a variant as text.

In: the statements of a text whose first is such a line.  Out: a Declaration, that of the
variant: nothing in it tells where it came from.
Not here: what a change does (vary.py), ordinary text (text.py).

    vary  lstm:peephole=true: i = 1, o = z, remove p_f, tanh = relu
    cell  my_variant
    doc   What it is for.

The base is an entry of the catalogue, with options; the last colon ends it. Then, separated by
commas: a definition and what replaces it; two gates that are tied, where what replaces one is
the plain name of another; `remove` and a name; a function and another, or `identity`;
`state` and a definition that the next step sees.
`cell` and `doc` lines may follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from derive.errors import ArgumentError, CellError, DeriveError
from derive.language import reader, text
from derive.language.declaration import Declaration
from derive.language.expression import Name, to_text
from derive.language.names import next_of
from derive.language.words import Statement
from derive.variants import vary_terms

_START = re.compile(r"[ \t]*vary[ \t]+", re.ASCII)
_WORD = re.compile(r"(?P<word>remove|state)[ \t\n]+(?P<name>[A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_CHANGE = re.compile(r"(?P<target>[A-Za-z_][A-Za-z0-9_]*)[ \t]*(?P<prime>'?)[ \t\n]*=(?!=)")
_EXAMPLE = "vary lstm: o = 1"


def read(first: Statement, rest: Iterable[Statement]) -> Declaration:
    from derive import cells
    from derive.variants.vary import vary

    start, end = _START.match(first.text), first.text.rfind(":")
    assert start is not None
    if end < 0:
        raise first.error("a colon ends what is varied", len(first.text), _EXAMPLE)
    name, doc = _head(rest)
    at = start.end() + len(first.text[start.end() :]) - len(first.text[start.end() :].lstrip())
    try:
        base = cells.from_spec(first.text[start.end() : end].strip())
    except DeriveError as error:
        raise _at(first, at, error) from None
    replace: dict[str, str] = {}
    tie: dict[str, str] = {}
    activation: dict[str, str] = {}
    words: dict[str, list[str]] = {"remove": [], "state": []}
    items = [item for item in text.items(first, end + 1) if item[0] < item[1]]
    if not items:
        raise first.error("nothing is changed", end, _EXAMPLE)
    for begin, stop in items:
        part = first.text[begin:stop]
        if word := _WORD.fullmatch(part):
            words[word["word"]].append(word["name"])
            continue
        found = _CHANGE.match(part)
        if found is None:
            raise first.error("this changes nothing", begin, _EXAMPLE)
        target = next_of(found["target"]) if found["prime"] else found["target"]
        value = part[found.end() :].strip()
        if target in {*replace, *tie, *activation}:
            raise first.error(f"'{target}' is changed twice", begin)
        if target in vary_terms.FUNCTIONS:
            activation[target] = value
            continue
        node = reader.read(first, begin + found.end(), stop)
        defined = {equation.lhs.name for equation in base.equations}
        if isinstance(node, Name) and {target, node.name} <= defined and "_next" not in target:
            tie[target] = node.name
        else:
            replace[target] = to_text(node)
    try:
        found_cell = vary(
            base,
            name=name,
            doc=doc,
            replace=replace,
            tie=tie,
            activation=activation,
            remove=words["remove"],
            states=words["state"],
        )
    except CellError as error:
        raise _at(first, at, error) from None
    except ArgumentError as error:
        raise _at(first, items[0][0], error) from None
    return text.parse(found_cell.to_text(), first.source.file)


def _head(rest: Iterable[Statement]) -> tuple[str | None, str | None]:
    """The lines below: they read as the head of a text does."""
    given = list(rest)
    name: str | None = None
    docs: list[str] = []
    for statement in given:
        word = statement.text.split()[0]
        if word == "cell" and name is None:
            name = statement.text.split(maxsplit=1)[1].strip() if " " in statement.text else ""
        elif word == "doc":
            docs.append(statement.text.strip()[3:].strip())
        else:
            raise statement.error(
                "below 'vary' there are lines 'cell' and 'doc' only",
                0,
                f"{_EXAMPLE}, h' = ...   changes equations",
            )
    return name, "\n".join(docs) if docs else None


def _at(statement: Statement, offset: int, error: DeriveError) -> CellError:
    return CellError(error.what, place=statement.place(offset), facts=error.facts, hint=error.hint)
