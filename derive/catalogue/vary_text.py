"""`vary lstm: o = 1`: a variant as text.

In: the statements of a text whose first is such a line.  Out: a Declaration, that of the
variant: nothing in it tells where it came from.
Not here: what a change does (language/variant/vary.py), ordinary text (language/parse_text.py).

    vary  lstm:peephole=true: i = 1, o = z, remove p_f, tanh = relu
    cell  my_variant
    doc   What it is for.

The base is an entry of the catalogue, with options, or the path of a `.cell` file, relative to
the file of this text; the last colon before the changes ends it. Then, separated by commas: a
definition and what replaces it; two gates, parameters or states that are tied, where what replaces
one is the plain name of another; `remove` and a name; a function and another, or `identity`,
everywhere or `in` one definition; `state` and a definition that the next step sees; `const` and a
number;
`rename` a name `to` another; `input`, `param` or `fixed` and what a line of a cell's text says of
one; `output` and what is put out instead.
`cell` and `doc` lines may follow. A text that is of no file has no files beside it: then a path
is refused, so that reading text from elsewhere opens nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path

from derive.catalogue.spec import from_spec
from derive.errors import ArgumentError, ArgumentTypeError, CellError, DeriveError
from derive.language import declare, parse_expression, parse_text
from derive.language.checked import Checked
from derive.language.names import next_of
from derive.language.tokens import Statement
from derive.language.tree import Name, to_text
from derive.language.variant import vary_terms
from derive.language.variant.vary import vary

#: Empty lines and comments may come before.
_FIRST = re.compile(r"\ufeff?(?:[ \t]*(?:#[^\n]*)?(?:\r\n|\r|\n))*[ \t]*vary[ \t]+(?!=)", re.ASCII)
_START = re.compile(r"[ \t]*vary[ \t]+", re.ASCII)
_WORD = re.compile(r"(?P<word>remove|state)[ \t\n]+(?P<name>[A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_RENAME = re.compile(
    r"rename[ \t\n]+(?P<old>[A-Za-z_][A-Za-z0-9_]*)[ \t\n]+to[ \t\n]+(?P<new>\w+)", re.ASCII
)
_DECLARED = re.compile(r"(?:input|param|fixed)[ \t\n]+[A-Za-z_].*", re.ASCII | re.DOTALL)
_FIRST_DECLARED = re.compile(r"[:,][ \t\n]*(?:input|param|fixed)[ \t\n]+[A-Za-z_]", re.ASCII)
_OUTPUT = re.compile(r"output[ \t\n]+(?P<name>[A-Za-z_][A-Za-z0-9_]*'?)", re.ASCII)
_CONST = re.compile(r"const[ \t\n]+(?=[A-Za-z_][A-Za-z0-9_]*[ \t]*=)", re.ASCII)
_IN = re.compile(r"(?P<value>\w+)[ \t\n]+in[ \t\n]+(?P<target>[A-Za-z_][A-Za-z0-9_]*'?)", re.ASCII)
_CHANGE = re.compile(r"(?P<target>[A-Za-z_][A-Za-z0-9_]*)[ \t]*(?P<prime>'?)[ \t\n]*=(?!=)")
_EXAMPLE = "vary lstm: o = 1"
_DEEPEST = 20

#: The files that are being read, each a variant of the next.
_OPEN: ContextVar[tuple[Path, ...]] = ContextVar("open", default=())


def is_variant(source: str) -> bool:
    """Whether the first line that says something is `vary ...`."""
    return _FIRST.match(source) is not None


def read(source: str, file: str) -> Checked:
    """The variant that the text describes."""
    statements = parse_text.statements(source, file)
    return _read(next(statements), statements)


def sources(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The file, and those that it is a variant of, one after the other, as far as they can be read:
    what the cell in it depends on."""
    found = [Path(path)]
    while len(found) <= _DEEPEST:
        try:
            text = found[-1].read_bytes().decode("utf-8-sig")
            if not is_variant(text):
                break
            first = next(parse_text.statements(text, str(found[-1])))
            start, end = _ends_of_base(first)
        except (OSError, UnicodeDecodeError, CellError):
            break
        base = found[-1].parent / first.text[start:end].strip()
        if base.suffix != ".cell" or base in found:
            break
        found.append(base)
    return tuple(found)


def _ends_of_base(first: Statement) -> tuple[int, int]:
    """Where the base begins, and where the colon is that ends it."""
    # Behind that colon a declaration may have one of its own.
    word = _FIRST_DECLARED.search(first.text)
    behind = len(first.text) if word is None else word.start() + 1
    start, end = _START.match(first.text), first.text.rfind(":", 0, behind)
    assert start is not None
    if end < 0:
        raise first.error("a colon ends what is varied", len(first.text), _EXAMPLE)
    return start.end(), end


