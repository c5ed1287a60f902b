"""A written formula -> lines of a given width.

In: a formula as text or LaTeX, a width, how wide a piece is.  Out: its lines.
Not here: writing it (textbook/notation.py, latex/notation.py).

A line breaks before + and - outside brackets where it can, else before * and /, else inside
brackets; never inside braces or between \\left and \\right, which TeX keeps together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: What a line may break before, best first.
_SIGNS = (" + ", " - ", " * ", " / ", r" \odot ", " @ ", r" \, ")
_RANK = {" + ": 0, " - ": 0, " * ": 1, " / ": 1, r" \odot ": 1, " @ ": 3, r" \, ": 3}
_OPEN = re.compile(r"\\left|\\begin\{\w+\}|(?<!\\)\{")
_CLOSE = re.compile(r"\\right|\\end\{\w+\}|(?<!\\)\}")


@dataclass(frozen=True, slots=True)
class _Place:
    """at: where a line may begin.  cost: how much one would rather not."""

    at: int
    cost: int


def folded(text: str, width: float, measure: Callable[[str], float] = len) -> list[str]:
    """Lines of at most `width`, where there is a place to break; the first is never empty."""
    lines, start = [], 0
    places = list(_places(text))
    while measure(text[start:]) > width:
        later = [p for p in places if p.at > start]
        fitting = [p for p in later if measure(text[start : p.at]) <= width]
        if not fitting and not later:
            break
        # The best kind of place, as far on as the line reaches; a short line is as bad as a
        # bracket that is torn apart.
        chosen = (
            min(fitting, key=lambda p: (_penalty(p, text, start, width, measure), -p.at))
            if fitting
            else later[0]
        )
        lines.append(text[start : chosen.at].rstrip())
        start = chosen.at
    return [*lines, text[start:].strip()]


def _penalty(
    place: _Place, text: str, start: int, width: float, measure: Callable[[str], float]
) -> int:
    return place.cost + 4 * (measure(text[start : place.at]) < 0.35 * width)


def _places(text: str) -> Iterator[_Place]:
    kept_together = brackets = k = 0
    while k < len(text):
        if found := _OPEN.match(text, k) or _CLOSE.match(text, k):
            opens = found.re is _OPEN
            kept_together += 1 if opens else -1
            # The bracket behind \left and \right belongs to it.
            k = found.end() + (found[0] in (r"\left", r"\right"))
            continue
        brackets += (text[k] in "([") - (text[k] in ")]")
        if not kept_together:
            for sign in _SIGNS:
                if text.startswith(sign, k):
                    yield _Place(k + 1, _RANK[sign] + 2 * brackets)
        k += 1


# --- how wide LaTeX is ----------------------------------------------------------------------

_WORD = re.compile(r"\\(?:mathrm|operatorname|text|mathbf)(?=\{)|\\[A-Za-z]+|\\.|[^\\]", re.DOTALL)
_WIDE = {r"\odot": 2.3, r"\sum": 2.4, r"\cdot": 1.4, r"\partial": 1.2, r"\top": 1.4,
         r"\tanh": 4.6, r"\exp": 3.6, r"\log": 3.2, r"\sin": 3.0, r"\cos": 3.2, r"\max": 4.0,
         r"\min": 3.8, r"\quad": 2.2, r"\le": 2.3, r"\ne": 2.3, r"\times": 2.3}  # fmt: skip
_NOTHING = {r"\left", r"\right", r"\textstyle", r"\displaystyle", r"\mathrm", r"\operatorname",
            r"\text", r"\mathbf", "{", "}", "_", "^", "&"}  # fmt: skip


def latex_width(text: str) -> float:
    """About how wide LaTeX sets a formula, in letters of average width."""
    return _width(text)


def _width(text: str, scale: float = 1.0) -> float:
    total, k = 0.0, 0
    while k < len(text):
        if text.startswith((r"\frac{", r"\dfrac{"), k):
            above, k = _braced(text, text.index("{", k))
            below, k = _braced(text, k)
            total += max(_width(above, scale), _width(below, scale)) + 0.6 * scale
        elif text[k] in "_^" and text[k + 1 : k + 2] == "{":
            inner, k = _braced(text, k + 1)
            total += _width(inner, 0.75 * scale)
        elif text.startswith(r"\begin{cases}", k):
            end = text.find(r"\end{cases}", k)
            end = len(text) if end < 0 else end
            rows = text[k + len(r"\begin{cases}") : end].split(r"\\")
            total += 3 + max(_width(row, scale) for row in rows)
            k = end + len(r"\end{cases}")
        else:
            found = _WORD.match(text, k)
            assert found is not None
            total += scale * _letter(found[0])
            k = found.end()
    return total


def _letter(token: str) -> float:
    if token in _NOTHING:
        return 0.0
    if token == r"\,":
        return 0.35
    if token == " ":
        return 0.05
    if token in "+-=<>":
        return 2.3
    return _WIDE.get(token, 1.15 if token.startswith("\\") or token.isupper() else 1.0)


def _braced(text: str, at: int) -> tuple[str, int]:
    """What stands between the brace at `at` and the one that closes it, and where that ends."""
    depth, k = 0, at
    while k < len(text):
        if text[k] == "\\":
            k += 2
            continue
        depth += (text[k] == "{") - (text[k] == "}")
        k += 1
        if depth == 0:
            return text[at + 1 : k - 1], k
    return text[at + 1 :], len(text)
