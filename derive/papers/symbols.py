r"""Sub- and superscripts: which say when, which are part of a name, which are exponents.

In: the tokens of a script.  Out: its parts, and the time it names.
Not here: where scripts stand (parse.py).

`t` in `x_t`, `x^{(t)}`, `x^{\langle t \rangle}`, `x_{t,j}` and `x(t)` is the time. The letter may
be another: it is the one that stands before `-1` in a script.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from derive.papers.passages import Statement
from derive.papers.tokens import Token

_BRACKETS = frozenset({"(", ")", "[", "]", "langle", "rangle", "<", ">", "\\{", "\\}", "|"})
_ACCENTS = {
    "tilde": "tilde", "widetilde": "tilde", "hat": "hat", "widehat": "hat", "bar": "bar",
    "overline": "bar", "dot": "dot", "check": "check", "breve": "breve", "ddot": "ddot",
    "acute": "acute", "grave": "grave", "mathring": "ring", "overrightarrow": "right",
    "overleftarrow": "left", "underbar": "bar", "mathcal": "cal", "mathscr": "cal",
    "mathfrak": "frak",
}  # fmt: skip
#: Letters of an index that may run over units: x_t^j is the j-th number of x_t.
_UNIT_INDICES = ("j", "k")
_BEFORE = frozenset({"prev", "old", "last", "previous"})
_TRANSPOSED = frozenset({"top", "T", "dagger", "intercal", "mathsf", "transpose", "mathsf{T}"})


def accent(token: Token) -> str | None:
    return _ACCENTS.get(token.text) if token.kind == "command" else None


def parts(script: Sequence[Token]) -> tuple[str, ...]:
    r"""`{x,i}` is ("x", "i"); `{xi}` is ("xi",); `{(t-1)}` is ("t-1",); `{\tilde{c}}` is
    ("ctilde",)."""
    found = [""]
    accents: list[str] = []
    for token in script:
        if token.kind == "space" or token.text in (",", ";", "_"):
            found.append("")
        elif name := accent(token):
            accents.append(name)
        elif token.text in _BRACKETS or token.kind in ("open", "close") or token.text == "^":
            continue
        elif token.text in ("'", "prime"):
            found[-1] += "p"
        elif token.text in ("*", "star", "ast"):
            found[-1] += "star"
        else:
            whole = token.kind in ("command", "word") and len(token.text) > 1 and found[-1]
            found[-1] += ("_" if whole else "") + token.text + "".join(accents)
            accents = []
    return tuple(part for part in found if part)


def time_letter(statements: Iterable[Statement]) -> str:
    """The letter that scripts subtract one from, most often; t if several do or none does."""
    count: Counter[str] = Counter()
    for statement in statements:
        row = (*statement.left, *statement.right)
        for before, letter, sign, one in zip(row, row[1:], row[2:], row[3:], strict=False):
            opened = before.text in ("_", "{", "(", ",", "<", "langle", "[")
            if opened and letter.kind == "letter" and sign.text in "-+" and one.text == "1":
                count[letter.text] += 1
    if not count or "t" in count:
        return "t"
    return count.most_common(1)[0][0]


@dataclass(frozen=True, slots=True)
class Indices:
    """time: the letter of the time.  units: letters that run over the units of a vector.
    numbered: symbols whose exponents are numbers of a series, x^1 and x^2, and no powers.
    bare: capital letters that stand somewhere without an index or exponent."""

    time: str = "t"
    units: frozenset[str] = frozenset()
    numbered: frozenset[str] = frozenset()
    bare: frozenset[str] = frozenset()


def indices(statements: Sequence[Statement]) -> Indices:
    """The letters that mean an index. A letter runs over the units where it stands at a symbol
    beside the time, h_j^{(t)}, or at a bracket, [W x]_j."""
    letter = time_letter(statements)
    units: set[str] = set()
    for statement in statements:
        row = [token for token in (*statement.left, *statement.right) if token.kind != "space"]
        scripts: list[tuple[str, ...]] = []
        at_bracket = False
        k = 0
        while k < len(row):
            if row[k].text not in ("_", "^") or k + 1 == len(row):
                scripts, at_bracket = [], row[k].text in (")", "]", "}")
                k += 1
                continue
            end = k + 2
            if row[k + 1].kind == "open":
                depth = 1
                while end < len(row) and depth:
                    depth += (row[end].kind == "open") - (row[end].kind == "close")
                    end += 1
            nested = any(token.text in ("_", "^") for token in row[k + 1 : end])
            scripts.append(() if nested else parts(row[k + 1 : end]))  # e^{u + k_t}: no index
            times = any(time_of(part, letter) is not None for s in scripts for part in s)
            if times or (at_bracket and row[k].text == "_") or (at_bracket and len(scripts) == 1):
                units |= {part for s in scripts for part in s if part in _UNIT_INDICES}
            k = end
    numbered, bare = frozenset(_numbered(statements)), frozenset(_bare(statements))
    return Indices(letter, frozenset(units - {letter}), numbered, bare)


def _bare(statements: Iterable[Statement]) -> Iterator[str]:
    for statement in statements:
        for side in (statement.left, statement.right):
            row = [token for token in side if token.kind != "space"]
            for token, following in itertools.zip_longest(row, row[1:]):
                scripted = following is not None and following.text in ("_", "^")
                if token.kind == "letter" and token.text.isupper() and not scripted:
                    yield token.text


def _numbered(statements: Iterable[Statement]) -> Iterator[str]:
    """Symbols that are defined with a number above, or have the number 1 above: x^1."""
    for statement in statements:
        for side, left in ((statement.left, True), (statement.right, False)):
            base = ""
            row = [token for token in side if token.kind not in ("open", "close", "space")]
            for before, token in itertools.pairwise(row):
                if before.kind in ("letter", "word") and before.text not in ("t", "T"):
                    base = before.text
                if before.text == "^" and token.kind == "number" and (left or token.text == "1"):
                    yield base


def time_of(part: str, letter: str) -> int | None:
    """0 for t, -1 for t-1; None where the part names no time."""
    if part in _BEFORE:
        return -1
    found = re.fullmatch(rf"{letter}(?:([+-])(\d))?", part)
    if found is None:
        return None
    return int(f"{found[1]}{found[2]}") if found[1] else 0


def is_transpose(found: Sequence[str]) -> bool:
    return len(found) == 1 and found[0] in _TRANSPOSED


def is_name(part: str) -> bool:
    """Whether a part of a superscript belongs to a name: letters, or a letter and a number."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(?:[+-]\d)?", part) is not None


def in_a_name(part: str) -> str:
    """`l-1` as part of a name: lm1."""
    return part.replace("-", "m").replace("+", "p")
