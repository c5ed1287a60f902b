"""Polynomials over atoms: the canonical form in which two expressions can be compared.

In: atoms and exact numbers.  Out: immutable polynomials; two are equal exactly if their
`key`s are.
Not here: cells (canonical.py).

An atom is an array, W @ v for one monomial v, a sum over the width, a power, or a function.
Functions are told by few: sigmoid is (1 + tanh(a/2)) / 2, relu is (a + |a|) / 2, so that
1 - sigmoid(a) = sigmoid(-a) and tanh(a) = 2 sigmoid(2 a) - 1 hold by themselves. tanh(-a) is
-tanh(a); of the exponentials of a product there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

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
    """A sum of numbers times monomials."""

    __slots__ = ("_key", "terms")

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
                for mono, e in _product(a, b).terms.items():
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


def _product(a: Mono, b: Mono) -> Poly:
    powers = dict(a)
    for atom, n in b:
        powers[atom] = powers.get(atom, 0) + n
    exponents = [atom for atom in powers if atom.kind == "exp" and powers[atom]]
    extra = ONE
    if len(exponents) > 1 or any(powers[atom] != 1 for atom in exponents):
        total = ZERO
        for atom in exponents:
            total += atom.args[0].times(Fraction(powers.pop(atom)))
        extra = exp(total)
    mono = tuple(sorted(((a, n) for a, n in powers.items() if n), key=lambda pair: pair[0].key))
    return single(mono) if extra is ONE else extra * single(mono)


# --- functions ------------------------------------------------------------------------------

_ODD = frozenset("tanh sin erf softsign sign hard_tanh".split())
_EVEN = frozenset("cos abs lncosh".split())


def parity(function: str) -> int:
    """-1 for an odd function, 1 for an even one, 0 for others."""
    return -1 if function in _ODD else int(function in _EVEN)


def function(name: str, *args: Poly) -> Poly:
    """A function of `derive.scalar` in terms of the few."""
    a = args[0]
    half = a.times(HALF)
    if name == "sigmoid":
        return (ONE + _basic("tanh", half)).times(HALF)
    if name == "hard_sigmoid":
        return (ONE + _basic("hard_tanh", a.times(Fraction(1, 3)))).times(HALF)
    if name == "silu":
        return a * function("sigmoid", a)
    if name == "relu":
        return (a + _basic("abs", a)).times(HALF)
    if name == "leaky_relu":
        return a.times(Fraction(101, 200)) + _basic("abs", a).times(Fraction(99, 200))
    if name == "softplus":
        return half + _basic("lncosh", half)
    if name == "logsigmoid":
        return half - _basic("lncosh", half)
    if name in ("maximum", "minimum"):
        size = _basic("abs", a - args[1]).times(HALF)
        middle = (a + args[1]).times(HALF)
        return middle + size if name == "maximum" else middle - size
    if name == "exp":
        return exp(a)
    if name == "expm1":
        return exp(a) - ONE
    return _basic(name, *args)


def _basic(name: str, *args: Poly) -> Poly:
    scalar = all(arg.scalar for arg in args)
    sign = parity(name)
    if len(args) == 1 and sign:
        (a,) = args
        if not a.terms and sign < 0:
            return ZERO
        if a.terms and a.ordered()[0][1] < 0:
            flipped = of(Atom("function", name, (a.times(Fraction(-1)),), scalar))
            return flipped.times(Fraction(sign))
    return of(Atom("function", name, args, scalar))


def exp(a: Poly) -> Poly:
    """log(sigmoid) in an exponent becomes a sigmoid again: lncosh(u) is log(2 cosh u)."""
    if not a.terms:
        return ONE
    for mono, c in a.terms.items():
        if len(mono) == 1 and mono[0][0].name == "lncosh" and mono[0][1] == 1 and c == -1:
            (u,) = mono[0][0].args
            rest = a + single(mono) - u
            return exp(rest) * (ONE + _basic("tanh", u)).times(HALF)
    return of(Atom("exp", "exp", (a,), a.scalar))


def power(base: Poly, exponent: Fraction) -> Poly:
    if exponent.denominator == 1 and exponent >= 0:
        result = ONE
        for _ in range(int(exponent)):
            result = result * base
        return result
    if len(base.terms) == 1 and exponent.denominator == 1:
        ((mono, c),) = base.terms.items()
        parts = [_inverse(atom, n * -int(exponent)) for atom, n in mono]
        result = constant(c ** int(exponent))
        for part in parts:
            result = result * part
        return result
    if exponent.denominator == 1 and base.terms:
        # What the first term carries as an exponential or a number leaves the bracket.
        mono, c = min(base.terms.items(), key=lambda item: mono_key(_bare(item[0])))
        factor = constant(c)
        for atom, n in mono:
            if atom.kind == "exp":
                factor = factor * of(atom, n)
        if factor != ONE:
            return power(factor, exponent) * power(base * power(factor, Fraction(-1)), exponent)
    return of(Atom("power", str(exponent), (base,), base.scalar))


def _bare(mono: Mono) -> Mono:
    return tuple((atom, n) for atom, n in mono if atom.kind != "exp")


def _inverse(atom: Atom, n: int) -> Poly:
    """atom ** -n"""
    if atom.kind == "exp":
        return exp(atom.args[0].times(Fraction(-n)))
    return of(atom, -n)
