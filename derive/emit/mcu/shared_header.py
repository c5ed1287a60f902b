"""The header that every cell of the mcu target includes.

In: nothing.  Out: its text, the same for every cell.
Not here: the C itself (templates/mcu), the constants that the C target has too
(emit/c/shared_header.py).
"""

from __future__ import annotations

import re
from typing import Any

from derive.build.templates import environment
from derive.emit.c.shared_header import single_precision
from derive.emit.c.syntax import listed, scalar_syntax
from derive.emit.c.syntax import single as single_text
from derive.symbolic.closed_set import TABLE
from derive.symbolic.closed_set.record import COMPOSED
from derive.symbolic.code import print_expression
from derive.symbolic.composed import composed, symbols

_HEXADECIMAL = re.compile(r"-?0x[\da-f.]+p[-+]?\d+f")

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

#: A word of zeros, then 2 / pi in words of 32 bits, as far as the largest argument meets it.
TWO_OVER_PI = (
    "0x00000000u", "0xa2f9836eu", "0x4e441529u", "0xfc2757d1u",
    "0xf534ddc0u", "0xdb629599u", "0x3c439041u", "0xfe5163abu",
)  # fmt: skip


def render_header() -> str:
    """The text of derive_mcu.h."""
    template = environment().get_template("mcu/derive_mcu.h.j2")
    single = {name: _decimal(value) for name, value in single_precision().items()}
    values = {
        **single,
        "minus_ln2_low": single["ln2_low"].removeprefix("-"),
        "erf_terms": _terms(ERF),
        "sin_terms": _terms(SIN),
        "cos_terms": _terms(COS),
        "two_over_pi": "\n        ".join(listed(TWO_OVER_PI, indent=8, end="")),
        "scalar_composed": _composed(),
    }
    return template.render(r=values)


def _terms(lowest_first: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_decimal(f"{term}f") for term in reversed(lowest_first))


def _decimal(value: Any) -> Any:
    """A hexadecimal float in decimal, the shortest that reads back: older C++ has no other."""
    if isinstance(value, tuple):
        return tuple(map(_decimal, value))
    if isinstance(value, str) and _HEXADECIMAL.fullmatch(value):
        return single_text(float.fromhex(value.removesuffix("f")))
    return value


def _composed() -> tuple[tuple[str, str], ...]:
    """Functions that are made of others, each with its text in terms of v."""
    found = []
    for name, record in TABLE.items():
        if record.c == COMPOSED:
            (v,) = symbols(name)
            text = print_expression(composed(name, (v,)), scalar_syntax({"v": "v"}, {}), {})
            found.append((name, text))
    return tuple(found)
