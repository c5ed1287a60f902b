"""The shapes that are measured: T steps, B rows, I inputs, H units, and widths by name.

In: text such as "100,32,128,128" or "100,32,256,64,N=4".  Out: `Shape`; ArgumentError.
Not here: which arrays a cell has (task.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Shape:
    """T steps, B rows, input width I; every other width of a cell is H, but those in `named`.

    layers, directions: of a stack."""

    T: int
    B: int
    I: int  # noqa: E741 - the contract's letter
    H: int
    named: tuple[tuple[str, int], ...] = ()
    layers: int = 1
    directions: int = 1

    @property
    def is_stack(self) -> bool:
        return self.layers * self.directions > 1

    def __str__(self) -> str:
        named = [f"{name}={width}" for name, width in self.named]
        if self.is_stack:
            named += [f"layers={self.layers}", f"directions={self.directions}"]
        return ",".join([f"{self.T},{self.B},{self.I},{self.H}", *named])

    def width(self, dim: str) -> int:
        return dict(self.named).get(dim, self.I if dim == "I" else self.H)


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
    Shape(80, 8, 96, 192),
    Shape(60, 20, 200, 200),
    Shape(25, 4, 48, 300),
    Shape(100, 2, 96, 96),
    Shape(50, 16, 160, 160),
    Shape(50, 12, 320, 320),
)
#: The same for cells with heads or a matrix of several axes: four heads.
_AXES = (("N", 4),)
OF_AXES = (
    Shape(100, 1, 128, 32, _AXES),
    Shape(100, 32, 128, 32, _AXES),
    Shape(200, 8, 128, 32, _AXES),
    Shape(100, 32, 256, 64, _AXES),
)
#: Stacks of layers, in one direction and in both.
STACKS = tuple(
    Shape(T, B, H, H, layers=layers, directions=directions)
    for T, B, H in ((100, 1, 128), (100, 8, 128), (100, 32, 128))
    for layers, directions in ((2, 1), (4, 1), (1, 2), (2, 2))
)
#: Small enough to try everything in seconds; the times say little.
QUICK = (Shape(20, 8, 32, 32), Shape(5, 3, 7, 13))


def shapes_of(
    texts: Sequence[str], quick: bool, *, axes: bool = False, stacks: bool = False
) -> tuple[Shape, ...]:
    """axes: whether they are for a cell with arrays of several axes.  stacks: of several layers."""
    if not texts and stacks:
        return (Shape(5, 3, 7, 13, layers=2, directions=2),) if quick else STACKS
    if not texts:
        return QUICK if quick else OF_AXES if axes else DEFAULT
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
    words = [word.strip() for word in text.split(",")]
    plain = [word for word in words if "=" not in word]
    named = tuple(word.partition("=") for word in words if "=" in word)
    numbers = counts_of(",".join(plain), "a shape")
    if len(numbers) != 4:
        raise ArgumentError(f"a shape is T,B,I,H, not '{text}'", hint="--shapes 100,32,128,128")
    widths = {name: counts_of(count, name)[0] for name, _, count in named}
    layers, directions = widths.pop("layers", 1), widths.pop("directions", 1)
    if directions > 2:
        raise ArgumentError(f"a layer has 1 or 2 directions, not {directions}", hint="directions=2")
    return Shape(*numbers, tuple(widths.items()), layers, directions)
