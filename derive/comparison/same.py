"""Whether two polynomials are the same function, beyond having one canonical form.

In: two polynomials.  Out: True only if they are; False tells nothing.
Not here: canonical forms (comparison/polynomial/).

Functions are compared by their arguments, so that what is equal inside counts as equal outside.
Then tanh is written by exponentials, everything is brought over one denominator, and the
numerator is multiplied out: with products of exponentials drawn together it is zero if both
sides are the same quotient of sums of exponentials. tanh(a + b) is
(tanh(a) + tanh(b)) / (1 + tanh(a) tanh(b)) by this.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from derive.comparison import polynomial
from derive.comparison.polynomial import ONE, ZERO, Atom, Mono, Poly, constant, of, single
from derive.symbolic.evaluate import NUMPY

#: Steps for one pair; most pairs that are not the same are told apart at once.
STEPS = 20_000


#: All widths of a probe; and how far apart what is the same may be there.
WIDTH, NEAR = 3, 1e-6


class Zero:
    """Remembers what was found equal: {atom: the one that stands for it}; and probes."""

    def __init__(self) -> None:
        self.known: dict[Atom, Atom] = {}
        self.decided: dict[tuple[str, str], bool] = {}
        self.probe = Probe()


class Probe:
    """Polynomials in float64 at one point: what differs there is not the same.

    Arrays are random vectors, seeded by their names; all widths are equal.
    """

    def __init__(self) -> None:
        self.values: dict[Atom, Any] = {}

    def differ(self, x: Poly, y: Poly) -> bool:
        with np.errstate(all="ignore"):
            one, other = self.value(x), self.value(y)
            gap = np.abs(one - other)
            size = 1 + np.abs(one) + np.abs(other)
        return bool(np.any(np.isfinite(gap) & np.isfinite(size) & (gap > NEAR * size)))

    def value(self, poly: Poly) -> Any:
        total = np.zeros(WIDTH)
        for mono, c in poly.terms.items():
            term = np.full(WIDTH, float(c))
            for atom, n in mono:
                term = term * self.atom(atom) ** float(n)
            total = total + term
        return total

    def atom(self, atom: Atom) -> Any:
        if atom not in self.values:
            self.values[atom] = np.asarray(self._atom(atom), dtype=float)
        return self.values[atom]

    def _atom(self, atom: Atom) -> Any:
        if atom.kind in ("array", "param"):
            shape = 1 if atom.scalar else WIDTH
            return _random(atom.name).uniform(-1, 1, shape) * np.ones(WIDTH)
        if atom.kind == "size":
            return np.full(WIDTH, float(WIDTH))
        args = [self.value(arg) for arg in atom.args]
        if atom.kind == "product":
            name = atom.name.removesuffix("'")
            matrix = _random(name).uniform(-1, 1, (WIDTH, WIDTH))
            return (matrix if name == atom.name else matrix.T) @ args[0]
        if atom.kind == "sum":
            return np.full(WIDTH, args[0].sum())
        if atom.kind == "exp":
            return np.exp(args[0])
        if atom.kind == "power" and args:
            try:
                return args[0] ** float(Fraction(atom.name))
            except ValueError:
                return np.full(WIDTH, np.nan)
        known = _VALUES.get(atom.name) or NUMPY.functions.get(atom.name)
        return known(*args) if known and args else np.full(WIDTH, np.nan)


def _random(name: str) -> Any:
    return np.random.default_rng(zlib.crc32(name.encode()))


_VALUES: Mapping[str, Callable[..., Any]] = {
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "log": np.log,
    "floor": np.floor,
    "positive": lambda a: 1.0 * (a > 0),
    "zero": lambda a: 1.0 * (a == 0),
    "lncosh": lambda a: np.abs(a) + np.log1p(np.exp(-2 * np.abs(a))),
}


def same(x: Poly, y: Poly, known: Zero) -> bool:
    if x == y:
        return True
    key = x.key, y.key
    if key not in known.decided:
        known.decided[key] = False
        if known.probe.differ(x, y):
            return False
        try:
            with polynomial.budget(STEPS):
                known.decided[key] = _same(x, y, known)
        except polynomial.TooLarge:
            pass
    return known.decided[key]


def _same(x: Poly, y: Poly, known: Zero) -> bool:
    # Nothing to bring over one denominator, here or inside: then the forms are all there is.
    if not any(_quotients(z) or _inside(z) for z in (x, y)):
        return False
    mine, theirs = _Names(known), _Names(known)
    difference = mine.renamed(x) - theirs.renamed(y)
    if not difference.terms:
        return True
    numerator, _ = over_one(difference)
    return not numerator.terms


def _quotients(value: Poly) -> bool:
    return any(
        n < 0 or (atom.kind == "power" and atom.name.startswith("-")) or atom.name == "tanh"
        for mono in value.terms
        for atom, n in mono
    )


def _inside(value: Poly) -> bool:
    return any(_quotients(arg) or _inside(arg) for atom in value.atoms() for arg in atom.args)


class _Names:
    """Atoms by those that were found equal before."""

    def __init__(self, known: Zero) -> None:
        self.known = known

    def renamed(self, value: Poly) -> Poly:
        result = ZERO
        for mono, c in value.terms.items():
            term = constant(c)
            for atom, n in mono:
                term = term * polynomial.power(self.atom(atom), Fraction(n))
            result += term
        return result

    def atom(self, atom: Atom) -> Poly:
        if atom.kind not in ("function", "product", "sum") or not atom.args:
            return of(atom)
        if atom not in self.known.known:
            self.known.known[atom] = atom
            for other in list(self.known.known.values()):
                alike = (other.kind, other.name) == (atom.kind, atom.name) and other != atom
                if alike and all(
                    same(x, y, self.known) for x, y in zip(atom.args, other.args, strict=True)
                ):
                    self.known.known[atom] = other
                    break
        return of(self.known.known[atom])


def over_one(value: Poly) -> tuple[Poly, Poly]:
    """Numerator and denominator, with tanh(u) as (exp(2 u) - 1) / (exp(2 u) + 1).

    The denominator is the product of what stands below in some term, each to its highest power.
    """
    terms = [(c, *_of_term(mono)) for mono, c in value.ordered()]
    shared: Counter[Poly] = Counter()
    for _, _, below in terms:
        shared |= below
    numerator = ZERO
    for c, above, below in terms:
        numerator = numerator + (above * _multiplied(shared - below)).times(c)
    return numerator, _multiplied(shared)


def _multiplied(powers: Mapping[Poly, int]) -> Poly:
    result = ONE
    for factor, n in powers.items():
        for _ in range(n):
            result = result * factor
    return result


def _of_term(mono: Mono) -> tuple[Poly, Counter[Poly]]:
    """What stands above, multiplied out, and the factors below with their powers."""
    above = ONE
    below: Counter[Poly] = Counter()
    for atom, n in mono:
        if atom.kind == "function" and atom.name == "tanh":
            turn = polynomial.exp(atom.args[0].times(Fraction(2)))
            top, bottom = turn - ONE, turn + ONE
        elif atom.kind == "power" and Fraction(atom.name).denominator == 1:
            inner, outer = over_one(atom.args[0])
            exponent = int(Fraction(atom.name))
            top, bottom = (inner, outer) if exponent > 0 else (outer, inner)
            n = n * abs(exponent)
        else:
            top, bottom = single(((atom, 1),)), ONE
        if n < 0:
            top, bottom, n = bottom, top, -n
        if not bottom.terms:
            raise polynomial.TooLarge  # no number anywhere
        if bottom != ONE:
            below[bottom] += n
        for _ in range(n):
            above = above * top
    return above, below
