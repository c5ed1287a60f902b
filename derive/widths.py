"""Widths of arrays: a dimension, a number, or a sum of multiples of them, `4*H` or `I + H`.

In: texts and numbers.  Out: `Width`, which adds, subtracts, compares and divides; and lengths.
Not here: which array has which width (language/), arrays of a call (kernel/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: A width as it stands in shapes: a positive number, a dimension, or a sum as text.
Dim = str | int

_TERM = re.compile(r"(?:(\d+)\s*\*\s*)?([A-Za-z][A-Za-z0-9_]*)|(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Width:
    """A sum of multiples of dimensions and a number, in the order in which it was written.

    terms: (dimension, factor); the dimension of a plain number is "". Factors are not 0.
    """

    terms: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, dim: Dim) -> Width:
        """The width that a text such as "4*H" or "I + H + 1" denotes."""
        if isinstance(dim, int):
            return cls((("", dim),) if dim else ())
        total = cls(())
        for part in dim.split("+"):
            match = _TERM.fullmatch(part.strip())
            assert match is not None, f"{dim!r} is no width"
            factor, name, number = match.groups()
            total = total + cls(((name or "", int(number or factor or 1)),))
        return total

    @property
    def dim(self) -> Dim:
        """The width as it stands in a shape."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and not self.terms[0][0]:
            return self.terms[0][1]
        return " + ".join(self._text(name, factor) for name, factor in self.terms)

    @staticmethod
    def _text(name: str, factor: int) -> str:
        if not name:
            return str(factor)
        return name if factor == 1 else f"{factor}*{name}"

    def __str__(self) -> str:
        return str(self.dim)

    def _factors(self) -> dict[str, int]:
        return dict(self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Width) and self._factors() == other._factors()

    def __hash__(self) -> int:
        return hash(frozenset(self.terms))

    def __add__(self, other: Width) -> Width:
        factors = self._factors()
        for name, factor in other.terms:
            factors[name] = factors.get(name, 0) + factor
        return Width(tuple((name, factor) for name, factor in factors.items() if factor))

    def __sub__(self, other: Width) -> Width:
        return self + Width(tuple((name, -factor) for name, factor in other.terms))

    def times(self, factor: int) -> Width:
        return Width(tuple((name, own * factor) for name, own in self.terms)) if factor else ZERO

    def part(self, count: int) -> Width | None:
        """One of `count` equal parts; None where it does not divide."""
        if any(factor % count for _, factor in self.terms):
            return None
        return Width(tuple((name, factor // count) for name, factor in self.terms))

    def fits(self, other: Width) -> bool:
        """Whether it is at most as long as `other`, however long dimensions are."""
        return all(factor > 0 for _, factor in (other - self).terms)

    def atoms(self) -> tuple[Dim, ...]:
        """Dimensions and numbers that it is the sum of: (H, H, I) for 2*H + I."""
        found: list[Dim] = []
        for name, factor in self.terms:
            found += [name] * factor if name else [factor]
        return tuple(found)

    def atom_counts(self) -> tuple[int, ...]:
        """How often each of its dimensions is added."""
        return tuple(factor for name, factor in self.terms if name)

    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.terms if name)

    def length(self, sizes: Mapping[str, int]) -> int:
        """How long it is, given the lengths of dimensions."""
        return sum(factor * (sizes[name] if name else 1) for name, factor in self.terms)

    def solve(self, length: int, known: Mapping[str, int]) -> tuple[str, int] | None:
        """(dimension, its length), as it follows from the length of this width.

        None where several dimensions are unknown; ("", 0) where none is, or no length fits.
        """
        unknown = [(name, factor) for name, factor in self.terms if name and name not in known]
        if len(unknown) > 1:
            return None
        rest = length - sum(
            f * (known[n] if n else 1) for n, f in self.terms if (n, f) not in unknown
        )
        if not unknown or rest < 0 or rest % unknown[0][1]:
            return "", 0
        return unknown[0][0], rest // unknown[0][1]


ZERO = Width(())
ONE = Width.of(1)
