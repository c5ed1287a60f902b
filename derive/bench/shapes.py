"""The shapes that are measured: T steps, B rows, I inputs, H units.

In: text such as "100,32,128,128".  Out: `Shape`; ArgumentError.
Not here: which arrays a cell has (task.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Shape:
    """T steps, B rows, input width I; every other width of a cell is H."""

    T: int
    B: int
    I: int  # noqa: E741 - the contract's letter
    H: int

    def __str__(self) -> str:
        return f"{self.T},{self.B},{self.I},{self.H}"


#: The shapes that are measured by default.
DEFAULT = (
    Shape(100, 1, 128, 128),
    Shape(100, 32, 128, 128),
    Shape(100, 32, 256, 256),
    Shape(50, 64, 512, 512),
    Shape(200, 16, 64, 64),
    Shape(1, 1, 128, 128),
    Shape(1, 1, 512, 512),
    Shape(37, 7, 65, 130),
    Shape(64, 3, 100, 100),
)
#: Small enough to try everything in seconds; the times say little.
QUICK = (Shape(20, 8, 32, 32), Shape(5, 3, 7, 13))


def shapes_of(texts: Sequence[str], quick: bool) -> tuple[Shape, ...]:
    if not texts:
        return QUICK if quick else DEFAULT
    return tuple(dict.fromkeys(map(_shape, texts)))


def counts_of(text: str, what: str) -> tuple[int, ...]:
    """Positive integers with commas between them."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise ArgumentError(f"{what} must be positive integers with commas, not '{text}'")
    return numbers


def _shape(text: str) -> Shape:
    numbers = counts_of(text, "a shape")
    if len(numbers) != 4:
        raise ArgumentError(f"a shape is T,B,I,H, not '{text}'", hint="--shapes 100,32,128,128")
    return Shape(*numbers)
