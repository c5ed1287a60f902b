"""The header that every cell of the mcu target includes.

In: nothing.  Out: its text, the same for every cell.
Not here: the C itself (templates/mcu), the constants that the C target has too
(emit/c/shared_header.py).
"""

from __future__ import annotations

import mpmath

from derive.build.templates import environment
from derive.emit.c.shared_header import single_precision
from derive.emit.c.syntax import listed, scalar_syntax
from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import COMPOSED
from derive.symbolic.code import print_expression
from derive.symbolic.composed import composed, symbols

#: erf(x) / x - 1 in z = x^2 for |x| < 0.75, lowest power first.
ERF = (
    "0x1.06eba8p-3",
    "-0x1.81273ap-2",
    "0x1.ce2acep-4",
    "-0x1.b7a75cp-6",
    "0x1.4f1888p-8",
    "-0x1.613e2cp-11",
)
#: (sin(r) / r - 1) / z and (cos(r) - 1 + z / 2) / z^2 in z = r^2 for |r| <= pi / 4.
SIN = ("-0x1.555544p-3", "0x1.1106c6p-7", "-0x1.991bf4p-13")
COS = ("0x1.55554ap-5", "-0x1.6c0c2p-10", "0x1.99e42cp-16")

#: Words of 2 / pi that the largest argument meets.
_WORDS = 7


def render_header() -> str:
    """The text of derive_mcu.h."""
    template = environment().get_template("mcu/derive_mcu.h.j2")
    single = single_precision()
    values = {
        **single,
        "minus_ln2_low": single["ln2_low"].removeprefix("-"),
        "erf_terms": _terms(ERF),
        "sin_terms": _terms(SIN),
        "cos_terms": _terms(COS),
        "two_over_pi": "\n        ".join(listed(_two_over_pi(), indent=8, end="")),
        "scalar_composed": _composed(),
    }
    return template.render(r=values)


def _terms(lowest_first: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{term}f" for term in reversed(lowest_first))


def _two_over_pi() -> list[str]:
    """A word of zeros, then 2 / pi in words of 32 bits."""
    with mpmath.workprec(32 * _WORDS + 64):
        digits = int(mpmath.floor(mpmath.ldexp(2 / mpmath.pi, 32 * _WORDS)))
    words = [digits >> 32 * (_WORDS - 1 - k) & 0xFFFFFFFF for k in range(_WORDS)]
    return [f"0x{word:08x}u" for word in (0, *words)]


def _composed() -> tuple[tuple[str, str], ...]:
    """Functions that are made of others, each with its text in terms of v."""
    found = []
    for name, record in TABLE.items():
        if record.c == COMPOSED:
            (v,) = symbols(name)
            text = print_expression(composed(name, (v,)), scalar_syntax({"v": "v"}, {}), {})
            found.append((name, text))
    return tuple(found)
