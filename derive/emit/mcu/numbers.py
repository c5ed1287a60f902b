"""What numbers the code computes with: the lines of sums, equations and stores.

In: names of elements, and what is done with them.  Out: lines of C.
Not here: loops and places (lines.py), numbers in fixed point (fixed/writer.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from derive.emit.c.syntax import scalar_syntax
from derive.program import Map
from derive.symbolic.code import print_expression

Lines = list[str]


class Numbers(Protocol):
    """real: the type of elements in memory.  value: of an element in a register, and how to read
    one.  once: whether an element is read into a register before it is used.  registers: whether a
    sum must be complete before it is written.

    A sum is begun, added to, and ended; between, it is called `running(name)`.
    """

    real: str
    value: str
    once: bool
    registers: bool

    def read(self, element: str) -> str: ...
    def zero(self) -> str: ...
    def running(self, name: str) -> str: ...
    def begin(self, out: str, name: str, start: str) -> Lines:
        """out: the array; name: of its element; start: an element, or "" for zero."""
        ...

    def added(self, out: str, place: int, total: str, factors: Sequence[str]) -> str:
        """`total` and a product. place: of the term among those of the sum `out`."""
        ...

    def end(self, out: str, name: str) -> Lines: ...
    def ended(self, out: str, total: str) -> str:
        """The element that a sum in `total` is."""
        ...

    def equation(self, equation: Map, name: str, texts: Mapping[str, str]) -> Lines: ...
    def stored(self, value: str) -> str: ...
    def largest(self) -> tuple[str, str]:
        """What a maximum begins with, and how it goes on: of {0} and {1}."""
        ...


class FloatNumbers:
    """float, as C computes."""

    real, value, once, registers = "float", "float", False, False

    def __init__(self, dims: Mapping[str, str], order: Mapping[str, int]) -> None:
        self.dims, self.order = dims, order

    def read(self, element: str) -> str:
        return element

    def zero(self) -> str:
        return "0.0f"

    def running(self, name: str) -> str:
        return name

    def begin(self, out: str, name: str, start: str) -> Lines:
        return [f"float {name} = {start or '0.0f'};"]

    def added(self, out: str, place: int, total: str, factors: Sequence[str]) -> str:
        if len(factors) == 1:
            return f"{total} + {factors[0]}"
        return f"DERIVE_FMA({factors[0]}, {factors[1]}, {total})"

    def end(self, out: str, name: str) -> Lines:
        return []

    def ended(self, out: str, total: str) -> str:
        return total

    def equation(self, equation: Map, name: str, texts: Mapping[str, str]) -> Lines:
        syntax = scalar_syntax(texts, self.dims)
        return [f"const float {name} = {print_expression(equation.expr, syntax, self.order)};"]

    def stored(self, value: str) -> str:
        return value

    def largest(self) -> tuple[str, str]:
        return "-derive_infinity()", "derive_maximum({0}, {1})"
