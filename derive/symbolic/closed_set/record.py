"""What one scalar function is: a record of everything the rest of the project needs to know.

In: nothing.  Out: `Function`, the record; `declare`, a SymPy class for a new function.
Not here: the records (the other files of this folder), what mpmath computes (symbolic/oracle.py).

A record holds plain data, SymPy expressions, and formulas as functions of numbers. So it can stand
here, below every room that reads a part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import sympy
from sympy import Integer, Rational

Expr: TypeAlias = sympy.Expr
#: {name of a function: the function}, of arrays, tensors or expressions of any library.
Known: TypeAlias = Mapping[str, Callable[..., Any]]

ZERO = Integer(0)
ONE = Integer(1)
HALF = Rational(1, 2)

#: Where the text of a function comes from in a target; see `Function`.
TEMPLATE, COMPOSED, LANES = "template", "composed", "lanes"

#: No limit: the function goes on oscillating.
OSCILLATES = sympy.nan
INFINITY = sympy.oo


class Scalar(sympy.Function):  # type: ignore[misc]
    """A real elementwise function that SymPy does not evaluate by itself."""

    def _eval_is_extended_real(self) -> bool:
        return True


def declare(name: str, arity: int, doc: str | None = None) -> Any:
    """A SymPy class `name` of so many arguments."""
    space = {"nargs": arity, "__module__": "derive.symbolic.functions", "__doc__": doc}
    return type(name, (Scalar,), space)


@dataclass(frozen=True, slots=True)
class Range:
    """Values lie between `low` and `high`; None: without a bound. reached: bounds included."""

    low: Expr | None
    high: Expr | None
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Looser:
    """Where a kernel's result has no bound relative to itself.

    kind: "value" or "slope", the derivative.  For arguments from `low` to `high` it may besides be
    off by `units` units of roundoff (2^-24, 2^-53) of 1, or, `subnormal`, by the smallest normal
    number.  why: for a reader.  numpy_functions: whether it holds only for targets that compute
    with NumPy's functions.  reals: those that it holds for; empty: all.
    """

    kind: str
    low: float
    high: float
    units: float
    why: str
    subnormal: bool = False
    numpy_functions: bool = False
    reals: tuple[str, ...] = ()

    def bound(self, real: str) -> str:
        if self.subnormal:
            return f"+ the smallest normal number from {self.low:g} to {self.high:g}: {self.why}"
        unit = {"f32": "2^-24", "f64": "2^-53"}[real]
        return f"+ {self.units:g} * {unit} from {self.low:g} to {self.high:g}: {self.why}"


@dataclass(frozen=True, slots=True)
class Function:
    """One scalar function. What is left out says: nothing special.

    Mathematics
        head        the SymPy class; None for sqrt, which SymPy writes as a power
        partials    one derivative for each argument, given the arguments and the value
        composed    the function by means of others, `f["exp"]`, with + - * / and whole numbers;
                    where there is no other text, NumPy, C and the prover of `equal` use it
        public      whether a cell's text may call it
        analytic    whether the complex step is valid
        kinks       expressions in the arguments whose zeros are kinks or jumps
        limits      the values at minus and plus infinity; None: not defined there
        range       between what its values lie
        rises       a larger argument never gives a smaller value
        parity      -1 for an odd function, 1 for an even one
        above       it is defined for arguments above this number only
        explodes    whether a finite argument may give infinity or NaN
        slope       a bound on the size of the derivative, with some room for rounding; None: none

    Numbers
        plain       cost: one elementwise operation; else a call of a transcendental function
        exact       its value is never rounded
        cancels     its usual formula subtracts: the error may be larger than the value's rounding
        rounding    the size of the number that such a formula rounds, given NumPy's functions and
                    the arguments
        ulp         what the C header's function may be off, in units of the last place
        looser      where a kernel may be off by more

    Texts
        numpy       the name of NumPy's own function; TEMPLATE: the generated module defines it, by
                    templates/numpy/functions/NAME.py.j2; COMPOSED: it defines it as `composed`
        needs       other functions of the module that its definition calls
        c           TEMPLATE: templates/c/kernels/math.h.j2 defines it; LANES: it is the C library's
                    function, lane by lane; COMPOSED
        latex, symbol   its name in LaTeX, and in MathML and pictures; "": its own name
        aliases     what other languages call it
        torch, jax  the library's own function, as a path below `torch` or `jax`
        onnx        the operator, and its attributes
    """

    name: str
    head: Any
    partials: tuple[Callable[..., Expr], ...]
    composed: Callable[..., Any] | None = None
    public: bool = True
    analytic: bool = True
    kinks: tuple[Callable[..., Expr], ...] = ()
    limits: tuple[Expr | None, Expr | None] = (None, None)
    range: Range = Range(None, None)
    rises: bool = False
    parity: int = 0
    above: Expr | None = None
    explodes: bool = False
    slope: float | None = None

    plain: bool = False
    exact: bool = False
    cancels: bool = False
    rounding: Callable[..., Any] | None = None
    ulp: float = 2.0
    looser: tuple[Looser, ...] = ()

    numpy: str = TEMPLATE
    needs: tuple[str, ...] = ()
    c: str = TEMPLATE
    latex: str = ""
    symbol: str = ""
    aliases: tuple[str, ...] = ()
    torch: str = ""
    jax: str = ""
    onnx: tuple[str, Mapping[str, float]] | None = None

    @property
    def arity(self) -> int:
        return len(self.partials)

    @property
    def numpy_own(self) -> str | None:
        """The name of NumPy's own function."""
        return None if self.numpy in (TEMPLATE, COMPOSED) else self.numpy

    @property
    def is_activation(self) -> bool:
        """Whether a cell's text may apply it to one array."""
        return self.public and self.arity == 1


# --- what the records of several files use --------------------------------------------------------

LEFT, RIGHT = -math.inf, math.inf
ROOT = "the derivative has a root there, that is no number of the type"
SATURATED = "computed of the rounded value, which is all that is kept"


def nothing(*_: Expr) -> Expr:
    """The derivative by an argument that a convention declares constant."""
    return ZERO


def at_zero(u: Expr) -> Expr:
    """A kink where the argument is 0."""
    return u


def at(place: int) -> Callable[[Expr], Expr]:
    """A kink where the argument is `place`."""
    return lambda u: u - place


def tie(a: Expr, b: Expr) -> Expr:
    """A kink where both arguments are equal."""
    return a - b


where = declare("where", 3)
less = declare("less", 2)
less_equal = declare("less_equal", 2)
equal = declare("equal", 2)
not_equal = declare("not_equal", 2)


def pick(condition: Expr, chosen: Expr, other: Expr) -> Expr:
    return cast(Expr, where(condition, chosen, other))


def inside(v: Expr, low: Expr, high: Expr) -> Expr:
    """1 where low < v < high, 0 on the bounds and beyond."""
    return pick(less(low, v), pick(less(v, high), ONE, ZERO), ZERO)
