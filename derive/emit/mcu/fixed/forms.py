"""The operations in integers that a step is made of.

In: nothing.  Out: one dataclass for each form, and `Operation`, any of them.
Not here: which numbers they have (scales.py), what they compute (integers.py), text (writer.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.emit.mcu.nests import Term


@dataclass(frozen=True, slots=True)
class Part:
    """An integer in a sum: (the product of the arrays, or 1) * factor, then dropping `drop` bits
    with rounding.  off: of the factor, which has 15 bits, relative to the number it stands for."""

    names: tuple[str, ...]
    factor: int
    drop: int = 0
    off: float = 0.0


@dataclass(frozen=True, slots=True)
class Total:
    """start + the sum of products, each with `drops` bits dropped; then `drop` bits."""

    out: str
    start: Part | None
    terms: tuple[Term, ...]
    drops: tuple[int, ...]
    drop: int


@dataclass(frozen=True, slots=True)
class Along:
    """The largest element, or running sums, along an axis; then `drop` bits."""

    out: str
    term: Term
    drop: int


@dataclass(frozen=True, slots=True)
class Linear:
    """The sum of parts and a constant; then `drop` bits, or, negative, so many zeros behind."""

    out: str
    parts: tuple[Part, ...]
    constant: int
    drop: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table of 257 values, between which a parabola runs through each three.

    error: the most by which a result differs from the function at the same argument, found at each
    of the 65,536 arguments that the bound allows."""

    out: str
    source: str
    function: str
    table: tuple[int, ...]
    error: float


@dataclass(frozen=True, slots=True)
class Choice:
    """maximum or minimum of two."""

    out: str
    kind: str
    parts: tuple[Part, Part]


@dataclass(frozen=True, slots=True)
class Where:
    """chosen where the comparison of `test` holds, else other."""

    out: str
    kind: str
    test: tuple[Part, Part]
    chosen: Part
    other: Part


@dataclass(frozen=True, slots=True)
class Quotient:
    """above * 2^15 / below, towards zero; then `drop` bits. A zero below: the largest number of
    the sign of above."""

    out: str
    above: Part
    below: str
    drop: int


@dataclass(frozen=True, slots=True)
class Whole:
    """sign or floor of one array. bits: of it; left: bits of the result."""

    out: str
    kind: str
    source: str
    bits: int
    left: int


Operation = Total | Along | Linear | Lookup | Choice | Where | Quotient | Whole
