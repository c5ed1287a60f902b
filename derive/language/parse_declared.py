"""One array of a declaration: its name, its shape, and what it starts from.

In: a part of a statement.  Out: a Declared.
Not here: statements (parse_text.py), expressions (parse_expression.py).
"""

from __future__ import annotations

import re

from derive.language import names, parse_expression, tokens, tree
from derive.language.declaration import Declared, Dim
from derive.language.tokens import Statement
from derive.widths import Width

EXAMPLES = {
    "cell": "cell   janet",
    "input": "input  x: I",
    "state": "state  h: H",
    "param": "param  W: H x I",
    "fixed": "fixed  A: M x M",
    "const": "const  beta = 1.0",
    "output": "output h'",
}


def declared(
    statement: Statement, start: int, end: int, kind: str, default: Dim | None
) -> Declared:
    text = statement.text
    start_value, stop = _start_value(statement, start, end, kind)
    once = _ONCE.search(text, start, stop) if kind == "input" else None
    if once and text[start : once.start()].rstrip()[-1:] in ("", ":"):
        once = None  # its name, or its width
    stop = once.start() if once else stop
    colon = text.find(":", start, stop)
    name_end = stop if colon < 0 else colon
    name_end = start + len(text[start:name_end].rstrip(" \t\n"))
    name = plain_name(statement, start, name_end, kind)
    shape: tuple[Dim, ...] | None = None if default is None else (default,)
    if colon >= 0:
        shape = _shape(statement, colon + 1, stop, kind)
    elif kind == "fixed":
        raise statement.error(f"the shape of '{name}' is missing", name_end, f"{name}: M x M")
    return Declared(name, shape, statement.place(start), start_value, bool(once))


_ONCE = re.compile(r"(?<=[ \t\n])once[ \t\n]*\Z")


def _start_value(
    statement: Statement, start: int, end: int, kind: str
) -> tuple[tree.Node | None, int]:
    """What stands behind `=` in a declaration, and where the rest of it ends."""
    equals = statement.text.find("=", start, end)
    if equals < 0:
        return None, end
    if kind not in ("param", "state"):
        what = f"{_ARTICLES[kind]} has no value to start from"
        raise statement.error(what, equals, EXAMPLES[kind])
    return parse_expression.read_start(statement, equals + 1, end), equals


_ARTICLES = {"input": "an input", "fixed": "a fixed array"}

#: Axes that an array may have besides its rows.
MAX_AXES = 3
#: Dimensions that a width may be the sum of, multiples counted: each becomes an array of its own.
MAX_DIMENSIONS = 64
#: Parentheses and products in a shape: each is a level of the parser.
MAX_NESTED = 60


def _shape(statement: Statement, start: int, end: int, kind: str) -> tuple[Dim, ...]:
    """`H`, `H x I` or `N x D x K`, where a width may be a sum; the widths themselves may have any
    name, `x` too."""
    words = re.finditer(r"[^ \t\n*+()]+|[*+()]", statement.text[start:end])
    parts = [(m.group(), m.start()) for m in words]
    nested = [at for text, at in parts if text in ("(", "*")]
    if len(nested) > MAX_NESTED:
        what = f"a shape has up to {MAX_NESTED} parentheses and products"
        raise statement.error(what, start + nested[MAX_NESTED], EXAMPLES[kind])
    found: list[Dim] = []
    while True:
        first = parts[0][1] if parts else 0
        width, parts = _sum_of_widths(statement, parts, start, end, kind)
        if sum(width.atom_counts()) > MAX_DIMENSIONS:
            what = f"a width is the sum of up to {MAX_DIMENSIONS} dimensions"
            raise statement.error(what, start + first, EXAMPLES[kind])
        found.append(width.dim)
        if not parts:
            break
        text, at = parts.pop(0)
        if text != "x":
            what = f"'{text}' has no meaning in a width"
            raise statement.error(what, start + at, EXAMPLES[kind])
        if len(found) == MAX_AXES:
            what = f"an array has up to three axes, and '{text}' begins a fourth"
            raise statement.error(what, start + at, "N x D x K")
    return tuple(found)


_Words = list[tuple[str, int]]


def _sum_of_widths(
    statement: Statement, parts: _Words, start: int, end: int, kind: str
) -> tuple[Width, _Words]:
    """`H`, `4*H`, `I + H`, `2*(I + H)` or `12` at the beginning of `parts`, and what follows."""
    total, parts = _multiple(statement, parts, start, end, kind)
    while parts and parts[0][0] == "+":
        width, parts = _multiple(statement, parts[1:], start, end, kind)
        total = total + width
    return total, parts


def _multiple(
    statement: Statement, parts: _Words, start: int, end: int, kind: str
) -> tuple[Width, _Words]:
    """A width, a sum in parentheses, or a number times one of the two."""
    if not parts:
        raise statement.error("a width is missing here", end, EXAMPLES[kind])
    (text, at), *parts = parts
    if text == "(":
        width, parts = _sum_of_widths(statement, parts, start, end, kind)
        if not parts or parts[0][0] != ")":
            what = "one width, or a sum of widths, stands in parentheses"
            raise statement.error(what, start + at, "(I + H)")
        parts = parts[1:]
    else:
        width = Width.of(_width(statement, text, start + at, kind))
    if not parts or parts[0][0] != "*":
        return width, parts
    if text == "(" or not isinstance(width.dim, int) or len(parts) < 2:
        what, hint = f"'{text} *' is no multiple of a dimension", f"4*{text}"
        if text == "(":
            what, hint = "a number stands before a sum that it multiplies", "4*(I + H)"
        raise statement.error(what, start + at, hint)
    factor, parts = _multiple(statement, parts[1:], start, end, kind)
    return factor.times(width.dim), parts


def _width(statement: Statement, text: str, at: int, kind: str) -> Dim:
    if re.fullmatch(r"[0-9]+", text) and len(text) < 10 and int(text) > 0:
        return int(text)
    fault = names.dimension_fault(text)
    if re.fullmatch(r"[-+]?[0-9]+", text):
        fault = f"a width is at least 1 and below 10**9, not {text}"
    if fault is not None:
        raise statement.error(fault, at, EXAMPLES[kind])
    return text


def plain_name(statement: Statement, start: int, end: int, kind: str) -> str:
    name = statement.text[start:end]
    if not name:
        raise statement.error(f"a name is missing after '{kind}'", start, EXAMPLES[kind])
    if not names.is_identifier(name):
        for word in tokens.words(statement, start, end):
            if word.end < end:
                last = word.end
                while statement.text[last] in " \t\n":
                    last += 1
                raise statement.error(
                    f"'{statement.text[last:end]}' has no meaning in '{kind}'",
                    last,
                    EXAMPLES[kind],
                )
    check_name(statement, name, start)
    return name


def check_name(statement: Statement, name: str, at: int) -> None:
    fault = names.fault(name)
    if fault is not None:
        raise statement.error(fault[0], at, fault[1])
