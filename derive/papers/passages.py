r"""A pasted text -> prose, and formulas taken apart into statements.

In: LaTeX as it stands in a paper, with the words between the formulas or without.
Out: passages; each formula is a list of statements such as `left = right` or `W \in R^{H x I}`.
Not here: tokens (tokens.py), what a side of an equation means (parse.py).

Formulas are what stands between dollar signs, in `\[ \]`, and in environments such as align. A text
that has none of these is read line by line: a line with an equals sign is a formula.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from derive.papers.tokens import Text, Token, tokens

_ENVIRONMENTS = (
    "equation align alignat gather eqnarray multline flalign displaymath math dmath aligned split"
    " gathered array IEEEeqnarray subequations"
).split()
_DISPLAY = re.compile(
    r"(?<!\\)\$\$(?P<dollars>.*?)(?<!\\)\$\$"
    r"|\\\[(?P<brackets>.*?)\\\]"
    r"|\\begin\s*\{(?P<name>" + "|".join(_ENVIRONMENTS) + r")(?P<star>\*?)\}"
    r"(?:\s*\[[a-z]\])?(?:\s*\{[lcr|@! 0-9]*\})?(?P<inner>.*?)"
    r"\\end\s*\{(?P=name)(?P=star)\}"
    r"|(?<![\\$])\$(?!\$)(?P<inline>.+?)(?<!\\)\$"
    r"|\\\((?P<round>.*?)\\\)",
    re.DOTALL,
)
#: A section after the equations that is about their derivatives.
_GRADIENTS = re.compile(r"\\(?:sub)*section\*?\{[^}]*\b(?:[Gg]radients?|[Bb]ackward)\b[^}]*\}")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
#: Environments that arrange formulas; those that are not in brackets vanish.
_CARRIERS = {*_ENVIRONMENTS}
RELATIONS = frozenset({"=", "in", "leftarrow", "gets", "equiv", "triangleq", "coloneqq", "doteq"})
_OPERATORS = frozenset("+ - * / odot circ cdot times otimes".split())
_OPENERS = {"(": ")", "[": "]", "\\{": "\\}"}


@dataclass(frozen=True, slots=True)
class Statement:
    """left RELATION right, and the label that stands before it, such as "Outputs:"."""

    left: tuple[Token, ...]
    relation: str  # "=", "in", or "" where left is only mentioned
    right: tuple[Token, ...]
    start: int
    end: int
    inline: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class Prose:
    start: int
    end: int


Passage = Statement | Prose


def passages(text: Text) -> Iterator[Passage]:
    """What the text consists of, in order."""
    bare = _COMMENT.sub(lambda m: " " * len(m[0]), text.text)
    body = re.search(r"\\begin\s*\{document\}", bare)
    at = body.end() if body else 0
    found = [m for m in _DISPLAY.finditer(bare, at)]
    last = found and _GRADIENTS.search(bare, found[0].end())
    if last:
        bare = bare[: last.start()]
        found = [m for m in found if m.end() <= len(bare)]
    if not found:
        yield from _lines(text, bare, 0, len(bare))
        return
    label = ""
    display = any(m["inline"] is None and m["round"] is None for m in found)

    def between(end: int) -> Iterator[Passage]:
        if bare[at:end].strip(" \t\n.,;:"):
            if display:
                yield Prose(at, end)
            else:
                yield from _lines(text, bare, at, end)

    for match in found:
        yield from between(match.start())
        words = bare[at : match.start()]
        if heading := re.search(r"(\b[A-Z][a-z]+)\s*:\s*\Z", words):
            label = heading[1].lower().removesuffix("s")
        elif re.search(r"[.\n]\s*\n|\.\s", words):
            label = ""
        at = match.end()
        group = next(
            g for g in ("dollars", "brackets", "inner", "inline", "round") if match[g] is not None
        )
        inline = group in ("inline", "round")
        yield from _statements(text, *match.span(group), inline=inline, label=label)
    yield from between(len(bare))


def _lines(text: Text, bare: str, at: int, end: int) -> Iterator[Passage]:
    """A text without marks: formulas are lines with a relation, and those that go on."""
    begin: int | None = None
    for line in [*bare[at:end].splitlines(keepends=True), ""]:
        stripped = line.strip()
        open_ = begin is not None and _is_open(bare[begin:at])
        goes_on = begin is not None and (
            open_ or re.match(r"&?\s*(?:[-+*/]|\\(?:odot|circ|cdot|times|quad)\b)", stripped)
        )
        if not line or not goes_on:
            if begin is not None:
                yield from _statements(text, begin, at, inline=False)
                begin = None
            if re.search(r"(?<![<>!:])=|\\in\b|∈|\\leftarrow|←", line) and not _is_words(line):
                begin = at
            elif stripped:
                yield Prose(at, at + len(line))
        at += len(line)


def _is_open(formula: str) -> bool:
    plain = re.sub(r"\\.", "", formula)
    ended = formula.rstrip()
    return (
        plain.count("{") > plain.count("}")
        or plain.count("(") > plain.count(")")
        or plain.count("[") > plain.count("]")
        or formula.count("\\begin") > formula.count("\\end")
        or ended.endswith(("=", "+", "-", "\\odot", "\\circ", "\\cdot"))
    )


def _is_words(line: str) -> bool:
    """A sentence that happens to hold an equals sign."""
    plain = re.sub(r"\\[A-Za-z]+|[_^]\{[^}]*\}", " ", line)
    return len(re.findall(r"(?<![\\A-Za-z_{])[A-Za-z]{4,}(?![A-Za-z}(])", plain)) >= 4


# --- a formula to statements ----------------------------------------------------------------


def _statements(
    text: Text, start: int, end: int, *, inline: bool, label: str = ""
) -> Iterator[Statement]:
    for piece in _pieces(_rows(tokens(text, start, end))):
        split = next((k for k, token in enumerate(piece) if _is_relation(piece, k)), None)
        left = piece if split is None else piece[:split]
        right: Sequence[Token] = () if split is None else piece[split + 1 :]
        word = "" if split is None else "in" if piece[split].text == "in" else "="
        right, shape = _last_side(right) if word == "=" else (right, None)
        if shape is not None and left:
            yield Statement(tuple(left), "in", tuple(shape), piece[0].at, _end(piece[-1]), True)
        if split and left and left[-1].text == ":":
            left = left[:-1]
        begin, stop = (start, end) if inline else (piece[0].at, _end(piece[-1]))
        yield Statement(tuple(left), word, tuple(right), begin, stop, inline, label)


def _last_side(right: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token] | None]:
    r"""Of `a = b = c` what stands last, and the shape of `a = b \in \mathbb{R}^d`."""
    shape: Sequence[Token] | None = None
    found = next((k for k in range(len(right)) if _is_relation(right, k)), None)
    while found is not None:
        if right[found].text == "in":
            right, shape = right[:found], right[found + 1 :]
            break
        right = right[found + 1 :]
        found = next((k for k in range(len(right)) if _is_relation(right, k)), None)
    return right, shape


def _end(token: Token) -> int:
    return token.at + len(token.text) + (token.kind in ("command", "begin", "end"))


def _rows(found: Sequence[Token]) -> Iterator[list[Token]]:
    """The rows of a formula; one that has no relation goes on with the row above it."""
    found = _without_brace(found)
    rows: list[list[Token]] = [[]]
    nesting: list[str] = []
    for k, token in enumerate(found):
        if token.kind in ("begin", "end") and _carries(found, k, nesting):
            continue
        if token.kind in ("open", "begin"):
            nesting.append(token.text)
        elif token.kind in ("close", "end") and nesting:
            nesting.pop()
        if token.kind == "row" and not nesting:
            rows.append([])
        else:
            rows[-1].append(token)
    joined: list[list[Token]] = []
    for row in rows:
        bare = [token for token in row if token.kind not in ("space", "tab")]
        if not bare:
            continue
        indented = row[0].kind == "tab" and not any(_is_relation(row, k) for k in range(len(row)))
        goes_on = bare[0].text in (*_OPERATORS, "=") or indented
        if joined and (goes_on or _unbalanced(joined[-1]) or _dangles(joined[-1])):
            inner = [token for token in row if token.kind != "tab"]
            joined[-1] += inner[inner.index(bare[0]) :]
        else:
            joined.append(row)
    yield from joined


def _without_brace(found: Sequence[Token]) -> Sequence[Token]:
    """A system of equations behind one brace is rows like any other."""
    bare = [token for token in found if token.kind != "space"]
    first = bare[0].kind == "begin" and bare[0].text in ("cases", "dcases") if bare else False
    if first and bare[-1].kind == "end" and bare[-1].text == bare[0].text:
        return bare[1:-1]
    braced = len(bare) > 2 and bare[0].text == "\\{" and bare[1].kind == "begin"
    if braced and bare[-1].kind == "end" and bare[1].text in _CARRIERS:
        return bare[2:-1]
    return found


def _carries(found: Sequence[Token], k: int, nesting: list[str]) -> bool:
    """Whether begin or end belongs to an environment that only arranges rows."""
    token = found[k]
    if token.text not in _CARRIERS:
        return False
    if token.kind == "begin":
        fenced = k > 0 and found[k - 1].text in _OPENERS and token.text == "array"
        return not nesting and not fenced
    return not (nesting and nesting[-1] == token.text)


def _dangles(row: Sequence[Token]) -> bool:
    last = next((t for t in reversed(row) if t.kind not in ("space", "tab")), None)
    return last is not None and (last.text in _OPERATORS or last.text == "=")


def _unbalanced(row: Sequence[Token]) -> bool:
    depth = 0
    for token in row:
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
    return depth > 0


def _is_relation(row: Sequence[Token], k: int) -> bool:
    """Whether the k-th token relates two sides, outside brackets."""
    token = row[k]
    if token.text not in RELATIONS or token.kind not in ("sign", "command"):
        return False
    depth = 0
    for before in row[:k]:
        depth += _opens(before) - _closes(before)
    return depth == 0


def _opens(token: Token) -> bool:
    return token.kind in ("open", "begin") or (token.kind == "sign" and token.text in _OPENERS)


def _closes(token: Token) -> bool:
    closers = _OPENERS.values()
    return token.kind in ("close", "end") or (token.kind == "sign" and token.text in closers)


def _pieces(rows: Iterator[list[Token]]) -> Iterator[list[Token]]:
    """Statements: several stand in one row, with commas, gaps, words or columns between them."""
    for row in rows:
        parts: list[list[Token]] = [[]]
        seams: list[str] = []
        depth = 0
        for k, token in enumerate(row):
            depth += _opens(token) - _closes(token)
            near = [row[j].text for j in (k - 1, k + 1) if 0 <= j < len(row)]
            aligned = token.kind == "tab" and any(word in RELATIONS for word in near)
            if depth == 0 and _separates(token) and not aligned:
                parts.append([])
                is_or = token.kind == "text" and token.text.strip(" ,").lower() == "or"
                seams.append("or" if is_or else "," if token.text == "," else " ")
            elif token.kind not in ("space", "tab") or depth:
                parts[-1].append(token)
        yield from _joined(parts, [*seams, " "])


def _separates(token: Token) -> bool:
    if token.kind == "space":
        return token.text in ("quad", "qquad", "enspace")
    return token.kind in ("tab", "text") or token.text in (",", ";")


def _joined(parts: list[list[Token]], seams: list[str]) -> Iterator[list[Token]]:
    """`i_t, f_t = ...` is one statement, and so is `q, k = W x, V x`, and a row that a gap cuts
    before an operator. Of `a = b OR c` it is the first that counts."""
    waiting: list[Token] = []
    done: list[list[Token]] = []
    for part, seam, before in zip(parts, seams, ["", *seams], strict=False):
        if not part or _is_number(part):
            continue
        related = any(_is_relation(part, k) for k in range(len(part)))
        if not related and done and (part[0].text in _OPERATORS or _dangles(done[-1])):
            done[-1] += part
        elif not related and before == "or":
            continue
        elif not related and before == "," and done and _waits(done[-1]):
            done[-1] += [Token("sign", ",", _end(done[-1][-1])), *part]
        elif not related and seam == ",":
            waiting += [*part, Token("sign", ",", _end(part[-1]))]
        else:
            done.append([*waiting, *part])
            waiting = []
    if waiting:
        done.append(waiting[:-1])
    yield from (_without_full_stop(piece) for piece in done)


def _waits(piece: Sequence[Token]) -> bool:
    """Whether more stand on the left, with commas between them, than on the right."""
    at = next((k for k in range(len(piece)) if _is_relation(piece, k)), None)
    if at is None:
        return False
    counts = []
    for side in (piece[:at], piece[at + 1 :]):
        depth = count = 0
        for token in side:
            depth += _opens(token) - _closes(token)
            count += token.text == "," and depth == 0
        counts.append(count)
    return counts[0] > counts[1]


def _is_number(part: Sequence[Token]) -> bool:
    """(3), the number of an equation, or a full stop."""
    texts = [token.text for token in part if token.kind != "space"]
    if len(texts) == 1:
        return texts[0] in (".", ":", "!")
    return len(texts) == 3 and texts[0] == "(" and texts[2] == ")" and texts[1].isdigit()


def _without_full_stop(piece: list[Token]) -> list[Token]:
    while len(piece) > 1 and piece[-1].text in (".", ",", ";"):
        piece = piece[:-1]
    return piece
