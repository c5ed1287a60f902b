"""`.cell` text <-> Declaration.

In: the text of a cell.  Out: a Declaration; or, the other way, canonical text.
Not here: expressions (parse_expression.py), names, shapes and meaning (check_shapes.py), a text
that varies another cell (vary_text.py).

The text is data: reading it runs nothing. The first mistake is raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from derive.errors import CellError
from derive.language import names, parse_expression, tokens, tree
from derive.language.declaration import Constant, Declaration, Declared, Definition, Dim, Output
from derive.language.tokens import Source, Statement

_KEYWORDS = ("cell", "doc", "input", "state", "param", "const", "output")

_DOC = re.compile(r"[ \t]*doc(?![ \t]*=)(?:[ \t](?P<text>[^\n]*))?", re.ASCII)
_ASSIGNMENT = re.compile(r"[ \t]*(?P<target>[A-Za-z_][A-Za-z0-9_]*)[ \t]*(?P<prime>'*)[ \t]*=(?!=)")
_KEYWORD = re.compile(r"[ \t]*(?P<word>[A-Za-z_][A-Za-z0-9_]*)(?=[ \t\n]|$)", re.ASCII)
_EXAMPLES = {
    "cell": "cell   janet",
    "input": "input  x: I",
    "state": "state  h: H",
    "param": "param  W: H x I",
    "const": "const  beta = 1.0",
    "output": "output h'",
}


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
            if character == "(":
                opened.append((number, column))
            elif character == ")" and opened:
                opened.pop()
        depth = len(opened)
        if depth == 0:
            joined = "\n".join(held)
            if joined.strip():
                yield Statement(source, first, joined)
            held = []
    if held:
        number, column = opened[-1]
        raise CellError("'(' is never closed", place=source.place(number, column))


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
        elif doc is not None:
            self.doc.append((doc.group("text") or "").strip())
        else:
            self._declare(statement)

    def freeze(self) -> Declaration:
        if self.name is None:
            raise CellError(
                "there is no cell in this text",
                place=self.source.place(1, 1),
                hint=_EXAMPLES["cell"],
            )
        return Declaration(
            name=self.name,
            doc="\n".join(self.doc).strip("\n"),
            inputs=tuple(self.inputs),
            states=tuple(self.states),
            params=tuple(self.params),
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
        self.name = _plain_name(statement, *parts[0], "cell")

    def _define(self, statement: Statement, assignment: re.Match[str]) -> None:
        target = assignment.group("target")
        at = assignment.start("target")
        _check_name(statement, target, at)
        primes = assignment.group("prime")
        if len(primes) > 1:
            raise statement.error("one prime is the next value, and there is no other", at)
        expr = parse_expression.read(statement, assignment.end(), len(statement.text))
        target = names.next_of(target) if primes else target
        self.definitions.append(Definition(target, expr, statement.place(at), bool(primes)))

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
            "const": self._const,
            "output": self._output,
        }
        for start, end in items(statement, keyword.end()):
            if start == end:
                raise statement.error(f"a name is missing after '{word}'", start, _EXAMPLES[word])
            add[word](statement, start, end)

    def _input(self, statement: Statement, start: int, end: int) -> None:
        self.inputs.append(_declared(statement, start, end, "input", "I"))

    def _state(self, statement: Statement, start: int, end: int) -> None:
        self.states.append(_declared(statement, start, end, "state", "H"))

    def _param(self, statement: Statement, start: int, end: int) -> None:
        self.params.append(_declared(statement, start, end, "param", None))

    def _const(self, statement: Statement, start: int, end: int) -> None:
        match = _ASSIGNMENT.match(statement.text, start, end)
        if match is None or match.group("prime"):
            raise statement.error("a const needs a value", start, _EXAMPLES["const"])
        name = match.group("target")
        _check_name(statement, name, match.start("target"))
        expr = parse_expression.read(statement, match.end(), end)
        self.consts.append(Constant(name, expr, statement.place(match.start("target"))))

    def _output(self, statement: Statement, start: int, end: int) -> None:
        text = statement.text[start:end]
        primed = text.endswith("'")
        name = text.removesuffix("'").rstrip(" \t\n")
        _plain_name(statement, start, start + len(name), "output")
        output = names.next_of(name) if primed else name
        self.outputs.append(Output(output, statement.place(start), primed))


def _missing_name(statement: Statement) -> NoReturn:
    at = len(statement.text) - len(statement.text.lstrip())
    raise statement.error("a text begins with the name of its cell", at, _EXAMPLES["cell"])


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
        depth += (character == "(") - (character == ")")
        if character == "," and (depth <= 0 or at == len(text)):
            part = text[begin:at]
            left = begin + len(part) - len(part.lstrip(" \t\n"))
            yield min(left, at), max(min(left, at), begin + len(part.rstrip(" \t\n")))
            begin = at + 1


def _declared(
    statement: Statement, start: int, end: int, kind: str, default: Dim | None
) -> Declared:
    text = statement.text
    colon = text.find(":", start, end)
    name_end = end if colon < 0 else colon
    name_end = start + len(text[start:name_end].rstrip(" \t\n"))
    name = _plain_name(statement, start, name_end, kind)
    shape: tuple[Dim, ...] | None = None if default is None else (default,)
    if colon >= 0:
        shape = _shape(statement, colon + 1, end, kind)
    return Declared(name, shape, statement.place(start))


def _shape(statement: Statement, start: int, end: int, kind: str) -> tuple[Dim, ...]:
    """`H` or `H x I`; the widths themselves may have any name, `x` too."""
    parts = [(m.group(), m.start()) for m in re.finditer(r"[^ \t\n]+", statement.text[start:end])]
    times = parts[1::2]
    shown = " ".join(text for text, _ in parts)
    for text, at in times:
        if text != "x":
            what = f"'{text}' has no meaning in a width"
            raise statement.error(what, start + at, _EXAMPLES[kind])
    if len(times) > 1 or (times and kind != "param"):
        what = "a matrix has two widths" if kind == "param" else f"a {kind} is a vector"
        at = start + times[-1][1]
        raise statement.error(f"{what}, not {shown}", at, _EXAMPLES[kind])
    if len(parts) == len(times) * 2:
        raise statement.error("a width is missing here", end, _EXAMPLES[kind])
    return tuple(_width(statement, text, start + at, kind) for text, at in parts[::2])


def _width(statement: Statement, text: str, at: int, kind: str) -> Dim:
    if re.fullmatch(r"[0-9]+", text) and len(text) < 10 and int(text) > 0:
        return int(text)
    fault = names.dimension_fault(text)
    if re.fullmatch(r"[-+]?[0-9]+", text):
        fault = f"a width is at least 1 and below 10**9, not {text}"
    if fault is not None:
        raise statement.error(fault, at, _EXAMPLES[kind])
    return text


def _plain_name(statement: Statement, start: int, end: int, kind: str) -> str:
    name = statement.text[start:end]
    if not name:
        raise statement.error(f"a name is missing after '{kind}'", start, _EXAMPLES[kind])
    if not names.is_identifier(name):
        for word in tokens.words(statement, start, end):
            if word.end < end:
                last = word.end
                while statement.text[last] in " \t\n":
                    last += 1
                raise statement.error(
                    f"'{statement.text[last:end]}' has no meaning in '{kind}'",
                    last,
                    _EXAMPLES[kind],
                )
    _check_name(statement, name, start)
    return name


def _check_name(statement: Statement, name: str, at: int) -> None:
    fault = names.fault(name)
    if fault is not None:
        raise statement.error(fault[0], at, fault[1])


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
    if declaration.consts:
        lines.append(
            "const  " + ", ".join(f"{c.name} = {tree.to_text(c.expr)}" for c in declaration.consts)
        )
    return lines


def _declared_to_text(declared: Declared) -> str:
    if declared.shape is None:
        return declared.name
    return f"{declared.name}: {' x '.join(map(str, declared.shape))}"


def _definitions(declaration: Declaration, states: frozenset[str]) -> list[str]:
    targets = [tree.name_to_text(d.target, states) for d in declaration.definitions]
    width = max(map(len, targets), default=0)
    return [
        f"{target:{width}} = {tree.to_text(definition.expr, states)}"
        for target, definition in zip(targets, declaration.definitions, strict=True)
    ]