def _read(first: Statement, rest: Iterable[Statement]) -> Checked:
    start, end = _ends_of_base(first)
    name, doc = _head(rest)
    at = start + len(first.text[start:]) - len(first.text[start:].lstrip())
    try:
        base = _base(first.text[start:end].strip(), first.source.file)
    except CellError:
        raise  # a mistake in the file that is varied, told where it stands
    except DeriveError as error:
        raise _at(first, at, error) from None
    replace: dict[str, str] = {}
    tie: dict[str, str] = {}
    activation: dict[str, str | dict[str, str]] = {}
    rename: dict[str, str] = {}
    consts: dict[str, str] = {}
    words: dict[str, list[str]] = {"remove": [], "state": [], "declare": [], "output": []}
    items = [item for item in parse_text.items(first, end + 1) if item[0] < item[1]]
    if not items:
        raise first.error("nothing is changed", end, _EXAMPLE)
    for begin, stop in items:
        part = first.text[begin:stop]
        if word := _WORD.fullmatch(part):
            words[word["word"]].append(word["name"])
            continue
        if _DECLARED.fullmatch(part):
            words["declare"].append(" ".join(part.split()))
            continue
        if chosen := _OUTPUT.fullmatch(part):
            words["output"].append(chosen["name"])
            continue
        if renamed := _RENAME.fullmatch(part):
            rename[renamed["old"]] = renamed["new"]
            continue
        if const := _CONST.match(part):
            key, _, _ = part[const.end() :].partition("=")
            given = parse_expression.read(first, first.text.index("=", begin) + 1, stop)
            consts[key.strip()] = to_text(given)
            continue
        found = _CHANGE.match(part)
        if found is None:
            raise first.error("this changes nothing", begin, _EXAMPLE)
        target = next_of(found["target"]) if found["prime"] else found["target"]
        value = part[found.end() :].strip()
        if target in {*replace, *tie, *activation}:
            raise first.error(f"'{target}' is changed twice", begin)
        if target in vary_terms.FUNCTIONS:
            if place := _IN.fullmatch(value):
                swaps = activation.setdefault(place["target"], {})
                assert isinstance(swaps, dict)
                swaps[target] = place["value"]
            else:
                activation[target] = value
            continue
        node = parse_expression.read(first, begin + found.end(), stop)
        if isinstance(node, Name) and _alike(base, target, node.name):
            tie[target] = node.name
        else:
            replace[target] = to_text(node)
    try:
        varied = vary(
            base,
            name=name,
            doc=doc,
            replace=replace,
            tie=tie,
            activation=activation,
            rename=rename,
            consts=consts,
            remove=words["remove"],
            states=words["state"],
            declare=words["declare"],
            outputs=words["output"],
        )
    except CellError as error:
        raise _at(first, at, error) from None
    except ArgumentError as error:
        raise _at(first, items[0][0], error) from None
    return declare.from_text(varied.to_text(), first.source.file)


def _base(spec: str, file: str) -> Checked:
    """An entry of the catalogue, or a file beside `file`."""
    if not spec.endswith(".cell"):
        return from_spec(spec)
    if file.startswith("<"):
        raise ArgumentError(
            f"'{spec}' stands beside a file, and this text is of none",
            hint="derive.load(path) reads a file",
        )
    path = Path(file).parent / spec
    if Path(spec).is_absolute():
        raise ArgumentError(
            f"'{spec}' is not relative to this file", hint="a path such as  base.cell"
        )
    if not path.is_file():
        raise ArgumentError(f"there is no file {path}")
    before = _OPEN.get() or (Path(file).resolve(),)
    if path.resolve() in before:
        circle = " -> ".join(each.name for each in (*before, path.resolve()))
        raise ArgumentError("a variant of itself", facts=(circle,))
    if len(before) > _DEEPEST:
        raise ArgumentError(f"a variant of a variant, more than {_DEEPEST} deep")
    token = _OPEN.set((*before, path.resolve()))
    try:
        return load(path)
    finally:
        _OPEN.reset(token)


def load(path: str | os.PathLike[str]) -> Checked:
    """The cell, or the variant, in a `.cell` file."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(
            f"a path is a str or a path, not {type(path).__name__}", hint='load("janet.cell")'
        )
    shown = os.fspath(path)
    try:
        source = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CellError(f"{shown} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CellError(f"{shown} is not UTF-8 text: byte {error.start} is wrong") from error
    return checked(source, shown)


def checked(source: str, file: str) -> Checked:
    """The cell that a text describes, in full or as a variant of another."""
    return read(source, file) if is_variant(source) else declare.from_text(source, file)


def _alike(base: Checked, target: str, other: str) -> bool:
    """Two definitions, two parameters or two states: one can stand for the other."""
    nexts = {next_of(state) for state in base.states}
    defined = {equation.lhs.name for equation in base.equations} - nexts
    return any({target, other} <= set(kind) for kind in (defined, base.params, base.states))


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
