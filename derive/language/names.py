"""Which names a cell may use, and which two names are probably the same one misspelt.

In: a word of the user's.  Out: the reason why it cannot be a name, or None; likely slips.
Not here: whether a name is defined, or twice (check_shapes.py).
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from derive.symbolic import functions

#: C11. Those that begin with an underscore are no names anyway.
_C_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef
    union unsigned void volatile while
"""
C_KEYWORDS = frozenset(_C_KEYWORDS.split())
PYTHON_KEYWORDS = frozenset(keyword.kwlist)

NEXT = "_next"

PI = "const pi = 3.141592653589793"

#: What papers and other libraries append to an array's name to speak of another time step.
TIMES = ("_prev", "_tm1", "_t", "_old", "_last")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


def is_identifier(word: str) -> bool:
    return _IDENTIFIER.match(word) is not None


def next_of(state: str) -> str:
    """The name of the next value of a state, in Python's spelling: `h_next` for `h'`."""
    return state + NEXT


def fault(word: str) -> tuple[str, str | None] | None:
    """Why `word` cannot name anything, and a hint; None where it can."""
    if not is_identifier(word):
        return f"'{word}' is no name: letters, digits and underscores only, a letter first", None
    if word.startswith("_"):
        plain = word.strip("_")
        return f"'{word}' begins with an underscore", plain if is_identifier(plain) else None
    for language, words in (("Python", PYTHON_KEYWORDS), ("C", C_KEYWORDS)):
        if word in words:
            return f"'{word}' is a reserved word of {language}", f"{word.lower()}_"
    if word in functions.RESERVED:
        return f"'{word}' is a function, so nothing else can have this name", f"{word}_"
    return None


def of_another_time(word: str) -> tuple[str, str] | None:
    """(array, suffix) of a word such as `h_prev` or `x_t`; None where there is no suffix."""
    for suffix in TIMES:
        if word.endswith(suffix) and len(word) > len(suffix):
            return word.removesuffix(suffix), suffix
    return None


def dimension_fault(word: str) -> str | None:
    """Why `word` cannot name a dimension; dimensions live apart from arrays and functions."""
    if not is_identifier(word) or word.startswith("_"):
        return f"'{word}' is no width"
    if word in PYTHON_KEYWORDS or word in C_KEYWORDS:
        return f"'{word}' is a reserved word"
    return None


def closest(word: str, known: Iterable[str]) -> str | None:
    """The first known name that is one edit away from `word`; a single letter is near all."""
    for name in known:
        if len(word) > 1 and name != word and one_edit(word, name):
            return name
    return None


def slip(word: str, known: Iterable[str]) -> str | None:
    """A known name that `word` was probably meant to be.

    W_i and W_f, beta1 and beta2, W and U are families, not slips: the difference has to lie
    in a part of three letters or more, in an underscore, or be no more than upper case.
    """
    for name in known:
        if name != word and one_edit(word, name) and _is_suspicious(word, name):
            return name
    return None


def _is_suspicious(a: str, b: str) -> bool:
    if re.sub("[0-9]", "", a) == re.sub("[0-9]", "", b):
        return False
    if a.lower() == b.lower():
        return len(a) > 1
    if re.sub("[0-9]+", "0", a) == re.sub("[0-9]+", "0", b):
        return False
    first, second = a.split("_"), b.split("_")
    if len(first) != len(second):
        return min(len(a), len(b)) > 1
    parts = [(u, v) for u, v in zip(first, second, strict=True) if u != v]
    return all(max(len(u), len(v)) > 2 for u, v in parts)


def one_edit(a: str, b: str) -> bool:
    """Whether one insertion, deletion, replacement or swap of neighbours turns a into b."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    u, v = a[start:], b[start:]
    return u[1:] == v[1:] or u[1:] == v or u == v[1:] or (u[:2] == v[1::-1] and u[2:] == v[2:])
