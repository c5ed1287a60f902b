"""Scalar mathematics: the closed function set and its partial derivatives. SymPy lives here.

In: SymPy expressions over the arrays of one row.  Out: their partial derivatives and values.
Not here: shapes, products and sums over units (program.py), printing (emit/, inspect/).

A SymPy symbol stands for one element of an array. Numbers are exact rationals, so that the
same text gives the same expression on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import sympy
from sympy import Integer, Pow, Rational, pi

Expr: TypeAlias = sympy.Expr

ZERO = Integer(0)
ONE = Integer(1)
HALF = Rational(1, 2)

SELU_SCALE = Rational("1.0507009873554804934193349852946")
SELU_ALPHA = Rational("1.6732632423543772848170429916717")
LEAKY_SLOPE = Rational("0.01")
LARGE = Integer(10) ** 300  # what is not below it is infinite or NaN
LAYER_NORM_EPSILON = Rational("1e-5")


def symbol(name: str) -> sympy.Symbol:
    """The symbol that stands for one element of the array `name`."""
    return sympy.Symbol(name, real=True)


def size(dim: str | int) -> Expr:
    """The number of elements along a dimension, as a factor in an expression.

    The bars keep dimension names apart from array names: no array can be called "|H|".
    """
    return Integer(dim) if isinstance(dim, int) else sympy.Symbol(f"|{dim}|", positive=True)


def is_size(symbol_: Expr) -> bool:
    return isinstance(symbol_, sympy.Symbol) and symbol_.name.startswith("|")


def number(text: str) -> Expr:
    """The exact rational that decimal text denotes: number("0.1") is 1/10."""
    return Rational(text)


class _Scalar(sympy.Function):  # type: ignore[misc]
    """A real elementwise function that SymPy does not evaluate by itself."""

    def _eval_is_extended_real(self) -> bool:
        return True


def _declare(name: str, arity: int) -> Any:
    return type(name, (_Scalar,), {"nargs": arity, "__module__": __name__})


sigmoid = _declare("sigmoid", 1)
relu = _declare("relu", 1)
log1p = _declare("log1p", 1)
expm1 = _declare("expm1", 1)
softplus = _declare("softplus", 1)
logsigmoid = _declare("logsigmoid", 1)
softsign = _declare("softsign", 1)
elu = _declare("elu", 1)
leaky_relu = _declare("leaky_relu", 1)
selu = _declare("selu", 1)
gelu = _declare("gelu", 1)
silu = _declare("silu", 1)
hard_sigmoid = _declare("hard_sigmoid", 1)
hard_tanh = _declare("hard_tanh", 1)
maximum = _declare("maximum", 2)
minimum = _declare("minimum", 2)
clip = _declare("clip", 3)
stop_gradient = _declare("stop_gradient", 1)
less = _declare("less", 2)
less_equal = _declare("less_equal", 2)
equal = _declare("equal", 2)
not_equal = _declare("not_equal", 2)
where = _declare("where", 3)
gaussian = _declare("gaussian", 1)
gaussian.__doc__ = "gaussian(u) = exp(-u^2 / 2), whose argument would be rounded where it is large."
gelu_slope = _declare("gelu_slope", 1)
gelu_slope.__doc__ = "gelu'(u) = Phi(u) + u phi(u), normal distribution and density."
silu_slope = _declare("silu_slope", 1)
silu_slope.__doc__ = "silu'(u) = sigmoid(u) (1 + u sigmoid(-u))."
gated = _declare("gated", 2)
gated.__doc__ = """gated(d, p) = d * p, and 0 wherever d is 0, whatever p is.

