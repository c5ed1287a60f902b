"""How expressions, names and long lines are written in C.

In: expressions and names.  Out: a printer Syntax, C names for a cell's arrays, lines that fit.
Not here: stages and memory (stages.py), the functions themselves (templates/c/kernels).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from derive.program import Namer
from derive.symbolic.closed_set import TABLE
from derive.symbolic.code import Syntax, shortest


@dataclass(frozen=True, slots=True)
class Real:
    """A floating type: its name in C, and the tag in function names."""

    real: str
    tag: str

    @property
    def upper(self) -> str:
        return self.tag.upper()


REALS = (Real("float", "f32"), Real("double", "f64"))

#: Legal names of the contract that a C or C++ compiler reads as something else: keywords of
#: C++ and of later C (the header is includable from both), and macros of the headers included.
_TAKEN = frozenset(
    "alignas alignof and_eq asm bitand bitor bool catch char8_t char16_t char32_t co_await "
    "co_return co_yield compl concept consteval constexpr constinit const_cast decltype delete "
    "dynamic_cast explicit export false friend mutable namespace new noexcept not_eq nullptr "
    "operator or_eq private protected public reinterpret_cast requires static_assert static_cast "
    "template this thread_local throw true typeid typename typeof typeof_unqual using virtual "
    "wchar_t xor xor_eq linux unix i386 NULL EOF NAN INFINITY HUGE_VAL HUGE_VALF HUGE_VALL "
    "MATH_ERRNO MATH_ERREXCEPT math_errhandling errno signgam float_t double_t "
    "size_t ptrdiff_t max_align_t assert complex imaginary noreturn stdin stdout stderr bool true "
    "false near far small huge interface pascal cdecl".split()
)
_TAKEN_FORMS = re.compile(
    r"(dk|DK|derive)_\w*|M_\w+|FP_\w+|U?INT\w*_C|\w+_(MAX|MIN)|u?int\w*_t|DERIVE_\w*|\w+_H"
)


def is_taken(word: str) -> bool:
    return word in _TAKEN or _TAKEN_FORMS.fullmatch(word) is not None


def c_names(names: Iterable[str]) -> dict[str, str]:
    """A C name for each array: its own, with an underscore behind it where C has taken it."""
    return _giving_way(names, is_taken)


def member_names(names: Iterable[str]) -> dict[str, str]:
    """The same for members of a structure that users include: there names without a small letter
    give way too, which a program keeps for its macros."""
    return _giving_way(names, lambda name: is_taken(name) or name.upper() == name)


def _giving_way(names: Iterable[str], taken: Callable[[str], bool]) -> dict[str, str]:
    names = tuple(names)
    namer = Namer(name for name in names if not taken(name))
    return {name: namer(f"{name}_") if taken(name) else name for name in names}


#: Whole numbers that every precision holds.
_WHOLE = 1 << 24


def number(value: float) -> str:
    """A constant beside a vector, in the precision of the text that it stands in."""
    if abs(value) <= _WHOLE and value == int(value):
        return str(int(value))
    return f"DK_REAL({shortest(value, np.float64)})"


def syntax(names: Mapping[str, str], sizes: Mapping[str, str]) -> Syntax:
    """Vectors of DK_TAG's precision; scalar constants are promoted by the vector extension."""
    callees = {name: f"dk_{name}" for name in (*TABLE, "square")}
    compare = ("less", "less_equal", "equal", "not_equal")
    return Syntax(
        number=number,
        whole=lambda value: f"dk_splat({number(value)})",
        name=names.__getitem__,
        size=sizes.__getitem__,
        functions=callees,
        comparisons={name: f"dk_{name}({{0}}, {{1}})" for name in compare},
        power=lambda base, exponent: f"dk_pow({base}, {shortest(exponent, np.float64)})",
    )


