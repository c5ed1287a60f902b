"""Functions that choose, by sign or at zero, and functions of what chooses.

In: polynomials.  Out: polynomials of positive(a), zero(a) and functions of what does not choose.
Not here: exponentials and powers (powers.py), which functions are piecewise (functions.py), what
zero(a) makes of its factors (products.py).

- positive(a) is 1 where a > 0, else 0; zero(a) is 1 where a = 0, else 0. positive(2 a) is
  positive(a), positive(-a) is 1 - positive(a) - zero(a). relu, abs, maximum, clip and every
  `where` are made of these two, exactly so at ties as well.
- A function of what chooses is a choice of functions, so no choice stands inside another atom.
- tanh(-a) is -tanh(a) and cos(-a) is cos(a): a minus before the first term is taken out.
- What bounds.py tells of a sign decides: clip(tanh(a), -1, 1) is tanh(a).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from derive.comparison.polynomial.bounds import bounds
from derive.comparison.polynomial.squares import root_of_positive
from derive.comparison.polynomial.terms import (
    ONE,
    ZERO,
    Atom,
    Mono,
    Poly,
    heaviest,
    of,
    say,
    single,
    spend,
)
from derive.symbolic.closed_set import TABLE


def positive(a: Poly) -> Poly:
    """1 where a > 0, else 0."""
    if a.number is not None:
        return ONE if a.number > 0 else ZERO
    if (cases := by_cases(a, positive)) is not None:
        return cases
    within = bounds(a)
    if within.positive or within.not_positive:
        say("tanh and erf stay inside (-1, 1), sin and cos within, exp above 0")
        return ONE if within.positive else ZERO
    if within.lo == 0 or root_of_positive(a) is not None:
        return ONE - zero(a)
    a = _without_sure(a)
    c = a.terms[first_term(a)]
    if (inner := _of_same_sign(a)) is not None:
        return positive(inner.times(c))
    if c < 0:
        return ONE - positive(a.times(Fraction(-1))) - zero(a)
    d = a.times(1 / c)
    return of(Atom("function", "positive", (d,), d.scalar))


def zero(a: Poly) -> Poly:
    """1 where a = 0, else 0."""
    if a.number is not None:
        return ZERO if a.number else ONE
    if (cases := by_cases(a, zero)) is not None:
        return cases
    within = bounds(a)
    if within.positive or within.negative:
        return ZERO
    if len(a.terms) == 1:
        return _zero_of_product(next(iter(a.terms)))
    if (root := root_of_positive(a.times(_sign(a)))) is not None:
        return zero(root)
    a = _without_sure(a)
    d = a.times(1 / a.terms[first_term(a)])
    return of(Atom("function", "zero", (d,), d.scalar))


def _sign(a: Poly) -> Fraction:
    return Fraction(1 if a.terms[heaviest(a)] > 0 else -1)


def _zero_of_product(mono: Mono) -> Poly:
    """A product is 0 where one of its factors is; those that are above 0 do not count."""
    apart = ONE
    for atom, n in mono:
        if n > 0 and not bounds(of(atom)).positive:
            inner = _of_same_sign(of(atom))
            own = of(Atom("function", "zero", (of(atom),), atom.scalar))
            apart = apart * (ONE - (own if inner is None else zero(inner)))
    return ONE - apart


def _of_same_sign(a: Poly) -> Poly | None:
    """What has the sign of a single term: tanh(u) has that of u."""
    if len(a.terms) == 1:
        ((mono, _),) = a.terms.items()
        if len(mono) == 1 and mono[0][1] == 1 and mono[0][0].name in ("tanh", "erf"):
            return mono[0][0].args[0]
    return None


def _without_sure(a: Poly) -> Poly:
    """Without the factors of a single term that are above 0."""
    if len(a.terms) != 1:
        return a
    ((mono, c),) = a.terms.items()
    left = tuple((atom, n) for atom, n in mono if not bounds(of(atom)).positive)
    return single(left).times(c) if left else a


def chosen(a: Poly, one: Poly, other: Poly) -> Poly:
    """one where a > 0, else other."""
    return other + positive(a) * (one - other)


def by_cases(a: Poly, apply: Callable[[Poly], Poly]) -> Poly | None:
    """apply(a) where `a` chooses: what it is for either choice. None where it does not."""
    for mono, _ in a.ordered():
        for atom, _ in mono:
            if atom.kind == "function" and atom.name in ("positive", "zero"):
                spend(20)
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


#: Of functions that no record has: the prover's own.
_PARITY = {"lncosh": 1, "zero": 1}
_AT_ZERO = {"tanh": ZERO, "sin": ZERO, "erf": ZERO, "cos": ONE, "floor": ZERO}


def parity(function: str) -> int:
    """-1 for an odd function, 1 for an even one, 0 for others."""
    return TABLE[function].parity if function in TABLE else _PARITY.get(function, 0)


def basic(name: str, *args: Poly) -> Poly:
    """A function that the prover does not write in terms of others, such as tanh."""
    if len(args) == 1:
        cases = by_cases(args[0], lambda part: basic(name, part))
        if cases is not None:
            return cases
    scalar = all(arg.scalar for arg in args)
    sign = parity(name)
    if len(args) == 1 and sign:
        (a,) = args
        if not a.terms and name in _AT_ZERO:
            return _AT_ZERO[name]
        if a.terms and a.ordered()[0][1] < 0:
            flipped = of(Atom("function", name, (a.times(Fraction(-1)),), scalar))
            return flipped.times(Fraction(sign))
    return of(Atom("function", name, args, scalar))
