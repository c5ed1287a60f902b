"""SymPy expression -> LaTeX.

In: an expression and an order of names, as for text.  Out: a formula that needs amsmath alone.
Not here: the order of terms and where parentheses stand (textbook/notation.py), documents
(report.py).

A cotangent d_NAME is written dNAME, the next value of a state with a prime, * as a circled dot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import Expr
from derive.textbook.notation import (
    ATOM,
    POWER,
    PRODUCT,
    SUM,
    Notation,
    Written,
    decimal,
    is_decimal,
    words,
)

_LETTERS = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega
"""
_GREEK = frozenset(_LETTERS.split())
_LATEX_FUNCTIONS = {
    **{name: record.latex for name, record in TABLE.items() if record.latex},
    "sum": r"{\textstyle\sum_{j}}",
    "sum_rows": r"{\textstyle\sum_{n}}",
}
#: What is higher than a line.
_TALL = (r"\frac", r"\begin", r"\sqrt", r"\left")
_LATEX_SIGNS = {"less": "<", "less_equal": r"\le", "equal": "=", "not_equal": r"\ne"}


def latex_name(name: str, step: str = "") -> str:
    r"""d_U_f -> \mathrm{d}U_{f};  h_next -> h';  tanh_c_next -> \mathrm{tanh}_{c'}; a step stands
    behind the other indices: a_f of t-1 -> a_{f,t-1}."""
    if name.startswith("d_") and name.strip("_") != "d":
        return r"\mathrm{d}" + latex_name(name[2:], step)
    parts: list[str] = []
    for part in words(name):
        if part == "next" and parts and not parts[-1].endswith("'"):
            parts[-1] += "'"
        elif part:
            parts.append(_latex_word(part))
        else:  # two underscores in a row, or one at an end
            return _upright(name) + (f"_{{{step}}}" if step else "")
    below = r"\,".join(parts[1:])
    below = f"{below},{step}" if below and step else below or step
    return f"{parts[0]}_{{{below}}}" if below else parts[0]


def _upright(word: str) -> str:
    return rf"\mathrm{{{_escaped(word)}}}"


def _escaped(word: str) -> str:
    return word.replace("_", r"\_")


def _latex_word(word: str) -> str:
    letters = word.rstrip("0123456789")
    if letters in _GREEK:
        return rf"{{\{letters}{word[len(letters) :]}}}"
    return word if len(word) == 1 else _upright(word)


def _latex_number(value: Expr) -> Written:
    if value.is_Rational and not value.is_Integer and not is_decimal(value):
        sign = "-" if value < 0 else ""
        return rf"{sign}\frac{{{abs(value.p)}}}{{{value.q}}}", ATOM if not sign else SUM
    text = decimal(value)
    if "e" in text:
        digits, _, exponent = text.partition("e")
        power = rf"10^{{{int(exponent)}}}"
        if digits == "1":
            return power, POWER
        text = rf"{digits} \cdot {power}"
        return text, PRODUCT if value.is_nonnegative else SUM
    return text, ATOM if value.is_nonnegative else SUM


def _times(factors: Sequence[str]) -> str:
    """A number stands before what it multiplies, without a sign."""
    first, *rest = factors
    if rest and re.fullmatch(r"[\d.]+", first):
        return rf"{first} \, " + r" \odot ".join(rest)
    return r" \odot ".join(factors)


def _latex_function(name: str, args: Sequence[str]) -> str:
    inner = ", ".join(args)
    if name == "abs":
        return rf"\left|{inner}\right|"
    if name == "floor":
        return rf"\left\lfloor {inner} \right\rfloor"
    if name == "where":
        condition, chosen, other = args
        return (
            rf"\begin{{cases}} {chosen} & \text{{if }} {condition} \\ "
            rf"{other} & \text{{otherwise}} \end{{cases}}"
        )
    head = _LATEX_FUNCTIONS.get(name) or rf"\operatorname{{{_escaped(name)}}}"
    if name == "sum_rows" and len(args) == 1 and not re.search(r" [-+] |\\odot|\\,|\(", inner):
        return rf"{head} {inner}"
    return head + _bracketed(inner)


def _bracketed(inner: str) -> str:
    """In brackets that grow where they must; lines break only inside those that do not."""
    if any(word in inner for word in _TALL):
        return rf"\left({inner}\right)"
    return f"({inner})"


LATEX = Notation(
    name=latex_name,
    size=lambda dim: rf"|{_latex_word(dim)}|",
    number=_latex_number,
    times=_times,
    over=lambda above, below: (rf"\frac{{{above}}}{{{below}}}", ATOM),
    bare_quotient=True,
    power=lambda base, exponent: (rf"{{{base}}}^{{{exponent}}}", POWER),
    root=lambda inner: rf"\sqrt{{{inner}}}",
    function=_latex_function,
    group=_bracketed,
    product=lambda matrix, vector: rf"{matrix} \, {vector}",
    transposed=lambda matrix: rf"{{{matrix}}}^{{\top}}",
    outer=lambda a, b: rf"{{\textstyle\sum_{{n}}}} {{{a}}} \, {{{b}}}^{{\top}}",
    comparison={name: f"{{0}} {sign} {{1}}" for name, sign in _LATEX_SIGNS.items()},
    part=lambda array, start, stop: rf"{{{array}}}_{{{start}:{stop}}}",
)