A cotangent that comes from a branch of `where` is 0 on the rows that took the other branch;
there p may be NaN or infinite and must not count."""

tanh = sympy.tanh
exp = sympy.exp
log = sympy.log
sin = sympy.sin
cos = sympy.cos
erf = sympy.erf
sign = sympy.sign
floor = sympy.floor
absolute = sympy.Abs


@dataclass(frozen=True, slots=True)
class Rule:
    """One function: its SymPy head, its arity and its partials in terms of (*args, out)."""

    head: Any
    partials: tuple[Callable[..., Expr], ...]
    analytic: bool = True
    public: bool = True

    @property
    def arity(self) -> int:
        return len(self.partials)


def _pick(condition: Expr, chosen: Expr, other: Expr) -> Expr:
    return cast(Expr, where(condition, chosen, other))


def _none(*_: Expr) -> Expr:
    return ZERO


def _half_at_tie(a: Expr, b: Expr) -> Expr:
    """1 where a < b, one half where they are equal, 0 elsewhere."""
    return _pick(less(a, b), ONE, _pick(equal(a, b), HALF, ZERO))


def _inside_open(v: Expr, lo: Expr, hi: Expr) -> Expr:
    return _pick(less(lo, v), _pick(less(v, hi), ONE, ZERO), ZERO)


def _inside_closed(v: Expr, lo: Expr, hi: Expr) -> Expr:
    return _pick(less_equal(lo, v), _pick(less_equal(v, hi), ONE, ZERO), ZERO)


def _gelu_bend(u: Expr, _: Expr) -> Expr:
    return (2 - u**2) * gaussian(u) / sympy.sqrt(2 * pi)


def _silu_bend(u: Expr, _: Expr) -> Expr:
    return sigmoid(u) * sigmoid(-u) * (2 - u * tanh(u / 2))


RULES: Mapping[str, Rule] = {
    # name: (head, one partial derivative per argument, given the arguments and the value y)
    "sigmoid": Rule(sigmoid, (lambda u, y: y * (1 - y),)),
    "tanh": Rule(tanh, (lambda u, y: 1 - y**2,)),
    "relu": Rule(relu, (lambda u, y: _pick(less(0, u), ONE, ZERO),), analytic=False),
    "exp": Rule(exp, (lambda u, y: y,)),
    "log": Rule(log, (lambda u, y: 1 / u,)),
    "log1p": Rule(log1p, (lambda u, y: 1 / (1 + u),)),
    "expm1": Rule(expm1, (lambda u, y: exp(u),)),
    "sin": Rule(sin, (lambda u, y: cos(u),)),
    "cos": Rule(cos, (lambda u, y: -sin(u),)),
    "erf": Rule(erf, (lambda u, y: 2 * gaussian(u) ** 2 / sympy.sqrt(pi),)),
    "abs": Rule(absolute, (lambda u, y: sign(u),), analytic=False),
    "sign": Rule(sign, (_none,), analytic=False),
    "floor": Rule(floor, (_none,), analytic=False),
    "softplus": Rule(softplus, (lambda u, y: sigmoid(u),)),
    "logsigmoid": Rule(logsigmoid, (lambda u, y: sigmoid(-u),)),
    "softsign": Rule(softsign, (lambda u, y: (1 + absolute(u)) ** -2,), analytic=False),
    "elu": Rule(elu, (lambda u, y: _pick(less(0, u), ONE, exp(u)),), analytic=False),
    "leaky_relu": Rule(
        leaky_relu, (lambda u, y: _pick(less(0, u), ONE, LEAKY_SLOPE),), analytic=False
    ),
    "selu": Rule(
        selu,
        (lambda u, y: _pick(less(0, u), SELU_SCALE, SELU_SCALE * SELU_ALPHA * exp(u)),),
        analytic=False,
    ),
    "gelu": Rule(gelu, (lambda u, y: gelu_slope(u),)),
    "silu": Rule(silu, (lambda u, y: silu_slope(u),)),
    "hard_sigmoid": Rule(
        hard_sigmoid,
        (lambda u, y: Rational(1, 6) * _inside_open(u, Integer(-3), Integer(3)),),
        analytic=False,
    ),
    "hard_tanh": Rule(hard_tanh, (lambda u, y: _inside_open(u, Integer(-1), ONE),), analytic=False),
    "maximum": Rule(
        maximum,
        (lambda a, b, y: _half_at_tie(b, a), lambda a, b, y: _half_at_tie(a, b)),
        analytic=False,
    ),
    "minimum": Rule(
        minimum,
        (lambda a, b, y: _half_at_tie(a, b), lambda a, b, y: _half_at_tie(b, a)),
        analytic=False,
    ),
    "clip": Rule(clip, (lambda v, lo, hi, y: _inside_closed(v, lo, hi), _none, _none), False),
    "where": Rule(
        where,
        (_none, lambda c, u, v, y: _pick(c, ONE, ZERO), lambda c, u, v, y: _pick(c, ZERO, ONE)),
        analytic=False,
    ),
    "stop_gradient": Rule(stop_gradient, (_none,)),
    # Never written by a user; produced by `where(a < b, ...)` and by differentiation.
    "less": Rule(less, (_none, _none), analytic=False, public=False),
    "less_equal": Rule(less_equal, (_none, _none), analytic=False, public=False),
    "equal": Rule(equal, (_none, _none), analytic=False, public=False),
    "not_equal": Rule(not_equal, (_none, _none), analytic=False, public=False),
    "gaussian": Rule(gaussian, (lambda u, y: -u * y,), public=False),
    "gelu_slope": Rule(gelu_slope, (_gelu_bend,), public=False),
    "silu_slope": Rule(silu_slope, (_silu_bend,), public=False),
    "gated": Rule(gated, (lambda d, p, y: p, lambda d, p, y: d), analytic=False, public=False),
}

NAME_OF_HEAD: Mapping[Any, str] = {rule.head: name for name, rule in RULES.items()}

#: Functions over the whole width of an array; shapes.py turns them into Sums and Maps.
REDUCTIONS: tuple[str, ...] = ("sum", "mean", "layer_norm")

#: Every name that means a function in `.cell` text, hence no name for an array.
#: `sqrt` is SymPy's Pow(v, 1/2) and has no rule of its own.
PUBLIC_FUNCTIONS: tuple[str, ...] = (
    *(name for name, rule in RULES.items() if rule.public),
    "sqrt",
    *REDUCTIONS,
)


def is_constant(expr: Expr) -> bool:
    """Whether `expr` is a number that SymPy can evaluate: without arrays, and without functions
    of the closed set that SymPy does not know."""
    return bool(expr.is_number) and not expr.atoms(_Scalar)


class UnknownNode(Exception):
    """An expression holds a node outside the closed set; the caller names the equation."""


def partial(expr: Expr, by: sympy.Symbol, out: Expr | None = None) -> Expr:
    """d expr / d by, elementwise.

    Where `expr` is one function application whose derivative can be said in terms of its
    value, and `out` is the symbol of the array that holds that value, the result refers to
    `out`: sigmoid'(u) is out * (1 - out).
    """
    if expr == by:
        return ONE
    if not expr.has(by):
        return ZERO
    if expr.is_Add:
        return cast(Expr, sympy.Add(*(partial(term, by) for term in expr.args)))
    if expr.is_Mul:
        terms = []
        for k, factor in enumerate(expr.args):
            slope = partial(factor, by)
            if slope != 0:
                terms.append(sympy.Mul(*expr.args[:k], slope, *expr.args[k + 1 :]))
        return cast(Expr, sympy.Add(*terms))
    if isinstance(expr, Pow):
        return _partial_of_power(expr, by, out)
    if isinstance(expr, where):
        # The branch is chosen after its derivative is taken, so a NaN of the other is dropped.
        condition, chosen, other = cast(tuple[Expr, Expr, Expr], expr.args)
        slopes = partial(chosen, by), partial(other, by)
        return _pick(condition, *slopes) if slopes != (ZERO, ZERO) else ZERO
    if isinstance(expr, gated):
        return _partial_of_gated(expr, by)
    rule = rule_of(expr)
    value = expr if out is None else out
    total: Expr = ZERO
    for argument, slope_of in zip(expr.args, rule.partials, strict=True):
        inner = partial(cast(Expr, argument), by)
        if inner != 0:
            total += slope_of(*expr.args, value) * inner
    return total


def _partial_of_gated(expr: Expr, by: sympy.Symbol) -> Expr:
    """As of d * p, without the NaN that p or its derivative may be where d is 0."""
    d, p = cast(tuple[Expr, Expr], expr.args)
    d_inner, p_inner = partial(d, by), partial(p, by)
    total: Expr = ZERO
    if d_inner != 0:
        finite = _pick(less(absolute(p), LARGE), p, ZERO)
        total += _pick(equal(d, ZERO), finite, p) * d_inner
    if p_inner != 0:
        total += gated(d, p_inner)
    return total


def _partial_of_power(expr: Pow, by: sympy.Symbol, out: Expr | None) -> Expr:
    base, exponent = cast(tuple[Expr, Expr], expr.args)
    if exponent.has(by):
        raise UnknownNode(f"{expr}: an exponent must be constant")
    inner = partial(base, by)
    if out is not None and exponent == HALF:
        return inner / (2 * out)
    return exponent * base ** (exponent - 1) * inner


def rule_of(expr: Expr) -> Rule:
    """The rule of a function application; UnknownNode for anything outside the closed set."""
    name = NAME_OF_HEAD.get(expr.func)
    if name is None:
        raise UnknownNode(f"{type(expr).__name__}: {expr}")
    return RULES[name]


def is_analytic(expr: Expr) -> bool:
    """Whether the complex step is valid for `expr`."""
    for node in sympy.preorder_traversal(expr):
        if node.is_Function and not rule_of(node).analytic:
            return False
    return True
