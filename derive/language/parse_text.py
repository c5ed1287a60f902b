"""`.cell` text <-> Declaration.

In: the text of a cell.  Out: a Declaration; or, the other way, canonical text.
Not here: expressions (parse_expression.py), names, shapes and meaning (check_shapes.py), a text
that varies another cell (catalogue/vary_text.py).

The text is data: reading it runs nothing. The first mistake is raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

from derive.errors import CellError
from derive.language import names, parse_expression, tokens, tree
from derive.language.declaration import Constant, Declaration, Declared, Definition, Output
from derive.language.parse_declared import EXAMPLES, check_name, declared, plain_name
from derive.language.tokens import Source, Statement

_KEYWORDS = ("cell", "doc", "input", "state", "param", "fixed", "const", "output")

_DOC = re.compile(r"[ \t]*doc(?![ \t]*=)(?:[ \t](?P<text>[^\n]*))?", re.ASCII)
_ASSIGNMENT = re.compile(r"[ \t]*(?P<target>[A-Za-z_][A-Za-z0-9_]*)[ \t]*(?P<prime>'*)[ \t]*=(?!=)")
_TARGETS = re.compile(
    r"[ \t]*(?P<targets>[A-Za-z_][A-Za-z0-9_]*[ \t]*'*"
    r"(?:[ \t]*,[ \t]*[A-Za-z_][A-Za-z0-9_]*[ \t]*'*)+)"
    r"[ \t]*=(?!=)"
)
_KEYWORD = re.compile(r"[ \t]*(?P<word>[A-Za-z_][A-Za-z0-9_]*)(?=[ \t\n]|$)", re.ASCII)


def parse(text: str, file: str = "<text>") -> Declaration:
    """What the text declares. CellError at the first thing that does not read."""
    source = source_of(text, file)
    builder = _Builder(source)
    for statement in _statements(source):
        builder.add(statement)
    return builder.freeze()


def source_of(text: str, file: str) -> Source:
    return Source(file, tuple(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))))


def statements(text: str, file: str) -> Iterator[Statement]:
    """The statements of a text, one after the other."""
    return _statements(source_of(text, file))


# --- lines to statements --------------------------------------------------------------------


def _statements(source: Source) -> Iterator[Statement]:
    """Statements without comments; one runs on over lines while a bracket is open."""
    held: list[str] = []
    first = 0
    depth = 0
    opened: list[tuple[int, int]] = []
    for number, line in enumerate(source.lines, start=1):
        _refuse_control(source, number, line)
        if not held and _DOC.fullmatch(line):
            yield Statement(source, number, line)
            continue
        code = line.split("#", 1)[0].rstrip(" \t")
        if not held:
            first = number
        held.append(code)
        for column, character in enumerate(code, start=1):
            if character in "([":
                opened.append((number, column))
            elif character in ")]" and opened:
                opened.pop()
        depth = len(opened)
        if depth == 0:
            joined = "\n".join(held)
            if joined.strip():
                yield Statement(source, first, joined)
            held = []
    if held:
        number, column = opened[-1]
        bracket = source.lines[number - 1][column - 1]
        raise CellError(f"'{bracket}' is never closed", place=source.place(number, column))


def _refuse_control(source: Source, number: int, line: str) -> None:
    for column, character in enumerate(line, start=1):
        if (ord(character) < 32 and character != "\t") or character == "\x7f":
            raise CellError(
                f"the control character U+{ord(character):04X} has no meaning here",
                place=source.place(number, column),
            )


# --- statements to a declaration ------------------------------------------------------------


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.name: str | None = None
        self.doc: list[str] = []
        self.inputs: list[Declared] = []
        self.states: list[Declared] = []
        self.params: list[Declared] = []
        self.fixed: list[Declared] = []
        self.consts: list[Constant] = []
        self.definitions: list[Definition] = []
        self.outputs: list[Output] = []

    def add(self, statement: Statement) -> None:
        doc = _DOC.fullmatch(statement.text)
        assignment = _ASSIGNMENT.match(statement.text)
        if assignment is None and doc is None and self.name is None:
            self._name(statement)
        elif self.name is None:
            _missing_name(statement)
        elif assignment is not None:
            self._define(statement, assignment)
        elif doc is None and (several := _TARGETS.match(statement.text)):
            self._define_parts(statement, several)
        elif doc is not None:
            self.doc.append((doc.group("text") or "").strip())
        else:
            self._declare(statement)

    def freeze(self) -> Declaration:
        if self.name is None:
            raise CellError(
                "there is no cell in this text",
                place=self.source.place(1, 1),
                hint=EXAMPLES["cell"],
            )
        return Declaration(
            name=self.name,
            doc="\n".join(self.doc).strip("\n"),
            inputs=tuple(self.inputs),
            states=tuple(self.states),
            params=tuple(self.params),
            fixed=tuple(self.fixed),
            consts=tuple(self.consts),
            definitions=tuple(self.definitions),
            outputs=tuple(self.outputs),
            place=self.source.place(1, 1),
        )

    def _name(self, statement: Statement) -> None:
        keyword = _KEYWORD.match(statement.text)
        if keyword is None or keyword.group("word") != "cell":
            _missing_name(statement)
        parts = list(items(statement, keyword.end()))
        if len(parts) != 1:
            raise statement.error("a text holds one cell", parts[1][0])
        self.name = plain_name(statement, *parts[0], "cell")

    def _define(self, statement: Statement, assignment: re.Match[str]) -> None:
        target = assignment.group("target")
        at = assignment.start("target")
        check_name(statement, target, at)
        primes = assignment.group("prime")
        if len(primes) > 1:
            raise statement.error("one prime is the next value, and there is no other", at)
        expr = parse_expression.read(statement, assignment.end(), len(statement.text))
        target = names.next_of(target) if primes else target
        self.definitions.append(Definition(target, expr, statement.place(at), bool(primes)))

    def _define_parts(self, statement: Statement, several: re.Match[str]) -> None:
        """`i, j, f, o = split(a, 4)`: a definition for each name."""
        expr = parse_expression.read(statement, several.end(), len(statement.text))
        found = re.finditer(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*('*)", several.group("targets"))
        targets = [(match, several.start("targets") + match.start()) for match in found]
        count = len(targets)
        if not isinstance(expr, tree.Split) or expr.count != count:
            what = f"{count} names stand left of '=', and no split into {count} parts right of it"
            hint = (
                f"split({tree.to_text(expr.array)}, {count})"
                if isinstance(expr, tree.Split)
                else None
            )
            raise statement.error(what, several.start("targets"), hint or f"split(v, {count})")
        for index, (match, at) in enumerate(targets):
            name, primes = match.group(1), match.group(2)
            check_name(statement, name, at)
            if len(primes) > 1:
                raise statement.error("one prime is the next value, and there is no other", at)
            part = tree.Part(expr.array, index, count, expr.place)
            target = names.next_of(name) if primes else name
            self.definitions.append(Definition(target, part, statement.place(at), bool(primes)))

    def _declare(self, statement: Statement) -> None:
        keyword = _KEYWORD.match(statement.text)
        if keyword is None or keyword.group("word") not in _KEYWORDS:
            _no_statement(statement)
        word = keyword.group("word")
        if word == "cell":
            raise statement.error("a text holds one cell", keyword.start("word"))
        if word == "doc":
            raise statement.error("a doc cannot begin with '='", keyword.end())
        add: dict[str, Callable[[Statement, int, int], None]] = {
            "input": self._input,
            "state": self._state,
            "param": self._param,
            "fixed": self._fixed,
            "const": self._const,
            "output": self._output,
        }
        for start, end in items(statement, keyword.end()):
            if start == end:
                raise statement.error(f"a name is missing after '{word}'", start, EXAMPLES[word])
            add[word](statement, start, end)

    def _input(self, statement: Statement, start: int, end: int) -> None:
        self.inputs.append(declared(statement, start, end, "input", "I"))

    def _state(self, statement: Statement, start: int, end: int) -> None:
        self.states.append(declared(statement, start, end, "state", "H"))

    def _param(self, statement: Statement, start: int, end: int) -> None:
        self.params.append(declared(statement, start, end, "param", None))

    def _fixed(self, statement: Statement, start: int, end: int) -> None:
        self.fixed.append(declared(statement, start, end, "fixed", None))

    def _const(self, statement: Statement, start: int, end: int) -> None:
        match = _ASSIGNMENT.match(statement.text, start, end)
        if match is None or match.group("prime"):
            raise statement.error("a const needs a value", start, EXAMPLES["const"])
        name = match.group("target")
        check_name(statement, name, match.start("target"))
        expr = parse_expression.read(statement, match.end(), end)
        self.consts.append(Constant(name, expr, statement.place(match.start("target"))))

    def _output(self, statement: Statement, start: int, end: int) -> None:
        text = statement.text[start:end]
        primed = text.endswith("'")
        name = text.removesuffix("'").rstrip(" \t\n")
        plain_name(statement, start, start + len(name), "output")
        output = names.next_of(name) if primed else name
        self.outputs.append(Output(output, statement.place(start), primed))


def _missing_name(statement: Statement) -> NoReturn:
    at = len(statement.text) - len(statement.text.lstrip())
    raise statement.error("a text begins with the name of its cell", at, EXAMPLES["cell"])


def _no_statement(statement: Statement) -> NoReturn:
    at = len(statement.text) - len(statement.text.lstrip())
    for offset, character in enumerate(statement.text):
        if not character.isascii():
            raise tokens.stray(statement, offset)
    word = re.match(r"[A-Za-z_][A-Za-z0-9_]*", statement.text[at:])
    near = names.closest(word.group(), _KEYWORDS) if word else None
    if not word:
        found = next(tokens.words(statement, at, len(statement.text)))
        raise statement.error(f"a line cannot begin with '{found.text}'", at)
    hint = f"did you mean '{near}'?" if near else f"{word.group()} = ..."
    raise statement.error("this line neither declares nor defines anything", at, hint)


def items(statement: Statement, start: int) -> Iterator[tuple[int, int]]:
    """The (start, end) of each part of a list, split at commas outside brackets, stripped."""
    text = statement.text
    depth, begin = 0, start
    for at in range(start, len(text) + 1):
        character = text[at] if at < len(text) else ","
        depth += (character in "([") - (character in ")]")
        if character == "," and (depth <= 0 or at == len(text)):
            part = text[begin:at]
            left = begin + len(part) - len(part.lstrip(" \t\n"))
            yield min(left, at), max(min(left, at), begin + len(part.rstrip(" \t\n")))
            begin = at + 1


# --- and back -------------------------------------------------------------------------------


def to_text(declaration: Declaration) -> str:
    """Canonical text: the author's order and terms, one spelling of everything else."""
    states = declaration.state_names
    blocks = [_head(declaration), _definitions(declaration, states)]
    outputs = ", ".join(tree.name_to_text(output.name, states) for output in declaration.outputs)
    blocks.append([f"output {outputs}"] if outputs else [])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _head(declaration: Declaration) -> list[str]:
    lines = [f"cell   {declaration.name}"]
    lines += [f"doc    {line}".rstrip() for line in declaration.doc.split("\n") if declaration.doc]
    for keyword, group in (("input", declaration.inputs), ("state", declaration.states)):
        if group:
            lines.append(f"{keyword:7}" + ", ".join(map(_declared_to_text, group)))
    lines += [f"param  {_declared_to_text(param)}" for param in declaration.params]
    lines += [f"fixed  {_declared_to_text(array)}" for array in declaration.fixed]
    if declaration.consts:
        lines.append(
            "const  " + ", ".join(f"{c.name} = {tree.to_text(c.expr)}" for c in declaration.consts)
        )
    return lines


