"""Every function of `derive.symbolic.functions` in terms of the few: a table of forms.

In: the name of a function and its arguments.  Out: its normal form.
Not here: the few themselves (piecewise.py, powers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import sympy

from derive.comparison.polynomial.piecewise import basic, chosen, positive, zero
from derive.comparison.polynomial.powers import exp, log, logsigmoid, power, sigmoid
from derive.comparison.polynomial.squares import square_root
from derive.comparison.polynomial.terms import (
    HALF,
    ONE,
    ZERO,
    Atom,
    Mono,
    Poly,
    TooLarge,
    constant,
    is_opaque,
    of,
    say,
    single,
)
from derive.symbolic.composed import composed, symbols
from derive.symbolic.functions import NAME_OF_HEAD, RULES, Expr
from derive.textbook.notation import TEXT, Order, write


def function(name: str, *args: Poly) -> Poly:
    """A function of `derive.symbolic.functions` in terms of the few."""
    if name in KINKED and is_opaque():
        return of(Atom("function", name, args, all(arg.scalar for arg in args)))
    if name in SAID:
        say(SAID[name])
    rule = FORMS.get(name)
    if rule is not None:
        return rule(*args)
    if name in RULES and RULES[name].composed is not None and name not in _ATOMS:
        return _composed(name, args)
    return basic(name, *args)


def _composed(name: str, args: Sequence[Poly]) -> Poly:
    """A function whose record says how it is made of others."""
    letters = symbols(name)
    formula = write(composed(name, letters), TEXT, Order({}))
    say(f"{name}({', '.join(map(str, letters))}) is {formula}")
    values: dict[Expr, Poly] = dict(zip(letters, args, strict=True))

    def of_part(part: Expr) -> Poly:
        if part in values:
            return values[part]
        if part.is_Rational:
            return constant(Fraction(int(part.p), int(part.q)))
        parts = [of_part(inner) for inner in part.args]
        if part.is_Add or part.is_Mul:
            result = parts[0]
            for other in parts[1:]:
                result = result + other if part.is_Add else result * other
            return result
        if part.is_Pow and part.func != sympy.exp:
            return power(parts[0], Fraction(str(part.exp)))
        return function(NAME_OF_HEAD[part.func], *parts)

    return of_part(composed(name, letters))


def rebuilt(atom: Atom, args: list[Poly]) -> Poly:
    """The atom of other arguments, brought into normal form."""
    if atom.kind == "function":
        return function(atom.name, *args) if args else of(atom)
    if atom.kind == "exp":
        return exp(args[0])
    if atom.kind == "power":
        return power(args[0], Fraction(atom.name))
    return total(args[0], None)


def total(value: Poly, size: Poly | None) -> Poly:
    """The sum over the width, one monomial at a time; of a square as of one thing.

    size: the width; None where it is not known, and TooLarge where it is needed.
    """
    if len(value.terms) > 2 and (root := square_root(value)) is not None:
        value = of(Atom("power", "2", (root,), root.scalar))
    result = ZERO
    for mono, c in value.terms.items():
        outside, inside = split(mono)
        if inside != ONE:
            summed = of(Atom("sum", "", (inside,), True))
        elif size is not None:
            summed = size
        else:
            raise TooLarge
        result += (summed * outside).times(c)
    return result


def split(mono: Mono) -> tuple[Poly, Poly]:
    """The factors that are one number a row, and the others."""
    outside = tuple(pair for pair in mono if pair[0].scalar)
    inside = tuple(pair for pair in mono if not pair[0].scalar)
    return single(outside), single(inside)


#: As many digits as a constant in the text of a cell has.
_ROOT_HALF = Fraction(10**38, 141421356237309504880168872420969807857)
_SELU_SCALE = Fraction("1.0507009873554804934193349852946")
_SELU_ALPHA = Fraction("1.6732632423543772848170429916717")


def _elu(a: Poly) -> Poly:
    return chosen(a, a, exp(a) - ONE)


def _clip(a: Poly, lo: Poly, hi: Poly) -> Poly:
    return lo + function("relu", a - lo) - function("relu", a - hi)


#: What the forms say, for readers of a proof.
SAID: Mapping[str, str] = {
    "sigmoid": "sigmoid(a) is (1 + tanh(a / 2)) / 2",
    "hard_sigmoid": "hard_sigmoid(a) is a / 6 + 1 / 2 between 0 and 1",
    "hard_tanh": "hard_tanh(a) is a between -1 and 1",
    "clip": "clip(a, lo, hi) is lo + relu(a - lo) - relu(a - hi)",
    "silu": "silu(a) is a * sigmoid(a)",
    "gelu": "gelu(a) is a * (1 + erf(a / sqrt(2))) / 2",
    "relu": "relu(a) is a where a > 0, else 0",
    "leaky_relu": "leaky_relu(a) is a where a > 0, else a / 100",
    "abs": "abs(a) is a where a > 0, else -a",
    "softsign": "softsign(a) is a / (1 + abs(a))",
    "elu": "elu(a) is a where a > 0, else exp(a) - 1",
    "softplus": "softplus(a) is a / 2 + log(2 cosh(a / 2))",
    "logsigmoid": "logsigmoid(a) is a / 2 - log(2 cosh(a / 2))",
    "maximum": "maximum(a, b) is a where a - b > 0, else b",
    "minimum": "minimum(a, b) is b where a - b > 0, else a",
    "where": "where(c, a, b) is b + c * (a - b)",
    "expm1": "expm1(a) is exp(a) - 1",
    "log1p": "log1p(a) is log(1 + a)",
}

#: Functions without a form that stay as they are, although they have a formula.
_ATOMS = ("gelu_slope", "gated")

#: Functions that a convention differentiates somewhere.
KINKED = frozenset(
    name
    for name, record in RULES.items()
    if name == "stop_gradient" or (not record.analytic and name != "gated")
)

#: {name of a function: its form}; one that is not here is an atom.
FORMS: Mapping[str, Callable[..., Poly]] = {
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda a: _clip(a.times(Fraction(1, 6)) + constant(HALF), ZERO, ONE),
    "hard_tanh": lambda a: _clip(a, constant(-1), ONE),
    "clip": _clip,
    "silu": lambda a: a * sigmoid(a),
    "gelu": lambda a: (a * (ONE + basic("erf", a.times(_ROOT_HALF)))).times(HALF),
    "gaussian": lambda a: exp((a * a).times(-HALF)),
    "silu_slope": lambda a: sigmoid(a) * (ONE + a * (ONE - sigmoid(a))),
    "relu": lambda a: chosen(a, a, ZERO),
    "leaky_relu": lambda a: chosen(a, a, a.times(Fraction(1, 100))),
    "abs": lambda a: chosen(a, a, a.times(Fraction(-1))),
    "sign": lambda a: positive(a) - positive(a.times(Fraction(-1))),
    "softsign": lambda a: a * power(ONE + function("abs", a), Fraction(-1)),
    "elu": _elu,
    "selu": lambda a: chosen(a, a, (exp(a) - ONE).times(_SELU_ALPHA)).times(_SELU_SCALE),
    "softplus": lambda a: a.times(HALF) + basic("lncosh", a.times(HALF)),
    "logsigmoid": logsigmoid,
    "maximum": lambda a, b: chosen(a - b, a, b),
    "minimum": lambda a, b: chosen(a - b, b, a),
    "stop_gradient": lambda a: a,  # of values; slopes follow functions.RULES
    "positive": positive,
    "zero": zero,
    "less": lambda a, b: positive(b - a),
    "less_equal": lambda a, b: ONE - positive(a - b),
    "equal": lambda a, b: zero(a - b),
    "not_equal": lambda a, b: ONE - zero(a - b),
    "where": lambda c, one, other: other + c * (one - other),
    "exp": exp,
    "expm1": lambda a: exp(a) - ONE,
    "log": log,
    "log1p": lambda a: log(ONE + a),
}
