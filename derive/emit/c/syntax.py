"""How expressions and names are written in C.

In: a real type.  Out: a printer Syntax, and C names for a cell's arrays.
Not here: stages and memory (stages.py), the functions themselves (templates/c/kernels).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from derive.program import Namer
from derive.symbolic.closed_set import TABLE
from derive.symbolic.code import Syntax, shortest


@dataclass(frozen=True, slots=True)
class Real:
    """A floating type: its name in C, the tag in function names, its literal suffix."""

    real: str
    tag: str
    suffix: str
    dtype: type[np.floating]

    @property
    def upper(self) -> str:
        return self.tag.upper()

    def literal(self, value: float) -> str:
        return shortest(value, self.dtype) + self.suffix


REALS = (Real("float", "f32", "f", np.float32), Real("double", "f64", "", np.float64))

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
    "size_t ptrdiff_t max_align_t".split()
)
_TAKEN_FORMS = re.compile(
    r"(dk|DK)_\w*|M_\w+|FP_\w+|U?INT\w*_C|\w+_(MAX|MIN)|u?int\w*_t|DERIVE_\w*|\w+_H"
)


def is_taken(word: str) -> bool:
    return word in _TAKEN or _TAKEN_FORMS.fullmatch(word) is not None


def c_names(names: Iterable[str]) -> dict[str, str]:
    """A C name for each array: its own, with an underscore behind it where C has taken it."""
    names = tuple(names)
    namer = Namer(name for name in names if not is_taken(name))
    return {name: namer(f"{name}_") if is_taken(name) else name for name in names}


def syntax(real: Real, names: Mapping[str, str], sizes: Mapping[str, str]) -> Syntax:
    """Vectors of `real`; scalar constants are promoted by the vector extension."""

    def call(name: str) -> str:
        return f"dk_{name}_{real.tag}"

    callees = {name: call(name) for name in (*TABLE, "square")}
    compare = ("less", "less_equal", "equal", "not_equal")
    return Syntax(
        number=real.literal,
        whole=lambda value: f"dk_splat_{real.tag}({real.literal(value)})",
        name=names.__getitem__,
        size=sizes.__getitem__,
        functions=callees,
        comparisons={name: f"dk_{name}_{real.tag}({{0}}, {{1}})" for name in compare},
        power=lambda base, exponent: f"dk_pow_{real.tag}({base}, {shortest(exponent, np.float64)})",
    )
