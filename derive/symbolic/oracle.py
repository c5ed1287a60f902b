"""What each function of the closed set is, said a second time: in float64 and in mpmath.

In: nothing.  Out: `ORACLE`, {name: Exact}: one row a function.
Not here: the records (closed_set/), expressions (evaluate.py). Nothing generated depends on this
file, and it shares no text with emit/: kernels are compared with it.

float64 takes complex arrays too, for the complex step: every branch looks at the real part alone,
so that the step is valid on piecewise functions, away from their kinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

_SELU_SCALE = "1.0507009873554804934193349852946"
_SELU_ALPHA = "1.6732632423543772848170429916717"


@dataclass(frozen=True, slots=True)
class Exact:
    """float64: of arrays.  value, slope: of mpmath's numbers; slope: the derivative, on a kink what
    the contract says.  slope is None where there is more than one argument.

    bits: enough of them that no difference in a formula loses all digits.
    """

    float64: Callable[..., Any]
    value: Callable[..., Any]
    slope: Callable[[Any], Any] | None = None
    bits: int = 140


# --- float64 --------------------------------------------------------------------------------------


def _real(v: Any) -> Any:
    return np.real(v)


def _float_sigmoid(v: Any) -> Any:
    # Both branches are finite: the exponential of a number that is at most 0.
    e = np.exp(-np.where(_real(v) < 0, -v, v))
    return np.where(_real(v) < 0, e, 1.0) / (1.0 + e)


def _float_log1p(v: Any) -> Any:
    if np.iscomplexobj(v):
        # As for erf below; NumPy's own of a small complex number is right in absolute terms only.
        re, im = np.real(v), np.imag(v)
        return np.log1p(re) + 1j * im / (1.0 + re)
    return np.log1p(v)


def _float_softplus(v: Any) -> Any:
    magnitude = np.where(_real(v) < 0, -v, v)
    return np.where(_real(v) < 0, 0.0, v) + _float_log1p(np.exp(-magnitude))


def _float_erf(v: Any) -> Any:
    if np.iscomplexobj(v):
        # A complex step is a real point and a tiny imaginary part: first order is exact.
        re, im = np.real(v), np.imag(v)
        return _float_erf(re) + 1j * im * 2.0 / math.sqrt(math.pi) * np.exp(-re * re)
    return np.vectorize(math.erf, otypes=[np.float64])(v)


def _float_normal(v: Any) -> Any:
    """The normal distribution function."""
    if np.iscomplexobj(v):
        re, im = np.real(v), np.imag(v)
        return _float_normal(re) + 1j * im * _float_gaussian(re) / math.sqrt(2 * math.pi)
    return np.vectorize(lambda a: 0.5 * math.erfc(-a / math.sqrt(2)), otypes=[np.float64])(v)


def _float_gaussian(v: Any) -> Any:
    return np.exp(-v * v / 2)


def _float_expm1_below(v: Any) -> Any:
    """exp(v) - 1 for v <= 0, and 0 beyond, where it would overflow."""
    return np.expm1(np.where(_real(v) > 0, 0.0, v))


def _compare(relation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: np.where(relation(_real(a), _real(b)), 1.0, 0.0)


# --- mpmath ---------------------------------------------------------------------------------------


def _sigmoid(v: Any) -> Any:
    return 1 / (1 + mpmath.exp(-v))


def _softplus(v: Any) -> Any:
    return max(v, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(v)))


def _normal(v: Any) -> Any:
    """The normal distribution function; beyond 1000, its limits to all digits that anyone asks."""
    return mpmath.erfc(-v / mpmath.sqrt(2)) / 2 if abs(v) < 1000 else mpf(int(v > 0))


def _gaussian(v: Any) -> Any:
    return mpmath.exp(-v * v / 2)


def _gelu_slope(v: Any) -> Any:
    return _normal(v) + v * _gaussian(v) / mpmath.sqrt(2 * mpmath.pi)


def _silu_slope(v: Any) -> Any:
    return _sigmoid(v) * (1 + v * _sigmoid(-v))


def _between(v: Any, low: Any, high: Any) -> Any:
    return min(max(v, mpf(low)), mpf(high))


def _flag(condition: Any) -> Any:
    return mpf(int(bool(condition)))


ORACLE: Mapping[str, Exact] = {
    "sigmoid": Exact(_float_sigmoid, _sigmoid, lambda v: _sigmoid(v) * _sigmoid(-v), bits=400),
    "softplus": Exact(_float_softplus, _softplus, _sigmoid),
    "logsigmoid": Exact(
        lambda v: -_float_softplus(-v), lambda v: -_softplus(-v), lambda v: _sigmoid(-v)
    ),
    "silu": Exact(
        lambda v: v * _float_sigmoid(v), lambda v: v * _sigmoid(v), _silu_slope, bits=400
    ),
    "silu_slope": Exact(
        lambda v: _float_sigmoid(v) * (1 + v * _float_sigmoid(-v)),
        _silu_slope,
        lambda v: _sigmoid(v) * _sigmoid(-v) * (2 - v * mpmath.tanh(v / 2)),
    ),
    "tanh": Exact(np.tanh, mpmath.tanh, lambda v: mpmath.sech(v) ** 2),
    "exp": Exact(np.exp, mpmath.exp, mpmath.exp),
    "log": Exact(np.log, mpmath.log, lambda v: 1 / v),
    "log1p": Exact(_float_log1p, mpmath.log1p, lambda v: 1 / (1 + v), bits=400),
    "expm1": Exact(np.expm1, mpmath.expm1, mpmath.exp, bits=400),
    "sqrt": Exact(np.sqrt, mpmath.sqrt, lambda v: 1 / (2 * mpmath.sqrt(v))),
    "sin": Exact(np.sin, mpmath.sin, mpmath.cos),
    "cos": Exact(np.cos, mpmath.cos, lambda v: -mpmath.sin(v)),
    "erf": Exact(_float_erf, mpmath.erf, lambda v: 2 * mpmath.exp(-v * v) / mpmath.sqrt(mpmath.pi)),
    "relu": Exact(
        lambda v: np.where(_real(v) <= 0, 0.0, v), lambda v: max(v, mpf(0)), lambda v: _flag(v > 0)
    ),
    "softsign": Exact(
        lambda v: v / (1 + np.where(_real(v) < 0, -v, v)),
        lambda v: v / (1 + abs(v)),
        lambda v: 1 / (1 + abs(v)) ** 2,
    ),
    "elu": Exact(
        lambda v: np.where(_real(v) > 0, v, _float_expm1_below(v)),
        lambda v: v if v > 0 else mpmath.expm1(v),
        lambda v: mpf(1) if v > 0 else mpmath.exp(v),
    ),
    "leaky_relu": Exact(
        lambda v: np.where(_real(v) > 0, v, 0.01 * v),
        lambda v: v if v > 0 else v / 100,
        lambda v: mpf(1) if v > 0 else mpf(1) / 100,
    ),
    "selu": Exact(
        lambda v: (
            float(_SELU_SCALE)
            * np.where(_real(v) > 0, v, float(_SELU_ALPHA) * _float_expm1_below(v))
        ),
        lambda v: mpf(_SELU_SCALE) * (v if v > 0 else mpf(_SELU_ALPHA) * mpmath.expm1(v)),
        lambda v: mpf(_SELU_SCALE) * (mpf(1) if v > 0 else mpf(_SELU_ALPHA) * mpmath.exp(v)),
    ),
    "gelu": Exact(lambda v: v * _float_normal(v), lambda v: v * _normal(v), _gelu_slope),
    "gaussian": Exact(_float_gaussian, _gaussian, lambda v: -v * _gaussian(v)),
    "gelu_slope": Exact(
        lambda v: _float_normal(v) + v * _float_gaussian(v) / math.sqrt(2 * math.pi),
        _gelu_slope,
        lambda v: (2 - v * v) * _gaussian(v) / mpmath.sqrt(2 * mpmath.pi),
    ),
    "hard_sigmoid": Exact(
        lambda v: np.clip(v / 6 + 0.5, 0, 1),
        lambda v: _between(v / 6 + mpf(1) / 2, 0, 1),
        lambda v: _flag(abs(v) < 3) / 6,
    ),
    "hard_swish": Exact(
        lambda v: np.where(_real(v) < -3, 0.0, v) * np.clip(v / 6 + 0.5, 0, 1),
        lambda v: v * _between(v / 6 + mpf(1) / 2, 0, 1),
        lambda v: _between(v / 6 + mpf(1) / 2, 0, 1) + _flag(abs(v) < 3) * v / 6,
    ),
    "hard_tanh": Exact(
        lambda v: np.clip(v, -1, 1), lambda v: _between(v, -1, 1), lambda v: _flag(abs(v) < 1)
    ),
    "abs": Exact(lambda v: np.where(_real(v) < 0, -v, v), abs, mpmath.sign),
    "sign": Exact(lambda v: np.sign(_real(v)), mpmath.sign, lambda v: mpf(0)),
    "floor": Exact(lambda v: np.floor(_real(v)), mpmath.floor, lambda v: mpf(0)),
    "maximum": Exact(np.maximum, max),
    "minimum": Exact(np.minimum, min),
    "clip": Exact(np.clip, _between),
    "where": Exact(
        lambda condition, chosen, other: np.where(condition != 0, chosen, other),
        lambda condition, chosen, other: chosen if condition else other,
    ),
    # The complex step must not see it.
    "stop_gradient": Exact(_real, lambda v: v, lambda v: mpf(0)),
    "less": Exact(_compare(np.less), lambda a, b: _flag(a < b)),
    "less_equal": Exact(_compare(np.less_equal), lambda a, b: _flag(a <= b)),
    "equal": Exact(_compare(np.equal), lambda a, b: _flag(a == b)),
    "not_equal": Exact(_compare(np.not_equal), lambda a, b: _flag(a != b)),
    "gated": Exact(lambda d, p: np.where(d == 0, 0.0, d * p), lambda d, p: d * p if d else mpf(0)),
}
