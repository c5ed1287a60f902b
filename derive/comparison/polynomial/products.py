"""Products of atoms that come to less: the rules of multiplication.

In: two monomials.  Out: their product in normal form.
Not here: sums, and products of sums (terms.py).

Of the exponentials of a product there is one; exp(2 a) tanh(a) is exp(2 a) - 1 - tanh(a);
of sines and cosines there is one, by sin(a) sin(b) = (cos(a - b) - cos(a + b)) / 2 and the like;
positive(a) and zero(a) are their own squares, and a zero(a) is 0.

Each rule comes to an end. Two exponentials become one, and two sines and cosines one; a turn of
exp(2 a) tanh(a) brings the exponent nearer to none; in zero(d) the heaviest monomial of d is
replaced by lighter ones (terms.heavier). What all of them together take is bounded by the budget.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from derive.comparison.polynomial.functions import rebuilt
from derive.comparison.polynomial.piecewise import basic
from derive.comparison.polynomial.powers import exp, power
from derive.comparison.polynomial.terms import (
    HALF,
    ONE,
    ZERO,
    Atom,
    Mono,
    Poly,
    constant,
    heaviest,
    of,
    say,
    single,
    spend,
)


def product(a: Mono, b: Mono) -> Poly:
    """Of two monomials, in normal form. TooLarge where it grows beyond all use."""
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
    result = _reduced(mono)
    return result if extra is ONE else extra * result


def _reduced(mono: Mono) -> Poly:
    """A product of atoms in normal form: see the list above."""
    spend()
    waves = [pair for pair in mono if pair[0].name in ("sin", "cos") and pair[1] > 0]
    if len(waves) > 1 or (waves and waves[0][1] > 1):
        return _waves(waves, mono)
    for k, (atom, n) in enumerate(mono):
        rest = mono[:k] + mono[k + 1 :]
        if atom.kind == "power" and n != 1:
            exponent = n * Fraction(atom.name)
            if n < 0 or exponent.denominator == 1:
                return power(atom.args[0], exponent) * single(rest)
        if atom.kind != "function":
            continue
        if atom.name in ("positive", "zero"):
            if n > 1:
                return _reduced((*mono[:k], (atom, 1), *mono[k + 1 :]))
            if atom.name == "positive" and any(_follows(other, atom) for other, _ in rest):
                return _reduced(tuple(pair for pair in mono if not _follows(pair[0], atom)))
            if atom.name == "zero":
                found = _where_zero(atom, rest)
                if found is not None:
                    return found
        elif atom.name == "tanh" and n > 0:
            for other, _ in rest:
                if other.kind == "exp" and (turns := _turns(atom.args[0], other.args[0])):
                    return _without_turn(atom, other, turns, mono)
    return single(mono)


def _waves(waves: list[tuple[Atom, int]], mono: Mono) -> Poly:
    """Of two sines or cosines the sum of single ones, times the rest."""
    say("a product of two sines or cosines is half a sum of one each")
    one, other = (waves[0][0], waves[0][0]) if waves[0][1] > 1 else (waves[0][0], waves[1][0])
    powers = dict(mono)
    for atom in (one, other):
        powers[atom] -= 1
    rest = single(tuple((atom, powers[atom]) for atom, _ in mono if powers[atom]))
    if one.name == "cos":
        one, other = other, one
    (a,), (b,) = one.args, other.args
    if one.name == other.name == "sin":
        pair = basic("cos", a - b) - basic("cos", a + b)
    elif one.name == "sin":
        pair = basic("sin", a + b) + basic("sin", a - b)
    else:
        pair = basic("cos", a - b) + basic("cos", a + b)
    return pair.times(HALF) * rest


@lru_cache(maxsize=1 << 14)
def _follows(other: Atom, atom: Atom) -> bool:
    """Whether `other` is positive(d + k), k > 0, where `atom` is positive(d). It is asked for each
    product of two monomials, of the same few atoms, whose d may be long."""
    if other.name != "positive" or other == atom:
        return False
    k = (other.args[0] - atom.args[0]).number
    return k is not None and k > 0


def _times(atom: Atom, n: int) -> Poly:
    return of(atom, n) if n else ONE


def _turns(a: Poly, exponent: Poly) -> int:
    """How often exp(2 a) can be taken out of exp(exponent), by the first term of a."""
    mono, c = a.ordered()[0]
    quotient = exponent.terms.get(mono, Fraction(0)) / (2 * c)
    return quotient.numerator // quotient.denominator


def _without_turn(atom: Atom, other: Atom, turns: int, mono: Mono) -> Poly:
    """exp(e) tanh(a), where e holds 2 a once more than it should, or once less."""
    say("exp(2 a) * tanh(a) is exp(2 a) - 1 - tanh(a)")
    (a,), (e,) = atom.args, other.args
    left = ((x, n - (x == atom)) for x, n in mono if x != other)
    rest = single(tuple((x, n) for x, n in left if n))
    tanh, twice = of(atom), a.times(Fraction(2))
    if turns > 0:
        less = exp(e - twice)
        return (exp(e) - less - less * tanh) * rest
    more = exp(e + twice)
    return (more - more * tanh - exp(e)) * rest


def _where_zero(zero: Atom, rest: Mono) -> Poly | None:
    """zero(d) times the rest, in which the heaviest monomial of d is replaced by the others."""
    (d,) = zero.args
    powers = dict(rest)
    if any(a.name == "positive" and a.args == zero.args for a in powers):
        return ZERO
    if any(n < 0 for mono in d.terms for _, n in mono):
        return None
    lead = heaviest(d)
    others = (d.times(1 / d.terms[lead]) - single(lead)).times(Fraction(-1))
    if all(powers.get(a, 0) >= n > 0 for a, n in lead):
        for a, n in lead:
            powers[a] -= n
        left = tuple((a, powers[a]) for a, _ in rest if powers[a])
        return single(left) * others * of(zero)
    if len(lead) == 1 and lead[0][1] == 1:
        for a, n in rest:
            if a != zero and a.kind in ("function", "exp", "power"):
                args = [_put(arg, lead[0][0], others) for arg in a.args]
                if tuple(args) != a.args and n > 0:
                    left = tuple(pair for pair in rest if pair[0] != a)
                    return power(rebuilt(a, args), Fraction(n)) * single(left) * of(zero)
    return None


def _put(value: Poly, atom: Atom, by: Poly) -> Poly:
    """`by` in place of an atom, outside products and sums."""
    result = ZERO
    for mono, c in value.terms.items():
        part = constant(c)
        for other, n in mono:
            if other == atom:
                part = part * power(by, Fraction(n))
            elif other.kind in ("function", "exp", "power") and other.args:
                args = [_put(arg, atom, by) for arg in other.args]
                part = part * power(rebuilt(other, args), Fraction(n))
            else:
                part = part * _times(other, n)
        result += part
    return result
