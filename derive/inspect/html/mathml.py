"""SymPy expression -> MathML that a browser lays out.

In: an expression and an order of names, as for text and LaTeX.  Out: `<math>` elements; a long
sum is several of them, one a term, so that a line of text breaks between them.
Not here: the order of terms and where parentheses stand (textbook/notation.py).

Only MathML Core is used: mrow mi mn mo mfrac msqrt msub msup mtable mspace. Names consist of
letters, digits and underscores, so nothing here needs escaping.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from derive.symbolic.closed_set import TABLE
from derive.symbolic.functions import Expr
from derive.textbook.notation import (
    ATOM,
    POWER,
    PRODUCT,
    SUM,
    Notation,
    Order,
    decimal,
    words,
    write,
)

#: A product of a matrix and a vector is written side by side.
_THIN = '<mspace width="0.17em"></mspace>'
_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν",
    "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ",
    "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ",
    "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_FUNCTIONS = {
    **{n: f'<mi class="word">{r.symbol}</mi>' for n, r in TABLE.items() if r.symbol},
    "sum": "<msub><mo>∑</mo><mi>j</mi></msub>",
    "sum_rows": "<msub><mo>∑</mo><mi>n</mi></msub>",
}
_STEPS = {"t": "<mi>t</mi>", "t-1": "<mi>t</mi><mo>−</mo><mn>1</mn>"}
_TALL = ("mfrac", "msqrt", "mtable")
_SIGNS = {"less": "&lt;", "less_equal": "≤", "equal": "=", "not_equal": "≠"}


@dataclass(frozen=True, slots=True)
class Parts:
    """A name taken apart: d_U_f is d, U and f; h_next is h with a prime.

    differentials: how many d stand before it.
    """

    differentials: int
    base: str
    below: tuple[str, ...]


def parts(name: str) -> Parts:
    differentials = 0
    while name.startswith("d_") and name.strip("_") != "d":
        name, differentials = name[2:], differentials + 1
    found: list[str] = []
    for part in words(name):
        if part == "next" and found and not found[-1].endswith("′"):
            found[-1] += "′"
        elif part:
            found.append(_letter(part))
        elif found:  # two underscores in a row, or one at the end: names made unique
            found[-1] += "_"
    return Parts(differentials, found[0], tuple(found[1:]))


def _letter(word: str) -> str:
    letters = word.rstrip("0123456789")
    return _LETTERS.get(letters, letters) + word[len(letters) :]


def math(expr: Expr, order: Order, notation: Notation | None = None) -> tuple[str, ...]:
    """An expression as `<math>` elements, one for each term of the sum that it is."""
    return tuple(element(piece) for piece in _broken(write(expr, notation or MATHML, order)))


def math_name(name: str) -> str:
    return element(_name(name))


def slope(result: str, argument: str) -> str:
    """The partial derivative of one array by another, as one `<math>` element."""
    above, below = (f"<mrow><mo>∂</mo>{_name(name)}</mrow>" for name in (result, argument))
    return element(f"<mfrac>{above}{below}</mfrac>")


def element(inner: str) -> str:
    """As one `<math>`, which is a row itself."""
    return f"<math>{inner}</math>"


def _broken(text: str) -> list[str]:
    """The terms of a written sum, each with its sign; + and - become operators."""
    pieces, depth = [""], 0
    for token in re.split(r"(<[^>]*>)", text):
        if token.startswith("</"):
            depth -= 1
        elif token.startswith("<"):
            depth += 1
        elif depth == 0 and token in (" + ", " - "):
            pieces.append("")
        pieces[-1] += token
    return [_operators(piece) for piece in pieces]


def _operators(text: str) -> str:
    signs = {
        " + ": '<mo form="infix">+</mo>',
        " - ": '<mo form="infix">−</mo>',
        "-": '<mo form="prefix">−</mo>',
    }
    return "".join(
        token if token.startswith("<") else re.sub(r" \+ | - |-", lambda m: signs[m[0]], token)
        for token in re.split(r"(<[^>]*>)", text)
    )


#: One name, number or sign: a row of its own would only make the page longer.
_ONE = re.compile(r"<(m[ino])(?: [^<>]*)?>[^<>]*</\1>")


def _row(inner: str) -> str:
    return inner if _ONE.fullmatch(inner) else f"<mrow>{inner}</mrow>"


def _name(name: str) -> str:
    return name_in(name)


def name_in(name: str, step: str = "") -> str:
    """A name; a step, t or t-1, stands behind its other indices."""
    found = parts(name)
    text = _word(found.base)
    comma = '<mspace width="0.12em"></mspace>'
    below = comma.join(map(_word, found.below))
    if step:
        below += "<mo>,</mo>" * bool(below) + _STEPS[step]
    if below:
        text = f"<msub>{text}{_row(below)}</msub>"
    sign = '<mi class="word">d</mi>' * found.differentials
    return _row(sign + text) if sign else text


def _word(word: str) -> str:
    if word.endswith("′"):  # fonts draw it raised
        return f'<mrow>{_word(word[:-1])}<mo lspace="0" rspace="0">′</mo></mrow>'
    return f"<mi>{word}</mi>" if len(word) == 1 else f'<mi class="word">{word}</mi>'


def _number(value: Expr) -> tuple[str, int]:
    sign = "-" if value < 0 else ""
    precedence = SUM if sign else ATOM
    text = decimal(abs(value))
    if value.is_Rational and not value.is_Integer and len(text) > len(f"{value.p}/{value.q}"):
        over = f"<mfrac><mn>{abs(value.p)}</mn><mn>{value.q}</mn></mfrac>"
        return sign + over, precedence
    digits, _, exponent = text.partition("e")
    if not exponent:
        return f"{sign}<mn>{digits}</mn>", precedence
    minus = "-" if exponent.startswith("-") else ""
    power = f"<msup><mn>10</mn>{_row(f'{minus}<mn>{abs(int(exponent))}</mn>')}</msup>"
    if digits == "1":
        return sign + power, precedence
    return f"{sign}<mn>{digits}</mn><mo>·</mo>{power}", SUM if sign else PRODUCT


def _over(above: str, below: str) -> tuple[str, int]:
    above = "<mn>1</mn>" if above == "1" else above  # the numerator of a reciprocal
    return f"<mfrac>{_row(above)}{_row(below)}</mfrac>", ATOM


def _times(factors: Sequence[str]) -> str:
    first, *rest = factors
    if rest and re.fullmatch(r"<mn>[^<]*</mn>", first):
        return first + _THIN + "<mo>⊙</mo>".join(rest)
    return "<mo>⊙</mo>".join(factors)


def _function(name: str, args: Sequence[str]) -> str:
    if name == "abs":
        return _row(f"<mo>|</mo>{args[0]}<mo>|</mo>")
    if name == "floor":
        return _row(f"<mo>⌊</mo>{args[0]}<mo>⌋</mo>")
    if name == "where":
        condition, chosen, other = map(_row, args)
        return _row(
            "<mo>{</mo><mtable>"
            f"<mtr><mtd>{chosen}</mtd><mtd><mtext>if&#160;</mtext>{condition}</mtd></mtr>"
            f"<mtr><mtd>{other}</mtd><mtd><mtext>otherwise</mtext></mtd></mtr></mtable>"
        )
    head = _FUNCTIONS.get(name) or f'<mi class="word">{name}</mi>'
    (inner, *others) = args
    if name == "sum_rows" and "<mo" not in inner:
        return _row(head + inner)
    return _row(head + _bracketed("<mo>,</mo>".join((inner, *others))))


def _bracketed(inner: str) -> str:
    """In brackets that grow only around what is higher than a line."""
    grow = "" if any(f"<{word}" in inner for word in _TALL) else ' stretchy="false"'
    return _row(f'<mo form="prefix"{grow}>(</mo>{inner}<mo form="postfix"{grow}>)</mo>')


MATHML = Notation(
    name=_name,
    size=lambda dim: _row(f"<mo>|</mo>{_word(_letter(dim))}<mo>|</mo>"),
    number=_number,
    times=_times,
    over=_over,
    bare_quotient=True,
    power=lambda base, exponent: (f"<msup>{_row(base)}{_row(exponent)}</msup>", POWER),
    root=lambda inner: f"<msqrt>{inner}</msqrt>",
    function=_function,
    group=_bracketed,
    product=lambda matrix, vector: f"{matrix}{_THIN}{vector}",
    transposed=lambda matrix: f"<msup>{_row(matrix)}<mo>⊤</mo></msup>",
    outer=lambda a, b: _row(
        f"<msub><mo>∑</mo><mi>n</mi></msub>{_row(a)}{_THIN}<msup>{_row(b)}<mo>⊤</mo></msup>"
    ),
    comparison={name: f"{{0}}<mo>{sign}</mo>{{1}}" for name, sign in _SIGNS.items()},
    part=lambda array, start, stop: (
        f"<msub>{_row(array)}{_row(f'{_word(start)}<mo>:</mo>{_word(stop)}')}</msub>"
    ),
)
