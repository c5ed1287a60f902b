"""What a parameter map is: every parameter of one cell as a sum of parts of another's.

In and out: data alone.
Not here: how a map is found (one_way.py), its numbers (equal_numbers.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """factor * name, transposed, as a diagonal matrix, or the identity or the number 1."""

    kind: str  # vector, matrix, diag, eye or one
    name: str
    transposed: bool
    factor: Fraction

    def text(self) -> str:
        bare = {"diag": f"diag({self.name})", "eye": "identity", "one": ""}.get(
            self.kind, self.name + (".T" if self.transposed else "")
        )
        size = abs(self.factor)
        if not bare:
            return str(size)
        return bare if size == 1 else f"{size} * {bare}"


@dataclass(frozen=True, slots=True)
class ParameterMap:
    """Every parameter of `target` as a sum of parts of those of `source`.

    error: how far the two are apart with the map applied, relative; values and gradients.
    states, sizes: {state or dimension of target: of source}.
    from_zero: whether initial states have to be zero.
    affine: {state of target: (factor, shift)}, where it is not simply the source's.
    digits: 0 for a map that is proved; otherwise to how many digits one step agrees.
    """

    source: str
    target: str
    params: dict[str, tuple[Part, ...]]
    states: dict[str, str]
    sizes: dict[str, str]
    from_zero: bool
    invertible: bool
    error: float
    affine: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    digits: int = 0

    def factor(self, state: str) -> float:
        return float(self.affine[state][0]) if state in self.affine else 1.0

    def moved(self, state: str, value: Any) -> Any:
        """The target's state for a value of the source's."""
        if state not in self.affine:
            return value
        factor, shift = self.affine[state]
        return value * int(factor.numerator) / int(factor.denominator) + float(shift)

    def lines(self) -> list[str]:
        return [f"{name} = {text_of(parts)}" for name, parts in self.params.items()]


def text_of(parts: tuple[Part, ...]) -> str:
    result = ""
    for part in parts:
        sign = "-" if part.factor < 0 else "+"
        result += f" {sign} {part.text()}" if result else f"{sign.strip('+')}{part.text()}"
    return result or "0"
