"""Whether a polynomial is the square of another.

In: a polynomial.  Out: the polynomial whose square it is, one of the two, or None.
Not here: what follows for roots and signs (powers.py, piecewise.py).
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

from derive.comparison.polynomial.terms import HALF, ONE, Atom, Mono, Poly, heaviest, of, single


def rational_root(value: Fraction) -> Fraction | None:
    if value < 0:
        return None
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    return root if root * root == value else None


def square_root(a: Poly) -> Poly | None:
    """q with q * q = a, term by term from the heaviest; its first term in order is positive."""
    if not a.terms:
        return None
    lead = heaviest(a)
    if any(n % 2 and atom.kind != "exp" for atom, n in lead):
        return None
    c = rational_root(a.terms[lead])
    if c is None:
        return None
    root = _half(lead).times(c)
    left = a - root * root
    ((first, coefficient),) = root.terms.items()
    for _ in range(len(a.terms)):
        if not left.terms:
            break
        mono = heaviest(left)
        powers = dict(mono)
        for atom, n in first:
            powers[atom] = powers.get(atom, 0) - n
        rest = sorted(((b, n) for b, n in powers.items() if n), key=lambda pair: pair[0].key)
        term = single(tuple(rest)).times(left.terms[mono] / (2 * coefficient))
        left = left - term * (root + root + term)
        root = root + term
    if left.terms:
        return None
    return root if root.ordered()[0][1] > 0 else root.times(Fraction(-1))


def root_of_positive(a: Poly) -> Poly | None:
    """q where a is a positive number times q * q, and has more than two terms."""
    if len(a.terms) < 3:
        return None
    c = a.terms[heaviest(a)]
    return square_root(a.times(1 / c)) if c > 0 else None


def _half(mono: Mono) -> Poly:
    result = ONE
    for atom, n in mono:
        if atom.kind == "exp":
            half = Atom("exp", "exp", (atom.args[0].times(n * HALF),), atom.scalar)
            result = result * of(half)
        else:
            result = result * of(atom, n // 2)
    return result