def typed_syntax(tag: str, names: Mapping[str, str]) -> Syntax:
    """The same in a text of one precision, whose constants are whole numbers."""
    general = syntax(names, {})

    def typed(callee: str) -> str:
        return callee.replace("(", f"_{tag}(", 1)

    return replace(
        general,
        whole=lambda value: typed(general.whole(value)),
        functions={name: f"{callee}_{tag}" for name, callee in general.functions.items()},
        comparisons={name: typed(callee) for name, callee in general.comparisons.items()},
        power=lambda base, exponent: typed(general.power(base, exponent)),
    )


#: What the functions of the mcu target's header begin with.
SCALAR = "derive_"


def scalar_syntax(names: Mapping[str, str], sizes: Mapping[str, str]) -> Syntax:
    """Scalars of single precision, for a processor without vectors: derive_tanh(2.0f * a).

    names: of arrays; sizes: macros of dimensions.
    """
    callees = {name: f"{SCALAR}{name}" for name in (*TABLE, "sqrt", "square")}
    signs = {"less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!="}
    return Syntax(
        number=single,
        whole=single,
        name=names.__getitem__,
        size=lambda dim: f"(float){sizes[dim]}",
        functions=callees,
        comparisons={name: f"{{0}} {sign} {{1}}" for name, sign in signs.items()},
        power=scalar_power,
    )


def single(value: float) -> str:
    """A constant of type float; one that is too large for it is infinite."""
    with np.errstate(over="ignore"):
        nearest = np.float32(value)
    if np.isinf(nearest):
        return f"-{SCALAR}infinity()" if nearest < 0 else f"{SCALAR}infinity()"
    return f"{shortest(float(nearest), np.float32)}f"


#: Integer exponents up to this are products.
_PRODUCTS = 8


def scalar_power(base: str, exponent: float) -> str:
    """base to a constant exponent: a product, by a root, or by exp and log of two parts each."""
    if exponent == int(exponent) and abs(exponent) <= _PRODUCTS:
        return f"{SCALAR}power_int({base}, {int(exponent)})"
    if 2 * exponent == int(2 * exponent) and abs(exponent) <= _PRODUCTS:
        return f"{SCALAR}power_half({base}, {int(2 * exponent)})"
    bits = np.float32(exponent).view(np.uint32) & np.uint32(0xFFFFF000)
    high = float(bits.view(np.float32))  # of 12 bits: its product with a whole number is exact
    return f"{SCALAR}pow({base}, {single(high)}, {single(exponent - high)})"


#: The longest line of code, where it can be broken.
WIDTH = 100


#: Where a line may go on: behind a comma or an opening bracket, before an operator.
_BREAK = re.compile(r"(?<=[,;({=]) | (?=(?:[-+*/?:]|&&|\|\|) )")


def broken(text: str, indent: int) -> tuple[str, ...]:
    """A line of C in lines that fit, at `indent`; those after the first stand further in.

    It is broken inside as few brackets as can be, as long as a third of a line is used.
    """
    lines, start, room = [], "", WIDTH - indent
    while len(start + text) > room:
        places = [m.start() for m in _BREAK.finditer(text) if len(start) + m.start() <= room]
        if not places:
            break
        late = [place for place in places if 3 * place > room] or places[-1:]
        place = min(late, key=lambda at: (_depth(text[:at]), -at))
        lines.append(start + text[:place])
        text, start = text[place + 1 :], "    "
    return (*lines, start + text)


def _depth(text: str) -> int:
    """Brackets that are open at the end."""
    return sum(text.count(sign) for sign in "([{") - sum(text.count(sign) for sign in ")]}")


def listed(items: Iterable[str], indent: int, end: str = ",") -> tuple[str, ...]:
    """Items separated by commas, and `end` behind the last, in lines that fit."""
    words = list(items)
    lines: list[str] = []
    for k, word in enumerate(words):
        word += end if k + 1 == len(words) else ","
        if lines and indent + len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(lines)
