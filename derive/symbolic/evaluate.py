"""Two kinds of numbers to interpret a Program with: NumPy's (real or complex) and mpmath's.

In: a SymPy expression and the values of its arrays.  Out: its value.
Not here: products over units and rows (program.py). Nothing generated depends on this file;
it is the oracle, so it is written for plainness, and shares no text with emit/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy

from derive.symbolic import functions as scalar


def _sum(value: Any, axis: int) -> Any:
    # An array whatever its shape: objects of one dimension would sum to a bare number.
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
    number: Callable[[scalar.Expr], Any]
    power: Callable[[Any, scalar.Expr], Any]
    functions: Mapping[str, Callable[..., Any]]
    sum: Callable[..., Any] = _sum
    matmul: Callable[..., Any] = np.dot
    broadcast: Callable[..., Any] = _broadcast

    def evaluate(
        self, expr: scalar.Expr, values: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> Any:
        """The value of `expr`, elementwise, with NumPy's broadcasting."""
        if expr.is_Symbol:
            name = expr.name
            if scalar.is_size(expr):
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
        if isinstance(expr, sympy.Pow) and not isinstance(expr, scalar.exp):
            base, exponent = expr.args
            return self.power(self.evaluate(base, values, sizes), exponent)
        rule = scalar.rule_of(expr)
        args = [self.evaluate(part, values, sizes) for part in expr.args]
        with np.errstate(all="ignore"):
            return self.functions[scalar.NAME_OF_HEAD[rule.head]](*args)


# --- NumPy: float64, or complex128 for the complex step -------------------------------------
# Every branch looks at the real part alone, so that the complex step is valid on piecewise
# functions too, away from their kinks.


def _real(v: Any) -> Any:
    return np.real(v)


def _numpy_power(base: Any, exponent: scalar.Expr) -> Any:
    with np.errstate(all="ignore"):
        if exponent.is_Integer:
            if exponent == 2:
                return base * base
            return np.asarray(base, dtype=np.result_type(base, 1.0)) ** int(exponent)
        if exponent == scalar.HALF:
            return np.sqrt(base)
        return np.power(base, float(exponent))


def _numpy_sigmoid(v: Any) -> Any:
    # Both branches are finite: the exponential of a number that is at most 0.
    e = np.exp(-np.where(_real(v) < 0, -v, v))
    return np.where(_real(v) < 0, e, 1.0) / (1.0 + e)


def _numpy_log1p(v: Any) -> Any:
    if np.iscomplexobj(v):
        # As for erf below; NumPy's own of a small complex number is right in absolute terms only.
        re, im = np.real(v), np.imag(v)
        return np.log1p(re) + 1j * im / (1.0 + re)
    return np.log1p(v)


def _numpy_softplus(v: Any) -> Any:
    magnitude = np.where(_real(v) < 0, -v, v)
    return np.where(_real(v) < 0, 0.0, v) + _numpy_log1p(np.exp(-magnitude))


def _numpy_erf(v: Any) -> Any:
    if np.iscomplexobj(v):
        # A complex step is a real point and a tiny imaginary part: first order is exact.
        re, im = np.real(v), np.imag(v)
        return _numpy_erf(re) + 1j * im * 2.0 / math.sqrt(math.pi) * np.exp(-re * re)
    return np.vectorize(math.erf, otypes=[np.float64])(v)


def _numpy_normal(v: Any) -> Any:
    """The normal distribution function."""
    if np.iscomplexobj(v):
        re, im = np.real(v), np.imag(v)
        return _numpy_normal(re) + 1j * im * _numpy_gaussian(re) / math.sqrt(2 * math.pi)
    return np.vectorize(lambda a: 0.5 * math.erfc(-a / math.sqrt(2)), otypes=[np.float64])(v)


def _numpy_gaussian(v: Any) -> Any:
    return np.exp(-v * v / 2)


def _numpy_where(condition: Any, chosen: Any, other: Any) -> Any:
    return np.where(condition != 0, chosen, other)


