"""A parameter map in numbers, of any algebra; and mpmath in which what is no number is nan.

In: the expression of a parameter or a state, and arrays.  Out: arrays.
Not here: what is compared (check.py). A polynomial is read as data, term by term; no rule of
comparison/polynomial/ is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np

from derive.comparison.matrices import Matrix
from derive.comparison.polynomial import Atom, Poly, single
from derive.symbolic import functions
from derive.symbolic.evaluate import MPMATH, Algebra

Arrays = Mapping[str, Any]


def names_in(value: Poly | Matrix) -> frozenset[str]:
    """Parameters that stand in it."""
    found: set[str] = set()
    waiting = [value] if isinstance(value, Poly) else []
    for chain in [] if isinstance(value, Poly) else value.parts:
        found |= {factor.name for factor in chain if factor.name}
        waiting += [single(factor.diagonal) for factor in chain if not factor.name]
    while waiting:
        for mono in waiting.pop().terms:
            for atom, _ in mono:
                if atom.kind == "product":
                    found.add(atom.name.removesuffix("'"))
                elif atom.kind == "param":
                    found.add(atom.name)
                waiting += atom.args
    return frozenset(found)


def value_in_numbers(
    value: Poly | Matrix,
    params: Arrays,
    sizes: Mapping[str, int],
    algebra: Algebra,
    shape: tuple[int, ...],
) -> Any:
    if isinstance(value, Poly):
        return polynomial_in_numbers(value, params, sizes, algebra, shape)
    total: Any = algebra.array(np.zeros(shape))
    for chain, c in value.parts.items():
        term = None
        for factor in chain:
            if factor.name:
                own = params[factor.name]
                own = own.T if factor.transposed else own
            else:
                own = polynomial_in_numbers(single(factor.diagonal), params, sizes, algebra, None)
                width = term.shape[1] if term is not None else shape[0]
                own = np.broadcast_to(own, (width,))
                own = algebra.array(np.eye(width)) * own
            term = own if term is None else algebra.matmul(term, own)
        if term is None:
            term = algebra.array(np.eye(shape[0], shape[1]))
        total = total + term * c.numerator / c.denominator
    return total


def polynomial_in_numbers(
    poly: Poly,
    arrays: Arrays,
    sizes: Mapping[str, int],
    algebra: Algebra,
    shape: tuple[int, ...] | None,
) -> Any:
    total: Any = algebra.array(np.zeros(() if shape is None else shape))
    for mono, c in poly.terms.items():
        term: Any = algebra.array(np.array(1.0)) * c.numerator / c.denominator
        for atom, n in mono:
            value = _atom(atom, arrays, sizes, algebra)
            for _ in range(abs(n)):
                term = term * value if n > 0 else term / value
        total = total + term
    return total if shape is None else algebra.broadcast(total, shape)


def _atom(atom: Atom, arrays: Arrays, sizes: Mapping[str, int], algebra: Algebra) -> Any:
    if atom.kind in ("param", "array"):
        return arrays[atom.name]
    if atom.kind == "size":
        return algebra.array(np.array(float(sizes[atom.name])))
    args = [polynomial_in_numbers(arg, arrays, sizes, algebra, None) for arg in atom.args]
    if atom.kind == "product":
        name = atom.name.removesuffix("'")
        matrix = arrays[name] if name == atom.name else arrays[name].T
        inner = np.broadcast_to(args[0], (matrix.shape[1],)) if np.ndim(args[0]) < 2 else args[0]
        return algebra.matmul(inner, matrix.T)
    if atom.kind == "sum":
        return algebra.sum(args[0], axis=-1)
    if atom.kind == "exp":
        return algebra.functions["exp"](args[0])
    if atom.kind == "power":
        return algebra.power(args[0], functions.number(atom.name))
    own = _FUNCTIONS.get(atom.name)
    return algebra.functions[atom.name](*args) if own is None else own(algebra, *args)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "positive": lambda a, v: a.functions["less"](v * 0, v),
    "zero": lambda a, v: a.functions["equal"](v, v * 0),
    "lncosh": lambda a, v: a.functions["softplus"](2 * v) - v,
}


# --- mpmath, in which what is no number is nan ----------------------------------------------


def _tolerant(function: Callable[..., Any]) -> Callable[..., Any]:
    def one(*args: Any) -> Any:
        if any(v != v for v in args):
            return mpmath.nan
        try:
            value = function(*args)
        except (ZeroDivisionError, ValueError, OverflowError):
            return mpmath.nan
        return mpmath.nan if isinstance(value, mpmath.mpc) else value

    def apply(*args: Any) -> Any:
        return np.frompyfunc(one, len(args), 1)(*args)

    return apply


def _power(base: Any, exponent: Any) -> Any:
    return _tolerant(lambda v: MPMATH.power(v, exponent))(base)


def _where(condition: Any, chosen: Any, other: Any) -> Any:
    return np.frompyfunc(lambda c, u, v: u if c else v, 3, 1)(condition, chosen, other)


def _gated(d: Any, p: Any) -> Any:
    return np.frompyfunc(lambda x, y: x * y if x else mpmath.mpf(0), 2, 1)(d, p)


def _sum(value: Any, axis: int) -> Any:
    return value.sum(axis=axis, keepdims=True)


TOLERANT = replace(
    MPMATH,
    sum=_sum,
    power=_power,
    functions={
        **{name: _tolerant(function) for name, function in MPMATH.functions.items()},
        "where": _where,
        "gated": _gated,
        "stop_gradient": lambda v: v,
    },
)
