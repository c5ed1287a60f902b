"""Atoms, monomials and polynomials: what they are, how they add up, and their keys.

In: atoms and exact numbers.  Out: immutable polynomials; two are equal exactly if their
`key`s are.
Not here: what a product of atoms comes to (products.py), and how atoms are made that stand for
functions (piecewise.py, powers.py, functions.py): only those are in normal form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

MAX_TERMS = 4000


class TooLarge(Exception):
    """A polynomial grew beyond MAX_TERMS."""


@dataclass(frozen=True, eq=False)
class Atom:
    """kind: array, param, product, sum, size, exp, power or function.

    name: of the array, matrix, dimension or function; args: what it is applied to.
    scalar: whether it is one number a row, which moves out of products and sums.
    """

    kind: str
    name: str
    args: tuple[Poly, ...] = ()
    scalar: bool = False

    @cached_property
    def key(self) -> str:
        inner = ";".join(arg.key for arg in self.args)
        return f"{self.kind}:{self.name}({inner})"

    @cached_property
    def _hash(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash


Mono = tuple[tuple[Atom, int], ...]


class Poly:
    """A sum of numbers times monomials.

    product: of two monomials, in normal form; put here by the package (products.py).
    """

    __slots__ = ("_key", "terms")

    product: ClassVar[Callable[[Mono, Mono], Poly]]

    def __init__(self, terms: Mapping[Mono, Fraction]) -> None:
        if len(terms) > MAX_TERMS:
            raise TooLarge
        self.terms = {m: c for m, c in terms.items() if c}
        self._key: str | None = None

    @property
    def key(self) -> str:
        if self._key is None:
            parts = (f"{c}*{mono_key(m)}" for m, c in self.ordered())
            self._key = "+".join(parts) or "0"
        return self._key

    def ordered(self) -> list[tuple[Mono, Fraction]]:
        return sorted(self.terms.items(), key=lambda item: mono_key(item[0]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.key)

    def __add__(self, other: Poly) -> Poly:
        terms = dict(self.terms)
        for mono, c in other.terms.items():
            terms[mono] = terms.get(mono, Fraction(0)) + c
        return Poly(terms)

    def __sub__(self, other: Poly) -> Poly:
        return self + other.times(Fraction(-1))

    def times(self, number: Fraction) -> Poly:
        return Poly({m: c * number for m, c in self.terms.items()})

    def __mul__(self, other: Poly) -> Poly:
        terms: dict[Mono, Fraction] = {}
        for a, c in self.terms.items():
            for b, d in other.terms.items():
                for mono, e in Poly.product(a, b).terms.items():
                    terms[mono] = terms.get(mono, Fraction(0)) + c * d * e
                if len(terms) > MAX_TERMS:
                    raise TooLarge
        return Poly(terms)

    @property
    def number(self) -> Fraction | None:
        """The number that it is, if it is one."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get(()) if len(self.terms) == 1 else None

    @property
    def scalar(self) -> bool:
        return all(atom.scalar for mono in self.terms for atom, _ in mono)

    def atoms(self) -> Iterable[Atom]:
        for mono, _ in self.ordered():
            for atom, _ in mono:
                yield atom


def mono_key(mono: Mono) -> str:
    return ".".join(f"{atom.key}^{n}" for atom, n in mono)


def constant(value: Fraction | int) -> Poly:
    return Poly({(): Fraction(value)})


def of(atom: Atom, exponent: int = 1) -> Poly:
    return Poly({((atom, exponent),): Fraction(1)})


def single(mono: Mono) -> Poly:
    return Poly({mono: Fraction(1)})


ZERO, ONE = constant(0), constant(1)
HALF = Fraction(1, 2)