def _compare(relation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: np.where(relation(_real(a), _real(b)), 1.0, 0.0)


_NUMPY: dict[str, Callable[..., Any]] = {
    "sigmoid": _numpy_sigmoid,
    "tanh": np.tanh,
    "relu": lambda v: np.where(_real(v) <= 0, 0.0, v),
    "exp": np.exp,
    "log": np.log,
    "log1p": _numpy_log1p,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _numpy_erf,
    "abs": lambda v: np.where(_real(v) < 0, -v, v),
    "sign": lambda v: np.sign(_real(v)),
    "floor": lambda v: np.floor(_real(v)),
    "softplus": _numpy_softplus,
    "logsigmoid": lambda v: -_numpy_softplus(-v),
    "softsign": lambda v: v / (1 + np.where(_real(v) < 0, -v, v)),
    "elu": lambda v: np.where(_real(v) > 0, v, np.expm1(np.where(_real(v) > 0, 0.0, v))),
    "leaky_relu": lambda v: np.where(_real(v) > 0, v, 0.01 * v),
    "selu": lambda v: (
        float(scalar.SELU_SCALE)
        * np.where(
            _real(v) > 0,
            v,
            float(scalar.SELU_ALPHA) * np.expm1(np.where(_real(v) > 0, 0.0, v)),
        )
    ),
    "gelu": lambda v: v * _numpy_normal(v),
    "silu": lambda v: v * _numpy_sigmoid(v),
    "gaussian": _numpy_gaussian,
    "gelu_slope": lambda v: _numpy_normal(v) + v * _numpy_gaussian(v) / math.sqrt(2 * math.pi),
    "silu_slope": lambda v: _numpy_sigmoid(v) * (1 + v * _numpy_sigmoid(-v)),
    "hard_sigmoid": lambda v: np.clip(v / 6 + 0.5, 0, 1),
    "hard_tanh": lambda v: np.clip(v, -1, 1),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "clip": np.clip,
    "where": _numpy_where,
    "stop_gradient": _real,  # what the complex step must not see
    "less": _compare(np.less),
    "less_equal": _compare(np.less_equal),
    "equal": _compare(np.equal),
    "not_equal": _compare(np.not_equal),
    "gated": lambda d, p: np.where(d == 0, 0.0, d * p),
}


@lru_cache(maxsize=4096)
def _numpy_number(expr: scalar.Expr) -> float:
    return float(expr)


def _numpy_array(value: Any) -> Any:
    value = np.asarray(value)
    return value if np.iscomplexobj(value) else value.astype(np.float64)


NUMPY = Algebra(
    name="numpy",
    array=_numpy_array,
    number=_numpy_number,
    power=_numpy_power,
    functions=_NUMPY,
)


# --- mpmath: as many digits as mpmath.mp.dps says ------------------------------------------


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*args: Any) -> Any:
        return np.frompyfunc(function, len(args), 1)(*args)

    return apply


def _mp_number(expr: scalar.Expr) -> Any:
    if expr.is_Rational:
        return mpmath.mpf(int(expr.p)) / int(expr.q)
    return mpmath.mpf(sympy.N(expr, mpmath.mp.dps)._mpf_)


def _mp_power(base: Any, exponent: scalar.Expr) -> Any:
    return _each(lambda v: mpmath.power(v, _mp_number(exponent)))(base)


def _mp_elu(v: Any) -> Any:
    return v if v > 0 else mpmath.expm1(v)


def _mp_softplus(v: Any) -> Any:
    return v + mpmath.log1p(mpmath.exp(-v)) if v > 0 else mpmath.log1p(mpmath.exp(v))


def _mp_sigmoid(v: Any) -> Any:
    return 1 / (1 + mpmath.exp(-v))


def _mp_normal(v: Any) -> Any:
    return mpmath.erfc(-v / mpmath.sqrt(2)) / 2


def _mp_gaussian(v: Any) -> Any:
    return mpmath.exp(-v * v / 2)


_MPMATH: dict[str, Callable[..., Any]] = {
    "sigmoid": _each(_mp_sigmoid),
    "tanh": _each(mpmath.tanh),
    "relu": _each(lambda v: v if v > 0 else mpmath.mpf(0)),
    "exp": _each(mpmath.exp),
    "log": _each(mpmath.log),
    "log1p": _each(mpmath.log1p),
    "expm1": _each(mpmath.expm1),
    "sin": _each(mpmath.sin),
    "cos": _each(mpmath.cos),
    "erf": _each(mpmath.erf),
    "abs": _each(abs),
    "sign": _each(mpmath.sign),
    "floor": _each(mpmath.floor),
    "softplus": _each(_mp_softplus),
    "logsigmoid": _each(lambda v: -_mp_softplus(-v)),
    "softsign": _each(lambda v: v / (1 + abs(v))),
    "elu": _each(_mp_elu),
    "leaky_relu": _each(lambda v: v if v > 0 else _mp_number(scalar.LEAKY_SLOPE) * v),
    "selu": _each(
        lambda v: (
            _mp_number(scalar.SELU_SCALE)
            * (v if v > 0 else _mp_number(scalar.SELU_ALPHA) * mpmath.expm1(v))
        )
    ),
    "gelu": _each(lambda v: v * _mp_normal(v)),
    "silu": _each(lambda v: v * _mp_sigmoid(v)),
    "gaussian": _each(_mp_gaussian),
    "gelu_slope": _each(lambda v: _mp_normal(v) + v * _mp_gaussian(v) / mpmath.sqrt(2 * mpmath.pi)),
    "silu_slope": _each(lambda v: _mp_sigmoid(v) * (1 + v * _mp_sigmoid(-v))),
    "hard_sigmoid": _each(
        lambda v: min(max(v / 6 + mpmath.mpf(1) / 2, mpmath.mpf(0)), mpmath.mpf(1))
    ),
    "hard_tanh": _each(lambda v: min(max(v, mpmath.mpf(-1)), mpmath.mpf(1))),
    "maximum": _each(max),
    "minimum": _each(min),
    "clip": _each(lambda v, lo, hi: min(max(v, lo), hi)),
    "where": _each(lambda c, u, v: u if c else v),
    "stop_gradient": lambda v: v,
    "less": _each(lambda a, b: mpmath.mpf(int(a < b))),
    "less_equal": _each(lambda a, b: mpmath.mpf(int(a <= b))),
    "equal": _each(lambda a, b: mpmath.mpf(int(a == b))),
    "not_equal": _each(lambda a, b: mpmath.mpf(int(a != b))),
    "gated": _each(lambda d, p: d * p if d else mpmath.mpf(0)),
}

MPMATH = Algebra(
    name="mpmath",
    array=_each(lambda v: mpmath.mpf(v)),
    number=_mp_number,
    power=_mp_power,
    functions=_MPMATH,
)
