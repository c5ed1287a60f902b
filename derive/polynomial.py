"""Polynomials over atoms: the canonical form in which two expressions can be compared.

In: atoms and exact numbers.  Out: immutable polynomials; two are equal exactly if their
`key`s are.
Not here: cells (canonical.py).

An atom is an array, W @ v for one monomial v, a sum over the width, a power, or a function.
Functions are told by few, so that identities hold by themselves:

- sigmoid(a) is (1 + tanh(a/2)) / 2, and tanh(-a) is -tanh(a). Of the exponentials of a product
  there is one; exp(2 a) tanh(a) is exp(2 a) - 1 - tanh(a), and 1 / (exp(u) + exp(v)) is
  exp(-u) sigmoid(u - v).
- positive(a) is 1 where a > 0, else 0; zero(a) is 1 where a = 0, else 0. positive(2 a) is
  positive(a), positive(-a) is 1 - positive(a) - zero(a), and a zero(a) is 0. relu, abs, maximum,
  clip and every `where` are made of these two, exactly so at ties as well.
- log(2 cosh(u)) is lncosh(u): softplus, and the log of what sums two exponentials.

Identities hold wherever both sides are numbers: a / a is 1, log(exp(a)) is a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    result = _reduced(mono)
    return result if extra is ONE else extra * result


# --- products that are less -----------------------------------------------------------------


def _reduced(mono: Mono) -> Poly:
    """A product of atoms in normal form: see the list above."""
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
        elif atom.name == "sin" and n > 1:
            cosine = _basic("cos", atom.args[0])
            return (ONE - cosine * cosine) * single(rest) * _times(atom, n - 2)
        elif atom.name == "tanh" and n > 0:
            for other, _ in rest:
                if other.kind == "exp" and (turns := _turns(atom.args[0], other.args[0])):
                    return _without_turn(atom, other, turns, mono)
    return single(mono)


def _follows(other: Atom, atom: Atom) -> bool:
    """Whether `other` is positive(d + k), k > 0, where `atom` is positive(d)."""
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
    """zero(d) times the rest, in which the first term of d is told by the others."""
    (d,) = zero.args
    lead = _lead(d)
    others = (d - single(lead)).times(Fraction(-1))
    powers = dict(rest)
    if any(a.name == "positive" and a.args == zero.args for a in powers):
        return ZERO
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


def rebuilt(atom: Atom, args: list[Poly]) -> Poly:
    """The atom of other arguments, brought into normal form."""
    if atom.kind == "function":
        return function(atom.name, *args) if args else of(atom)
    if atom.kind == "exp":
        return exp(args[0])
    if atom.kind == "power":
        return power(args[0], Fraction(atom.name))
    result = ZERO  # a sum over the width, which is linear
    for mono, c in args[0].terms.items():
        result += of(Atom(atom.kind, atom.name, (single(mono),), True)).times(c)
    return result


# --- functions ------------------------------------------------------------------------------

_ODD = frozenset("tanh sin erf".split())
_EVEN = frozenset("cos lncosh zero".split())

#: As many digits as a constant in the text of a cell has.
_ROOT_HALF = Fraction(10**38, 141421356237309504880168872420969807857)
_SELU_SCALE = Fraction("1.0507009873554804934193349852946")
_SELU_ALPHA = Fraction("1.6732632423543772848170429916717")


def parity(function: str) -> int:
    """-1 for an odd function, 1 for an even one, 0 for others."""
    return -1 if function in _ODD else int(function in _EVEN)


def function(name: str, *args: Poly) -> Poly:
    """A function of `derive.scalar` in terms of the few."""
    rule = _RULES.get(name)
    return _basic(name, *args) if rule is None else rule(*args)


def _sigmoid(a: Poly) -> Poly:
    return (ONE + _basic("tanh", a.times(HALF))).times(HALF)


def _logsigmoid(a: Poly) -> Poly:
    half = a.times(HALF)
    return half - _basic("lncosh", half)


def _elu(a: Poly) -> Poly:
    return _chosen(a, a, exp(a) - ONE)


def _clip(a: Poly, lo: Poly, hi: Poly) -> Poly:
    return lo + function("relu", a - lo) - function("relu", a - hi)


def _chosen(a: Poly, one: Poly, other: Poly) -> Poly:
    """one where a > 0, else other."""
    return other + positive(a) * (one - other)


def positive(a: Poly) -> Poly:
    """1 where a > 0, else 0."""
    if a.number is not None:
        return ONE if a.number > 0 else ZERO
    if (cases := _by_cases(a, positive)) is not None:
        return cases
    if sign := _definite(a):
        return ONE if sign > 0 else ZERO
    c = a.terms[_lead(a)]
    d = a.times(1 / c)
    found = of(Atom("function", "positive", (d,), d.scalar))
    return found if c > 0 else ONE - found - zero(d)


def zero(a: Poly) -> Poly:
    """1 where a = 0, else 0."""
    if a.number is not None:
        return ZERO if a.number else ONE
    if (cases := _by_cases(a, zero)) is not None:
        return cases
    if _definite(a):
        return ZERO
    d = a.times(1 / a.terms[_lead(a)])
    return of(Atom("function", "zero", (d,), d.scalar))


def _by_cases(a: Poly, apply: Callable[[Poly], Poly]) -> Poly | None:
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


def _lead(a: Poly) -> Mono:
    """The first term that is no number."""
    return next(mono for mono, _ in a.ordered() if mono)


def _definite(a: Poly) -> int:
    """1 if it is positive, -1 if negative, whatever the arrays are; 0 if that is not seen."""
    even = all(atom.kind == "exp" or n % 2 == 0 for mono in a.terms for atom, n in mono)
    signs = {c > 0 for c in a.terms.values()}
    sure = any(all(atom.kind == "exp" for atom, _ in mono) for mono in a.terms)
    return (1 if signs == {True} else -1) if even and sure and len(signs) == 1 else 0


def _log(a: Poly) -> Poly:
    if a == ONE:
        return ZERO
    if (cases := _by_cases(a, _log)) is not None:
        return cases
    if len(a.terms) == 1:
        ((mono, c),) = a.terms.items()
        result = ZERO
        for atom, n in mono:
            if atom.kind == "exp":
                result += atom.args[0].times(Fraction(n))
        rest = single(_bare(mono)).times(c)
        if rest != a:
            return result + _log(rest)
    elif (found := _two_exponentials(a)) is not None:
        factor, u, v = found
        if factor.number is not None and factor.number > 0:
            return _log(factor) + (u + v).times(HALF) + _basic("lncosh", (u - v).times(HALF))
    elif (one := _one_and_tanh(a)) is not None:
        factor, u = one
        if factor.number is not None and factor.number > 0:
            return _log(factor.times(Fraction(2))) + _logsigmoid(u.times(Fraction(2)))
    return of(Atom("function", "log", (a,), a.scalar))


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


_RULES: Mapping[str, Callable[..., Poly]] = {
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda a: _clip(a.times(Fraction(1, 6)) + constant(HALF), ZERO, ONE),
    "hard_tanh": lambda a: _clip(a, constant(-1), ONE),
    "clip": _clip,
    "silu": lambda a: a * _sigmoid(a),
    "gelu": lambda a: (a * (ONE + _basic("erf", a.times(_ROOT_HALF)))).times(HALF),
    "relu": lambda a: _chosen(a, a, ZERO),
    "leaky_relu": lambda a: _chosen(a, a, a.times(Fraction(1, 100))),
    "abs": lambda a: _chosen(a, a, a.times(Fraction(-1))),
    "sign": lambda a: positive(a) - positive(a.times(Fraction(-1))),
    "softsign": lambda a: a * power(ONE + function("abs", a), Fraction(-1)),
    "elu": _elu,
    "selu": lambda a: _chosen(a, a, (exp(a) - ONE).times(_SELU_ALPHA)).times(_SELU_SCALE),
    "softplus": lambda a: a.times(HALF) + _basic("lncosh", a.times(HALF)),
    "logsigmoid": _logsigmoid,
    "maximum": lambda a, b: _chosen(a - b, a, b),
    "minimum": lambda a, b: _chosen(a - b, b, a),
    "positive": positive,
    "zero": zero,
    "less": lambda a, b: positive(b - a),
    "less_equal": lambda a, b: ONE - positive(a - b),
    "equal": lambda a, b: zero(a - b),
    "not_equal": lambda a, b: ONE - zero(a - b),
    "where": lambda c, one, other: other + c * (one - other),
    "exp": lambda a: exp(a),
    "expm1": lambda a: exp(a) - ONE,
    "log": _log,
    "log1p": lambda a: _log(ONE + a),
}


def _basic(name: str, *args: Poly) -> Poly:
    if len(args) == 1:
        cases = _by_cases(args[0], lambda part: function(name, part))
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


def exp(a: Poly) -> Poly:
    """log(sigmoid) in an exponent becomes a sigmoid again: lncosh(u) is log(2 cosh u)."""
    if not a.terms:
        return ONE
    for mono, c in a.terms.items():
        if len(mono) == 1 and mono[0][0].name == "lncosh" and mono[0][1] == 1 and c == -1:
            (u,) = mono[0][0].args
            rest = a + single(mono) - u
            return exp(rest) * (ONE + _basic("tanh", u)).times(HALF)
        if len(mono) == 1 and mono[0][0].name == "log" and c.denominator == mono[0][1] == 1:
            rest = a - single(mono).times(c)
            return exp(rest) * power(mono[0][0].args[0], c)
    return of(Atom("exp", "exp", (a,), a.scalar))


def power(base: Poly, exponent: Fraction) -> Poly:
    if exponent.denominator == 1 and exponent >= 0:
        result = ONE
        for _ in range(int(exponent)):
            result = result * base
        return result
    if (cases := _by_cases(base, lambda part: power(part, exponent))) is not None:
        return cases
    if len(base.terms) == 1 and exponent.denominator == 1:
        ((mono, c),) = base.terms.items()
        parts = [_inverse(atom, n * -int(exponent)) for atom, n in mono]
        result = constant(c ** int(exponent))
        for part in parts:
            result = result * part
        return result
    if exponent.denominator == 1 and (found := _two_exponentials(base)) is not None:
        factor, u, v = found  # 1 / (exp(u) + exp(v)) is exp(-u) sigmoid(u - v)
        own = power(factor, Fraction(-1)) * exp(u.times(Fraction(-1))) * _sigmoid(u - v)
        return power(own, -exponent)
    if exponent.denominator == 1 and (one := _one_and_tanh(base)) is not None:
        factor, u = one  # 1 / (1 + tanh(u)) is (1 + exp(-2 u)) / 2
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
    if base == ONE:
        return ONE
    return of(Atom("power", str(exponent), (base,), base.scalar))


def _taken_out(base: Poly) -> tuple[Poly, Poly]:
    """A factor and the rest: what one term carries as an exponential or a number leaves it.

    Each time another term may become the first; of all there are, the least rest is taken.
    """
    outside, seen = ONE, dict[str, tuple[Poly, Poly]]()
    while base.key not in seen and len(seen) < 8:
        seen[base.key] = outside, base
        mono, c = min(base.terms.items(), key=lambda item: mono_key(_bare(item[0])))
        factor = constant(c)
        for atom, n in mono:
            if atom.kind == "exp":
                factor = factor * of(atom, n)
        outside, base = outside * factor, base * power(factor, Fraction(-1))
    found = list(seen)
    cycle = found[found.index(base.key) :] if base.key in seen else found[-1:]
    return seen[min(cycle)]


def _bare(mono: Mono) -> Mono:
    return tuple((atom, n) for atom, n in mono if atom.kind != "exp")


def _inverse(atom: Atom, n: int) -> Poly:
    """atom ** -n"""
    if atom.kind == "exp":
        return exp(atom.args[0].times(Fraction(-n)))
    if atom.kind == "power":
        return power(atom.args[0], -n * Fraction(atom.name))
    return of(atom, -n)