def _declared_to_text(declared: Declared) -> str:
    text = declared.name
    if declared.shape is not None:
        text += f": {' x '.join(map(str, declared.shape))}"
    if declared.start is not None:
        text += f" = {tree.to_text(declared.start)}"
    return f"{text} once" if declared.once else text


def _definitions(declaration: Declaration, states: frozenset[str]) -> list[str]:
    lines: list[tuple[str, str]] = []
    rest = list(declaration.definitions)
    while rest:
        together = _split_together(rest)
        names_ = [tree.name_to_text(d.target, states) for d in rest[:together]]
        expr = rest[0].expr
        if together > 1:
            assert isinstance(expr, tree.Part)
            text = f"split({tree.to_text(expr.array, states)}, {expr.count})"
        else:
            text = tree.to_text(expr, states)
        lines.append((", ".join(names_), text))
        rest = rest[together:]
    width = max((len(target) for target, _ in lines), default=0)
    return [f"{target:{width}} = {text}" for target, text in lines]


def _split_together(definitions: Sequence[Definition]) -> int:
    """How many of the first definitions are the parts of one split, in order."""
    first = definitions[0].expr
    if not isinstance(first, tree.Part):
        return 1
    wanted = [replace(first, index=k) for k in range(first.count)]
    return first.count if [d.expr for d in definitions[: first.count]] == wanted else 1
