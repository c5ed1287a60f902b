"""Atoms, monomials and polynomials: what they are, how they add up, and their keys.

In: atoms and exact numbers.  Out: immutable polynomials; two are equal exactly if their
`key`s are.
Not here: what a product of atoms comes to (products.py), and how atoms are made that stand for
functions (piecewise.py, powers.py, functions.py): only those are in normal form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, TypeVar

MAX_TERMS = 2000
#: Numbers of more bits than this are no use: no cell's text has them, rewriting makes them.
MAX_BITS = 2000
#: Products of two monomials that one comparison may form, unless it says otherwise.
STEPS = 400_000
#: The one before most monomials: it is told by `is`, which takes no time.
UNIT = Fraction(1)
#: Longer keys are replaced by a digest of 128 bits, the same on every machine.
LONG = 96


class TooLarge(Exception):
    """A form grew beyond MAX_TERMS or MAX_BITS, or took more than its budget of steps."""


_left: ContextVar[list[int] | None] = ContextVar("steps left", default=None)


@contextmanager
def budget(steps: int = STEPS) -> Iterator[None]:
    """Within it TooLarge is raised after so many products, or where forms nest too deeply.

    A budget inside another one takes from both.
    """
    outer = _left.get()
    mine = [steps if outer is None else min(steps, outer[0])]
    before = mine[0]
    token = _left.set(mine)
    try:
        yield
    except RecursionError:
        raise TooLarge from None
    finally:
        _left.reset(token)
        if outer is not None:
            outer[0] -= before - mine[0]


_opaque: ContextVar[bool] = ContextVar("functions with kinks stay as they are", default=False)


@contextmanager
def opaque(on: bool = True) -> Iterator[None]:
    """Within it functions with kinks are not written in terms of others: relu(a) stays relu(a).

    What is equal then is equal for any such functions, and so are its derivatives,
    for any convention at a kink.
    """
    token = _opaque.set(on)
    try:
        yield
    finally:
        _opaque.reset(token)


def is_opaque() -> bool:
    return _opaque.get()


_said: ContextVar[dict[str, None] | None] = ContextVar("identities used", default=None)


@contextmanager
def explained() -> Iterator[dict[str, None]]:
    """Within it the identities that are used are collected, each once."""
    found: dict[str, None] = {}
    token = _said.set(found)
    try:
        yield found
    finally:
        _said.reset(token)


def say(identity: str) -> None:
    said = _said.get()
    if said is not None:
        said.setdefault(identity)


def spend(steps: int = 1) -> None:
    left = _left.get()
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise TooLarge


def short(text: str) -> str:
    """A text, or its digest where it is long: those of nested atoms would double at each level."""
    if len(text) <= LONG:
        return text
    return "#" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def once(known: dict[Key, tuple[Value, int]], key: Key, make: Callable[[], Value]) -> Value:
    """What `make` gives, made once a key. The budget is charged each time, so that the result of a
    comparison does not depend on what was remembered."""
    if key in known:
        value, cost = known[key]
        spend(cost)
        return value
    left = _left.get()
    before = 0 if left is None else left[0]
    value = make()
    known[key] = value, 0 if left is None else before - left[0]
    return value


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
        inner = short(";".join(arg.key for arg in self.args))
        return f"{self.kind}:{self.name}({inner})"

    @cached_property
    def size(self) -> int:
        """How much is written in it: at least 1, and more than anything inside it."""
        return 1 + sum(arg.size for arg in self.args)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Its kind, and those of all atoms inside it."""
        return frozenset({self.kind}).union(*(a.kinds for arg in self.args for a in arg.atoms()))

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

    __slots__ = ("_key", "_ordered", "terms")

    product: ClassVar[Callable[[Mono, Mono], Poly]]

    def __init__(self, terms: Mapping[Mono, Fraction]) -> None:
        if len(terms) > MAX_TERMS:
            raise TooLarge
        self.terms = {m: c for m, c in terms.items() if c}
        self._key: str | None = None
        self._ordered: list[tuple[Mono, Fraction]] | None = None

    @property
    def key(self) -> str:
        if self._key is None:
            parts = (f"{c}*{mono_key(m)}" for m, c in self.ordered())
            self._key = "+".join(parts) or "0"
        return self._key

    @property
    def size(self) -> int:
        return sum(abs(n) * atom.size for mono in self.terms for atom, n in mono)

    def ordered(self) -> list[tuple[Mono, Fraction]]:
        if self._ordered is None:
            keys = {mono: mono_key(mono) for mono in self.terms}
            self._ordered = sorted(self.terms.items(), key=lambda item: keys[item[0]])
        return self._ordered

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.key)

    def __add__(self, other: Poly) -> Poly:
        terms = dict(self.terms)
        for mono, c in other.terms.items():
            before = terms.get(mono)
            terms[mono] = c if before is None else before + c
        return Poly(terms)

    def __sub__(self, other: Poly) -> Poly:
        return self + other.times(Fraction(-1))

    def times(self, number: Fraction) -> Poly:
        if number is UNIT:
            return self
        if number.numerator.bit_length() + number.denominator.bit_length() > MAX_BITS:
            raise TooLarge
        return Poly({m: c * number for m, c in self.terms.items()})

    def __mul__(self, other: Poly) -> Poly:
        terms: dict[Mono, Fraction] = {}
        for a, c in self.terms.items():
            for b, d in other.terms.items():
                spend()
                # Products of Fractions take most of the time, and most factors are UNIT.
                both = c if d is UNIT else d if c is UNIT else c * d
                for mono, e in Poly.product(a, b).terms.items():
                    own = both if e is UNIT else both * e
                    before = terms.get(mono)
                    terms[mono] = own if before is None else before + own
                if len(terms) > MAX_TERMS:
                    raise TooLarge
        if any(
            c.numerator.bit_length() + c.denominator.bit_length() > MAX_BITS for c in terms.values()
        ):
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


def heavier(a: Mono, b: Mono) -> bool:
    """An order of monomials that products keep: by size, degree, and then by their atoms.

    Of monomials without negative powers there is no endless descent, so that replacing one by
    lighter ones comes to an end.
    """
    mine, theirs = _weight(a), _weight(b)
    if mine != theirs:
        return mine > theirs
    powers, others = dict(a), dict(b)
    for atom in sorted({*powers, *others}, key=lambda each: each.key):
        if powers.get(atom, 0) != others.get(atom, 0):
            return powers.get(atom, 0) > others.get(atom, 0)
    return False


def _weight(mono: Mono) -> tuple[int, int]:
    return sum(n * atom.size for atom, n in mono), sum(n for _, n in mono)


def heaviest(value: Poly) -> Mono:
    """The monomial that is heavier than all others; that of the number 1 where there is none."""
    monos = iter(value.terms)
    best: Mono = next(monos, ())
    for mono in monos:
        if heavier(mono, best):
            best = mono
    return best


def constant(value: Fraction | int) -> Poly:
    return Poly({(): UNIT if value == 1 else Fraction(value)})


def of(atom: Atom, exponent: int = 1) -> Poly:
    return single(((atom, exponent),))


def single(mono: Mono) -> Poly:
    # Most polynomials that are made: nothing is counted, and no zero left out.
    found = Poly.__new__(Poly)
    found.terms = {mono: UNIT}
    found._key = found._ordered = None
    return found


ZERO, ONE = constant(0), constant(1)
HALF = Fraction(1, 2)
