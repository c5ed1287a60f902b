"""Two kinds of numbers to interpret a Program with: NumPy's (real or complex) and mpmath's.

In: a SymPy expression and the values of its arrays.  Out: its value.
Not here: the functions (oracle.py), products over units and rows (program/program.py). Nothing
generated depends on this file; it is the oracle, so it is written for plainness, and shares no text
with emit/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy

from derive.symbolic import functions
from derive.symbolic.functions import Expr
from derive.symbolic.oracle import ORACLE


def _sum(value: Any, axis: int) -> Any:
    # Keeps the axis: without it, objects of one dimension would sum to a bare number.
    return value.sum(axis=axis, keepdims=True)


def _broadcast(value: Any, shape: tuple[int, ...]) -> Any:
    value = np.asarray(value)
    return value if value.shape == shape else np.broadcast_to(value, shape)


@dataclass(frozen=True, slots=True)
class Algebra:
    """Numbers of one kind: how to convert an array and a constant, and what to do with them.

    sum(value, axis) keeps the axis, with length 1.
    """

    name: str
    array: Callable[[Any], Any]
    number: Callable[[Expr], Any]
    power: Callable[[Any, Expr], Any]
    functions: Mapping[str, Callable[..., Any]]
    sum: Callable[..., Any] = _sum
    matmul: Callable[..., Any] = np.dot
    broadcast: Callable[..., Any] = _broadcast

    def evaluate(self, expr: Expr, values: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
        """The value of `expr`, elementwise, with NumPy's broadcasting."""
        if expr.is_Symbol:
            name = expr.name
            if functions.is_size(expr):
                return self.number(sympy.Integer(sizes[name.strip("|")]))
            return values[name]
        if not expr.args:
            return self.number(expr)
        if expr.is_Add or expr.is_Mul:
            parts = [self.evaluate(part, values, sizes) for part in expr.args]
            total = parts[0]
            for part in parts[1:]:
                total = total + part if expr.is_Add else total * part
            return total
        if isinstance(expr, sympy.Pow) and not isinstance(expr, functions.exp):
            base, exponent = expr.args
            return self.power(self.evaluate(base, values, sizes), exponent)
        rule = functions.rule_of(expr)
        args = [self.evaluate(part, values, sizes) for part in expr.args]
        with np.errstate(all="ignore"):
            return self.functions[functions.NAME_OF_HEAD[rule.head]](*args)


# --- NumPy: float64, or complex128 for the complex step -------------------------------------


def _numpy_power(base: Any, exponent: Expr) -> Any:
    with np.errstate(all="ignore"):
        if exponent.is_Integer:
            if exponent == 2:
                return base * base
            return np.asarray(base, dtype=np.result_type(base, 1.0)) ** int(exponent)
        if exponent == functions.HALF:
            return np.sqrt(base)
        return np.power(base, float(exponent))


@lru_cache(maxsize=4096)
def _numpy_number(expr: Expr) -> float:
    return float(expr)


def _numpy_array(value: Any) -> Any:
    value = np.asarray(value)
    return value if np.iscomplexobj(value) else value.astype(np.float64)


NUMPY = Algebra(
    name="numpy",
    array=_numpy_array,
    number=_numpy_number,
    power=_numpy_power,
    functions={name: ORACLE[name].float64 for name in functions.RULES},
)


# --- mpmath: as many digits as mpmath.mp.dps says ------------------------------------------


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*args: Any) -> Any:
        return np.frompyfunc(function, len(args), 1)(*args)

    return apply


def _mp_number(expr: Expr) -> Any:
    if expr.is_Rational:
        return mpmath.mpf(int(expr.p)) / int(expr.q)
    return mpmath.mpf(sympy.N(expr, mpmath.mp.dps)._mpf_)


def _mp_power(base: Any, exponent: Expr) -> Any:
    return _each(lambda v: mpmath.power(v, _mp_number(exponent)))(base)


MPMATH = Algebra(
    name="mpmath",
    array=_each(lambda v: mpmath.mpf(v)),
    number=_mp_number,
    power=_mp_power,
    functions={name: _each(ORACLE[name].value) for name in functions.RULES},
)
