"""Pastes the hint of an error message into the text that caused it, as its reader would.

In: `.cell` text and the CellError it raised.  Out: texts with the hint pasted.
Not here: which errors (conftest.py records all that the tests cause), the verdict
(unit/language/test_hints.py).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from types import ModuleType

from derive.errors import CellError

#: Hints that give advice in words. Every other hint is something to type.
ADVICE = (
    "a minus is written -",
    "a power is written **",
    "a product of vectors is written *",
    "a state has one next value",
    "a width belongs to a declaration",
    "arrays have no indices",
    "decimal digits",
    "derive.load(path) reads a file",
    "every name stands for one thing; remove or rename one of them",
    "give the value alone, in its place",
    "move line ",
    "name a part of it on a line of its own",
    "name it once",
    "nest two where(...) for two conditions",
    "one statement a line",
    "swap the branches of where(a < b, u, v)",
    "the next value of h is written h', with a straight prime",
)

_DECLARATION = re.compile(r"(cell|doc|input|state|param|const|output)\b")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*'?)\s*=(?!=)\s*(.*)")
_PRIME = "\u02b9"


def is_advice(hint: str) -> bool:
    return hint.startswith(ADVICE)


def to_type(hint: str) -> str:
    """What a hint tells its reader to type, without the words around it."""
    meant = re.fullmatch(r"did you mean '?(.+?)'?\?", hint)
    if meant is not None:
        return meant.group(1)
    if ", for example  " in hint:
        hint = hint.split(", for example  ")[1]
    return re.sub(r"^(\w+) +", r"\1 ", hint).split("   ")[0]


def pasted(text: str, error: CellError) -> Iterator[str]:
    """The texts that a reader might make of `text` and the hint, likeliest first."""
    assert error.hint is not None and error.place is not None
    typed = to_type(error.hint).replace("...", "0.5")
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    at = error.place.line - 1
    if at >= len(lines):
        return
    declaration, assignment = _DECLARATION.match(typed), _ASSIGNMENT.fullmatch(typed)
    if typed.startswith("vary "):
        yield typed
    elif declaration is not None:
        yield from _declared(lines, at, declaration.group(), typed)
    elif assignment is not None:
        yield from _assigned(lines, at, assignment.group(1), typed, error.place.column - 1)
    yield from _replaced(lines, at, error.place.column - 1, typed)


def _joined(lines: list[str], at: int, new: list[str], until: int | None = None) -> str:
    return "\n".join([*lines[:at], *new, *lines[at if until is None else until :]])


def _declared(lines: list[str], at: int, keyword: str, typed: str) -> Iterator[str]:
    if len(typed.split()) < 2:
        return
    name = typed.split()[1].rstrip(":")
    own = re.compile(rf"(\s*{keyword}\b.*?)\b{re.escape(name)}\s*(:[^,]*|=[^,]*)?(?=,|$)")
    for row, line in enumerate(lines):
        match = own.fullmatch(line) or own.match(line)
        if match is not None:
            new = match.group(1) + typed.split(None, 1)[1] + line[match.end() :]
            yield _joined(lines, row, [new], row + 1)
    if lines[at].strip().startswith(keyword):
        yield _joined(lines, at, [typed], at + 1)
    if keyword == "output":
        yield "\n".join([*lines, typed])
    yield _joined(lines, 0, [typed])
    yield _joined(lines, 1, [typed])


def _assigned(lines: list[str], at: int, target: str, typed: str, column: int) -> Iterator[str]:
    own = re.match(r"\s*", lines[at])
    if own is not None and own.end() == column:  # the target itself is wrong
        yield _joined(lines, at, [typed], at + 1)
    for new in _spans(lines[at], column, target):
        yield _joined(lines, at, [typed, new], at + 1)
    outputs = [row for row, line in enumerate(lines) if line.strip().startswith("output")]
    if lines[at].strip().startswith("const"):
        yield _joined(lines, at, [typed], at + 1)
    yield _joined(lines, outputs[0] if outputs else len(lines), [typed])


def _replaced(lines: list[str], at: int, column: int, typed: str) -> Iterator[str]:
    for new in _spans(lines[at], column, typed):
        yield _joined(lines, at, [new], at + 1)


def _spans(line: str, column: int, new: str) -> Iterator[str]:
    """`line` with what stands at `column` replaced: the word there, then ever larger parts."""
    word = re.compile(r"[A-Za-z_]\w*'?|[\d.]+|\*\*|//|\S").match(line, column)
    spans = {(column, word.end())} if word else set()
    assignment = re.match(r"[^=(]*=(?!=)\s*", line)
    start = assignment.end() if assignment else 0
    code = line[start:].split("#")[0].replace("'", _PRIME)
    try:
        tree = ast.parse(code, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        spans.add((start, len(line)))
    else:
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and node.end_col_offset is not None:
                first, last = start + node.col_offset, start + node.end_col_offset
                if first <= column <= last:
                    spans.add((first, last))
    for first, last in sorted(spans, key=lambda span: span[1] - span[0]):
        yield line[:first] + new + line[last:]


# --- what the tests cause -------------------------------------------------------------------


class Recorder:
    """Remembers each kind of hint once, with a text that caused it."""

    def __init__(self) -> None:
        self.found: list[tuple[str, CellError]] = []
        self._kinds: set[tuple[str, str]] = set()
        self._sources: dict[int, tuple[object, str]] = {}

    def install(self, text: ModuleType, shapes: ModuleType) -> None:
        """Wraps the two functions that every text of a cell goes through."""
        parse, check = text.parse, shapes.check

        def recording_parse(source: str, file: str = "<text>") -> object:
            try:
                declaration = parse(source, file)
            except CellError as error:
                self.add(source, error)
                raise
            self._sources = {id(declaration): (declaration, source)}
            return declaration

        def recording_check(declaration: object) -> object:
            try:
                return check(declaration)
            except CellError as error:
                kept, source = self._sources.get(id(declaration), (None, ""))
                if kept is declaration:
                    self.add(source, error)
                raise

        text.parse, shapes.check = recording_parse, recording_check

    def add(self, source: str, error: CellError) -> None:
        for one in getattr(error, "errors", (error,)):
            kind = (_kind(one.what), _kind(one.hint or ""))
            if one.hint and one.place is not None and kind not in self._kinds:
                self._kinds.add(kind)
                self.found.append((source, one))

    def forget(self) -> None:
        """Records known kinds again, and drops what was recorded."""
        self._kinds.clear()
        self.found.clear()

    def take(self) -> list[tuple[str, CellError]]:
        taken, self.found = self.found, []
        return taken


def _kind(message: str) -> str:
    """A message without the names and numbers in it."""
    return re.sub(r"'.*'|\S+'|[0-9]+", "", message)


def _further(after: CellError, before: CellError) -> bool:
    """Whether the same is wrong again further on: with other names, or behind what was pasted."""
    if after.place is None or before.place is None:
        return False
    pasted = len(before.hint or "") if after.what == before.what else 0
    if after.place.line != before.place.line:
        return after.place.line > before.place.line
    return after.place.column > before.place.column + pasted


def fault(source: str, error: CellError, check: Callable[[str], CellError | None]) -> str | None:
    """Why the hint of `error` cannot be typed; None where it can."""
    if is_advice(str(error.hint)):
        return None
    others = {_at(one) for one in _each(check(source))} - {_at(error)}
    for text in pasted(source, error):
        after = [one for one in _each(check(text)) if _at(one) not in others]
        if not after or _kind(after[0].what) != _kind(error.what) or _further(after[0], error):
            return None
    return f"pasting the hint changes nothing:\n{error}\n\nin\n{source}"


def _each(error: CellError | None) -> tuple[CellError, ...]:
    """All that is wrong with a text."""
    return () if error is None else tuple(getattr(error, "errors", (error,)))


def _at(error: CellError) -> tuple[str, int | None]:
    return error.what, error.place.line if error.place else None
