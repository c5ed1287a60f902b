"""The words of an expression, and a scan that finds most mistakes before Python's parser.

In: a part of a statement.  Out: its words, in which values and operators alternate.
Not here: the tree (parse_expression.py), statements (parse_text.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from derive.errors import CellError, Place
from derive.language import names
from derive.symbolic import functions

MAX_DEPTH = 60  # brackets and functions inside each other
MAX_TERMS = 200  # a + b + c + ..., and everything else that the tree nests
MAX_WORDS = 2000
MAX_DIGITS = 400


@dataclass(frozen=True, slots=True)
class Source:
    """A file as the user sees it."""

    file: str
    lines: tuple[str, ...]

    def place(self, line: int, column: int) -> Place:
        """The place of a one-based line and column."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        shown = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text)
        return Place(self.file, line, column, shown)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without comments; its lines, joined by newlines, begin at `first_line`."""

    source: Source
    first_line: int
    text: str

    def place(self, offset: int) -> Place:
        before = self.text[:offset]
        column = offset - (before.rfind("\n") + 1) + 1
        return self.source.place(self.first_line + before.count("\n"), column)

    def error(self, what: str, offset: int, hint: str | None = None) -> CellError:
        return CellError(what, place=self.place(offset), hint=hint)


# --- words ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    kind: str  # number, name, prime, operator
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_WORD = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<prime>')"
    r"|(?P<operator>\*\*|//|<=|>=|==|!=|[-+*/@.,()<>=\[\]:])"
    r"|(?P<space>[ \t\n]+)",
    re.ASCII,
)

_STRAY_HINTS = {
    "^": "a power is written **",
    "\u00b7": "a product of vectors is written *",
    "\u00d7": "a product of vectors is written *",
    "\u2299": "a product of vectors is written *",
    "\u2212": "a minus is written -",
    "\u2013": "a minus is written -",
    "\u2019": "the next value of h is written h', with a straight prime",
    "\u2032": "the next value of h is written h', with a straight prime",
    "\u03c3": "sigmoid(v)",
    "&": "nest two where(...) for two conditions",
    "|": "abs(v)",
    "%": "v - floor(v / m) * m",
    ";": "one statement a line",
    "=": "one statement a line",
}


def stray(statement: Statement, offset: int) -> CellError:
    character = statement.text[offset]
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return statement.error(f"'{shown}' has no meaning here", offset, _STRAY_HINTS.get(character))


def words(statement: Statement, start: int, end: int) -> Iterator[Word]:
    at = start
    while at < end:
        match = _WORD.match(statement.text, at, end)
        if match is None:
            raise stray(statement, at)
        kind = str(match.lastgroup)
        if kind == "number":
            _check_number(statement, match, end)
        if kind != "space":
            yield Word(kind, match.group(), at)
        at = match.end()


def _check_number(statement: Statement, match: re.Match[str], end: int) -> None:
    text, at = match.group(), match.start()
    rest = re.compile(r"[A-Za-z0-9_.']+").match(statement.text, match.end(), end)
    if rest is not None:
        whole = text + rest.group()
        hint = f"{text} * {rest.group()}" if names.fault(rest.group()) is None else None
        if whole.replace("_", "").isdigit():
            hint = whole.replace("_", "")
        elif whole[:2].lower() in ("0x", "0b", "0o"):
            hint = "decimal digits"
        raise statement.error(f"'{whole}' is no number", at, hint)
    if re.fullmatch(r"0\d+", text):
        raise statement.error(f"'{text}' is no number: it begins with 0", at, text.lstrip("0"))
    if len(text) > MAX_DIGITS:
        raise statement.error(f"a number of {len(text)} characters is too long", at)


# --- the scan -------------------------------------------------------------------------------


def scan(statement: Statement, start: int, end: int) -> list[Word]:
    """The words of an expression in which values and operators alternate as they should."""
    found = list(words(statement, start, end))
    if not found:
        raise statement.error("an expression is missing here", end)
    if len(found) > MAX_WORDS:
        raise statement.error(
            f"an expression of more than {MAX_WORDS} words is too long",
            start,
            "name a part of it on a line of its own",
        )
    _Scan(statement, found).run(end)
    return found


_SQUARE = {
    ":": "a width belongs to a declaration, for example  param b: H",
    "]": "a part of an array is  v[0:H]",
}


class _Scan:
    """Walks over words, knowing whether a value or an operator comes next."""

    def __init__(self, statement: Statement, found: list[Word]) -> None:
        self.statement = statement
        self.words = found
        self.value_next = True
        # Bracket, and whether it opens a call; a square one never does.
        self.brackets: list[tuple[Word, bool]] = []

    def run(self, end: int) -> None:
        at = 0
        while at < len(self.words):
            at += self.step(at)
        assert not self.brackets, "a statement runs on until its brackets are closed"
        if self.value_next:
            last = self.words[-1]
            raise self.error(f"a value is missing after '{last.text}'", last)

    def error(self, what: str, word: Word, hint: str | None = None) -> CellError:
        return self.statement.error(what, word.start, hint)

    def step(self, at: int) -> int:
        """Takes the word at `at`, and those that belong to it; returns how many."""
        word = self.words[at]
        if word.kind in ("number", "name"):
            return self.value(at)
        if word.kind == "prime":
            raise self.error("a prime belongs right behind the name of a state", word, "h'")
        if word.text == "(":
            self.open(at)
        elif word.text == "[":
            return self.cut(at)
        elif word.text in (":", "]"):
            raise self.error(f"'{word.text}' has no meaning here", word, _SQUARE.get(word.text))
        elif word.text == ")":
            self.close(at)
        elif word.text == ",":
            self.comma(word)
        elif word.text == ".":
            return self.attribute(at)
        elif self.is_option(at):
            self.value_next = True
        elif word.text in ("=", "//"):
            raise self.strange_operator(word)
        elif self.value_next and word.text not in ("+", "-"):
            raise self.error(f"a value is missing before '{word.text}'", word)
        else:
            self.value_next = True
        return 1

    def value(self, at: int) -> int:
        word = self.words[at]
        if word.kind == "name":
            _check_word(self.statement, word)
        if not self.value_next:
            before = self.words[at - 1]
            what = f"an operator is missing between '{before.text}' and '{word.text}'"
            raise self.error(what, word, _product(before, word))
        self.value_next = False
        if word.kind == "name" and self.is_at(at + 1, "'", word.end):
            if self.is_at(at + 2, "'", word.end + 1):
                raise self.error("one prime is the next value, and there is no other", word)
            return 2
        return 1

    def is_at(self, at: int, text: str, start: int) -> bool:
        return (
            at < len(self.words) and self.words[at].text == text and (self.words[at].start == start)
        )

    def open(self, at: int) -> None:
        word = self.words[at]
        is_call = not self.value_next
        if is_call and self.words[at - 1].kind != "name":
            is_prime = self.words[at - 1].kind == "prime"
            raise self.error("an operator is missing before '('", word, None if is_prime else "* (")
        if len(self.brackets) >= MAX_DEPTH:
            raise too_deep(self.statement.place(word.start))
        self.brackets.append((word, is_call))
        self.value_next = True

    def close(self, at: int) -> None:
        word = self.words[at]
        if not self.brackets:
            raise self.error("')' closes nothing", word)
        opened, is_call = self.brackets.pop()
        if self.value_next and not (is_call and self.words[at - 1] is opened):
            raise self.error("a value is missing before ')'", word)
        self.value_next = False

    def cut(self, at: int) -> int:
        """`[`, the widths between, and `]`: how many words that is."""
        word = self.words[at]
        if self.value_next:
            raise self.error("a value is missing before '['", word, "v[0:H]")
        end = next((k for k in range(at, len(self.words)) if self.words[k].text == "]"), None)
        inside = self.words[at + 1 : end]
        number = len(inside) == 1 and inside[0].text.isdigit()
        colons = sum(each.text == ":" for each in inside)
        plain = all(each.kind in ("number", "name") or each.text in "+-*:" for each in inside)
        if end is None or not plain or (colons != 1 and not number):
            raise self.error(
                "what stands in '[ ]' is a part of the width, from one width to another",
                word,
                "v[0:H]",
            )
        return end + 1 - at

    def comma(self, word: Word) -> None:
        if not self.brackets or not self.brackets[-1][1]:
            raise self.error("a comma separates the arguments of a function only", word)
        if self.value_next:
            raise self.error("a value is missing before ','", word)
        self.value_next = True

    def attribute(self, at: int) -> int:
        word = self.words[at]
        if self.value_next:
            raise self.error("a value is missing before '.'", word)
        name = self.words[at + 1] if at + 1 < len(self.words) else None
        if name is None or name.text != "T":
            shown = f".{name.text}" if name is not None and name.kind == "name" else "."
            raise self.error(f"'{shown}' has no meaning: only .T, the transpose, exists", word)
        return 2

    def is_option(self, at: int) -> bool:
        """Whether this is the '=' of `eps=`, the one argument that is given by name."""
        in_call = bool(self.brackets) and self.brackets[-1][1]
        return self.words[at].text == "=" and in_call and self.words[at - 1].text == "eps"

    def strange_operator(self, word: Word) -> CellError:
        if word.text == "//":
            return self.error("'//' is no operator here", word, "floor(a / b)")
        if self.brackets and self.brackets[-1][1]:
            return self.error(
                "functions take no arguments by name", word, "give the value alone, in its place"
            )
        return self.error("a second '=' in one line", word, "one statement a line")


def _product(left: Word, right: Word) -> str:
    """What two values side by side may mean. Matrices have names in upper case, as in papers."""
    if left.kind not in ("number", "name"):
        return f"* {right.text}"
    return f"{left.text} {'@' if left.text[0].isupper() else '*'} {right.text}"


_WORD_HINTS = {
    "if": "where(a < b, u, v)",
    "else": "where(a < b, u, v)",
    "and": "nest two where(...) for two conditions",
    "or": "nest two where(...) for two conditions",
    "not": "swap the branches of where(a < b, u, v)",
    "True": "1",
    "False": "0",
}


def _check_word(statement: Statement, word: Word) -> None:
    fault = names.fault(word.text)
    if fault is None or word.text in functions.PUBLIC_FUNCTIONS:  # perhaps a call
        return
    raise statement.error(fault[0], word.start, _WORD_HINTS.get(word.text, fault[1]))


def too_deep(place: Place) -> CellError:
    return CellError(
        f"this nests deeper than {MAX_DEPTH} levels, or has more than {MAX_TERMS} terms",
        place=place,
        hint="name a part of it on a line of its own",
    )
