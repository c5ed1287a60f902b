"""Functions that choose, by sign or at zero, and functions of what chooses.

In: polynomials.  Out: polynomials of positive(a), zero(a) and functions of what does not choose.
Not here: exponentials and powers (powers.py), which functions are piecewise (functions.py), what
zero(a) makes of its factors (products.py).

- positive(a) is 1 where a > 0, else 0; zero(a) is 1 where a = 0, else 0. positive(2 a) is
  positive(a), positive(-a) is 1 - positive(a) - zero(a). relu, abs, maximum, clip and every
  `where` are made of these two, exactly so at ties as well.
- A function of what chooses is a choice of functions, so no choice stands inside another atom.
- tanh(-a) is -tanh(a) and cos(-a) is cos(a): a minus before the first term is taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from derive.polynomial.terms import ONE, ZERO, Atom, Mono, Poly, of


def positive(a: Poly) -> Poly:
    """1 where a > 0, else 0."""
    if a.number is not None:
        return ONE if a.number > 0 else ZERO
    if (cases := by_cases(a, positive)) is not None:
        return cases
    if sign := _definite(a):
        return ONE if sign > 0 else ZERO
    c = a.terms[first_term(a)]
    d = a.times(1 / c)
    found = of(Atom("function", "positive", (d,), d.scalar))
    return found if c > 0 else ONE - found - zero(d)


def zero(a: Poly) -> Poly:
    """1 where a = 0, else 0."""
    if a.number is not None:
        return ZERO if a.number else ONE
    if (cases := by_cases(a, zero)) is not None:
        return cases
    if _definite(a):
        return ZERO
    d = a.times(1 / a.terms[first_term(a)])
    return of(Atom("function", "zero", (d,), d.scalar))


def chosen(a: Poly, one: Poly, other: Poly) -> Poly:
    """one where a > 0, else other."""
    return other + positive(a) * (one - other)


def by_cases(a: Poly, apply: Callable[[Poly], Poly]) -> Poly | None:
    """apply(a) where `a` chooses: what it is for either choice. None where it does not."""
    for mono in a.terms:
        for atom, _ in mono:
            if atom.kind == "function" and atom.name in ("positive", "zero"):
                choice = of(atom)
                one, other = (_set(a, atom, value) for value in (True, False))
                return choice * apply(one) + (ONE - choice) * apply(other)
    return None


def _set(a: Poly, atom: Atom, value: bool) -> Poly:
    terms: dict[Mono, Fraction] = {}
    for mono, c in a.terms.items():
        rest = tuple(pair for pair in mono if pair[0] != atom)
        if value or len(rest) == len(mono):
            terms[rest] = terms.get(rest, Fraction(0)) + c
    return Poly(terms)


def first_term(a: Poly) -> Mono:
    """The first term that is no number."""
    return next(mono for mono, _ in a.ordered() if mono)


def _definite(a: Poly) -> int:
    """1 if it is positive, -1 if negative, whatever the arrays are; 0 if that is not seen."""
    even = all(atom.kind == "exp" or n % 2 == 0 for mono in a.terms for atom, n in mono)
    signs = {c > 0 for c in a.terms.values()}
    sure = any(all(atom.kind == "exp" for atom, _ in mono) for mono in a.terms)
    return (1 if signs == {True} else -1) if even and sure and len(signs) == 1 else 0


_ODD = frozenset("tanh sin erf".split())
_EVEN = frozenset("cos lncosh zero".split())


def parity(function: str) -> int:
    """-1 for an odd function, 1 for an even one, 0 for others."""
    return -1 if function in _ODD else int(function in _EVEN)


def basic(name: str, *args: Poly) -> Poly:
    """A function that is told by no other, of whatever arguments."""
    if len(args) == 1:
        cases = by_cases(args[0], lambda part: basic(name, part))
        if cases is not None:
            return cases
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
