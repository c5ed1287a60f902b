r"""Environments inside an equation -> a formula: cases with their conditions, and columns.

In: a Reader that has just read \begin{NAME}.  Out: nodes of tree.py.
Not here: expressions (parse.py); environments around whole equations (passages.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from derive.papers.tokens import Token
from derive.papers.tree import Cases, Condition, Group, Node

if TYPE_CHECKING:
    from derive.papers.parse import Reader

CONDITIONS = {"<": "<", ">": ">", "le": "<=", "leq": "<=", "ge": ">=", "geq": ">=", "=": "==",
               "ne": "!=", "neq": "!=", "leqslant": "<=", "geqslant": ">=", "lt": "<",
               "gt": ">"}  # fmt: skip
_IF = frozenset("if for when where".split())
_ELSE = frozenset("otherwise else".split())
_COLUMNS = frozenset("pmatrix bmatrix matrix array Bmatrix vmatrix smallmatrix".split())


def environment(reader: Reader, token: Token) -> Node:
    if token.text in ("cases", "dcases", "rcases"):
        return _cases(reader, token)
    if token.text in _COLUMNS:
        rows = [reader.sum()]
        while reader.peek().kind in ("row", "tab"):
            reader.take()
            if reader.peek().kind == "end":
                break
            rows.append(reader.sum())
        _close(reader, token)
        return Group("column", tuple(rows), at=token.at)
    if token.text in ("aligned", "split", "gathered"):
        node = reader.sum()
        _close(reader, token)
        return node
    raise reader.error(f"an environment {token.text} is not understood", token.at)


def _close(reader: Reader, token: Token) -> None:
    end = reader.take()
    if end.kind != "end" or end.text != token.text:
        raise reader.unexpected(end)


def _cases(reader: Reader, token: Token) -> Node:
    rows: list[tuple[Node, tuple[Condition, ...]]] = []
    while reader.peek().kind != "end":
        value = reader.sum()
        while reader.peek().text in (",", ";", "&"):
            reader.take()
        rows.append((value, _condition(reader)))
        if reader.peek().kind == "row":
            reader.take()
    _close(reader, token)
    if not rows:
        raise reader.error("there are no cases", token.at)
    return Cases(tuple(rows), token.at)


def _condition(reader: Reader) -> tuple[Condition, ...]:
    """`if x < 0`, `0 \\le x < 1` or `otherwise`, for which there are no conditions."""
    at = reader.peek().at
    while reader.peek().kind in ("text", "word"):
        word = reader.peek().text.strip(" ,.~").lower()
        if word in _ELSE:
            reader.take()
            return ()
        if word not in _IF and reader.peek().kind == "word":
            break
        reader.take()
        if word not in _IF:
            raise reader.error(f"'{word}' is no condition", at, "\\text{if } x < 0")
    if reader.peek().kind in ("row", "end"):
        return ()
    left = reader.sum()
    found: list[Condition] = []
    while reader.peek().text in CONDITIONS and reader.peek().kind != "letter":
        sign = reader.take()
        right = reader.sum()
        found.append(Condition(CONDITIONS[sign.text], left, right, at))
        left = right
    if not found:
        raise reader.error("a comparison is missing here", reader.peek().at, "x < 0")
    while reader.peek().text in (",", ".", ";"):
        reader.take()
    return tuple(found)
