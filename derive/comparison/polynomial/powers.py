"""Exponentials, powers and logarithms, with the sigmoid and tanh that they are equal to.

In: polynomials.  Out: polynomials of exp, tanh, lncosh, log and powers.
Not here: exponentials of one product, and tanh(a) times exp(2 a) (products.py).

- sigmoid(a) is (1 + tanh(a/2)) / 2. 1 / (exp(u) + exp(v)) is exp(-u) sigmoid(u - v).
- log(2 cosh(u)) is lncosh(u): softplus, and the log of what sums two exponentials.

Identities hold wherever both sides are numbers: a / a is 1, log(exp(a)) is a.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm

from derive.comparison.polynomial.bounds import bounds
from derive.comparison.polynomial.piecewise import basic, by_cases, positive
from derive.comparison.polynomial.squares import rational_root, square_root
from derive.comparison.polynomial.terms import (
    HALF,
    MAX_BITS,
    ONE,
    ZERO,
    Atom,
    Mono,
    Poly,
    TooLarge,
    constant,
    is_opaque,
    mono_key,
    of,
    say,
    single,
)

#: A sum to a higher power is not written out.
HIGHEST = 12


def sigmoid(a: Poly) -> Poly:
    return (ONE + basic("tanh", a.times(HALF))).times(HALF)


def logsigmoid(a: Poly) -> Poly:
    half = a.times(HALF)
    return half - basic("lncosh", half)


def exp(a: Poly) -> Poly:
    """log(sigmoid) in an exponent becomes a sigmoid again: lncosh(u) is log(2 cosh u)."""
    if not a.terms:
        return ONE
    for mono, c in a.terms.items():
        if len(mono) == 1 and mono[0][0].name == "lncosh" and mono[0][1] == 1 and c == -1:
            (u,) = mono[0][0].args
            rest = a + single(mono) - u
            return exp(rest) * (ONE + basic("tanh", u)).times(HALF)
        if len(mono) == 1 and mono[0][0].name == "log" and c.denominator == mono[0][1] == 1:
            rest = a - single(mono).times(c)
            return exp(rest) * power(mono[0][0].args[0], c)
    return of(Atom("exp", "exp", (a,), a.scalar))


def log(a: Poly) -> Poly:
    if a == ONE:
        return ZERO
    if (cases := by_cases(a, log)) is not None:
        return cases
    if len(a.terms) == 1:
        ((mono, c),) = a.terms.items()
        result = ZERO
        for atom, n in mono:
            if atom.kind == "exp":
                result += atom.args[0].times(Fraction(n))
        rest = single(_bare(mono)).times(c)
        if rest != a:
            return result + log(rest)
    elif (found := _two_exponentials(a)) is not None:
        factor, u, v = found
        if factor.number is not None and factor.number > 0:
            return log(factor) + (u + v).times(HALF) + basic("lncosh", (u - v).times(HALF))
    elif (one := _one_and_tanh(a)) is not None:
        factor, u = one
        if factor.number is not None and factor.number > 0:
            return log(factor.times(Fraction(2))) + logsigmoid(u.times(Fraction(2)))
    return of(Atom("function", "log", (a,), a.scalar))


def power(base: Poly, exponent: Fraction) -> Poly:
    if (number := base.number) is not None and (value := _number(number, exponent)) is not None:
        return value
    if exponent.denominator == 1 and 0 <= exponent <= HIGHEST:
        result = ONE
        for _ in range(int(exponent)):
            result = result * base
        return result
    if (cases := by_cases(base, lambda part: power(part, exponent))) is not None:
        return cases
    if exponent.denominator == 2 and not is_opaque() and (size := _root(base)) is not None:
        return power(size, exponent + exponent)
    if len(base.terms) == 1 and exponent.denominator == 1:
        ((mono, c),) = base.terms.items()
        parts = [_inverse(atom, n * -int(exponent)) for atom, n in mono]
        result = power(constant(c), exponent)
        for part in parts:
            result = result * part
        return result
    if exponent.denominator == 1 and (found := _two_exponentials(base)) is not None:
        say("1 / (exp(u) + exp(v)) is exp(-u) * sigmoid(u - v)")
        factor, u, v = found
        own = power(factor, Fraction(-1)) * exp(u.times(Fraction(-1))) * sigmoid(u - v)
        return power(own, -exponent)
    if exponent.denominator == 1 and (one := _one_and_tanh(base)) is not None:
        say("1 / (1 + tanh(u)) is (1 + exp(-2 u)) / 2")
        factor, u = one
        own = power(factor, Fraction(-1)) * (ONE + exp(u.times(Fraction(-2)))).times(HALF)
        return power(own, -exponent)
    if exponent.denominator == 1 and len(base.terms) > 1:
        outside, inside = _taken_out(base)
        if outside != ONE:
            own = of(Atom("power", str(exponent), (inside,), inside.scalar))
            return power(outside, exponent) * own
    if len(base.terms) == 1 and any(atom.kind == "exp" for atom, _ in next(iter(base.terms))):
        ((mono, c),) = base.terms.items()
        outside = ZERO
        for atom, n in mono:
            if atom.kind == "exp":
                outside += atom.args[0].times(n * exponent)
        return exp(outside) * power(single(_bare(mono)).times(c), exponent)
    return of(Atom("power", str(exponent), (base,), base.scalar))


def _number(base: Fraction, exponent: Fraction) -> Poly | None:
    """A power of a number, where it is a number that can be written down."""
    if base == 1:
        return ONE
    if not base or abs(exponent) > 10**4:
        return ZERO if exponent > 0 else None
    if exponent.denominator == 1:
        if (base.numerator.bit_length() + base.denominator.bit_length()) * abs(exponent) > MAX_BITS:
            raise TooLarge
        return constant(base ** int(exponent))
    root = rational_root(base) if exponent.denominator == 2 else None
    return None if root is None else _number(root, exponent + exponent)


def _root(base: Poly) -> Poly | None:
    """|q| where the base is q * q; None where it is no square that is seen."""
    root = square_root(base)
    if root is None:
        return None
    say("sqrt(a * a) is abs(a)")
    within = bounds(root)
    if within.positive or within.lo == 0:
        return root
    return root.times(Fraction(-1)) + (positive(root) * root).times(Fraction(2))


def without_factor(a: Poly) -> Poly:
    """Of the same sign and with the same zeros: without exponentials that stand in all terms,
    and with whole numbers before them."""
    if len(a.terms) < 2:
        return a
    outside, inside = _taken_out(a)
    ((_, c),) = outside.terms.items()
    return inside if c > 0 else inside.times(Fraction(-1))


def _taken_out(base: Poly) -> tuple[Poly, Poly]:
    """A factor and the rest: without exponentials that one term carries, and with whole numbers
    that have no divisor in common, the first of them positive. So the numbers of the rest do not
    depend on names, only its sign does.

    Each time another term may become the first; of all there are, the least rest is taken.
    """
    outside, seen = ONE, dict[str, tuple[Poly, Poly]]()
    while base.key not in seen and len(seen) < 8:
        seen[base.key] = outside, base
        mono, c = min(base.terms.items(), key=lambda item: mono_key(_bare(item[0])))
        factor = constant(_content(base) * (1 if c > 0 else -1))
        for atom, n in mono:
            if atom.kind == "exp":
                factor = factor * of(atom, n)
        outside, base = outside * factor, base * power(factor, Fraction(-1))
    found = list(seen)
    cycle = found[found.index(base.key) :] if base.key in seen else found[-1:]
    return seen[min(cycle)]


def _content(base: Poly) -> Fraction:
    """The largest number of which all numbers before the terms are whole multiples."""
    numbers = list(base.terms.values())
    divisor = gcd(*(number.numerator for number in numbers))
    return Fraction(divisor, lcm(*(number.denominator for number in numbers)))


def _inverse(atom: Atom, n: int) -> Poly:
    """atom ** -n"""
    if atom.kind == "exp":
        return exp(atom.args[0].times(Fraction(-n)))
    if atom.kind == "power":
        return power(atom.args[0], -n * Fraction(atom.name))
    return of(atom, -n)


def _two_exponentials(a: Poly) -> tuple[Poly, Poly, Poly] | None:
    """c, u, v with a = c * (exp(u) + exp(v))."""
    if len(a.terms) != 2:
        return None
    (m, c), (n, d) = a.ordered()
    if c != d or _bare(m) != _bare(n) or m == n:
        return None
    one, other = (
        sum((atom.args[0].times(Fraction(k)) for atom, k in mono if atom.kind == "exp"), ZERO)
        for mono in (m, n)
    )
    return single(_bare(m)).times(c), one, other


def _one_and_tanh(a: Poly) -> tuple[Poly, Poly] | None:
    """c, u with a = c * (1 + tanh(u))."""
    if len(a.terms) != 2:
        return None
    (m, c), (n, d) = sorted(a.terms.items(), key=lambda item: len(item[0]))
    extra = dict(n)
    for atom, k in m:
        extra[atom] = extra.get(atom, 0) - k
    left = [(atom, k) for atom, k in extra.items() if k]
    if abs(c) != abs(d) or len(left) != 1 or left[0][0].name != "tanh" or left[0][1] != 1:
        return None
    return single(m).times(c), left[0][0].args[0].times(d / c)


def _bare(mono: Mono) -> Mono:
    return tuple((atom, n) for atom, n in mono if atom.kind != "exp")
