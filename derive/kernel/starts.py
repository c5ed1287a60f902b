"""What a parameter starts training from: numbers, functions of them, and draws.

In: a start as plain data, a shape, random numbers; or a Signature and lengths of dimensions.
Out: an array; or all parameters of a kernel.
Not here: reading and checking starts (language/). SymPy is not imported.

A start is a number, or (function, argument, ...): ("log", ("uniform", 1.0, 99.0)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.convert import no_room
from derive.kernel.signature import Array, Arrays, Signature, Sizes

Start: TypeAlias = float | tuple[Any, ...]


def initial(
    signature: Signature, lengths: Mapping[str, int], random: np.random.Generator, dtype: Any
) -> Arrays:
    """{parameter: array}, as `Kernel.init` describes them: by their starts, or by their shapes."""
    sizes = Sizes(1, 1, lengths)
    params: Arrays = {}
    for name, axes in signature.params.items():
        if name in signature.fixed:
            continue
        shape = sizes.shape(axes)
        squared = 6 / max(sum(shape[-2:]), 1) if len(shape) > 1 else 1 / max(shape[0], 1)
        try:
            if name in signature.starts:
                values = draw(signature.starts[name], shape, random, name)
            else:
                values = (2 * random.random(shape) - 1) * np.sqrt(squared)
            params[name] = values.astype(dtype)
        except (MemoryError, ValueError) as error:
            raise no_room(f"parameter {name}", shape, error) from error
    return params


def draw(start: Start, shape: tuple[int, ...], random: np.random.Generator, name: str) -> Array:
    """A float64 array of this shape, all finite, or an ArgumentError about parameter `name`."""
    with np.errstate(all="ignore"):
        value = np.array(np.broadcast_to(_value(start, shape, random), shape), dtype=np.float64)
    if not np.isfinite(value).all():
        raise ArgumentError(
            f"the start value of parameter {name} is not finite",
            facts=(f"one of its elements is {value[~np.isfinite(value)][0]}",),
            hint=f"param {name} = uniform(-1, 1)",
        )
    return value


def _value(start: Start, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    if not isinstance(start, tuple):
        return start
    function, *args = start
    if function in _DRAWS:
        return _DRAWS[function](shape, random, *args)
    return _FUNCTIONS[function](*(_value(arg, shape, random) for arg in args))


def _uniform(shape: tuple[int, ...], random: np.random.Generator, low: Any, high: Any) -> Array:
    low, high = (_value(bound, (), random) for bound in (low, high))
    drawn: Array = low + (high - low) * random.random(shape)
    return drawn


def _normal(shape: tuple[int, ...], random: np.random.Generator, mean: Any, width: Any) -> Array:
    mean, width = (_value(number, (), random) for number in (mean, width))
    drawn: Array = mean + width * random.standard_normal(shape)
    return drawn


def _glorot(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Glorot & Bengio 2010, eq. 16, of each matrix."""
    reach = math.sqrt(6 / max(sum(shape[-2:]), 1))
    return (2 * random.random(shape) - 1) * reach


def _orthogonal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Rows or columns that are orthonormal, whichever are fewer (Saxe et al. 2014)."""
    rows, columns = shape[-2:]
    wide = rows < columns
    found = np.empty(shape)
    for index in np.ndindex(shape[:-2]):
        drawn = random.standard_normal((columns, rows) if wide else (rows, columns))
        q, r = np.linalg.qr(drawn)
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        found[index] = q.T if wide else q
    return found


def _eye(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    rows, columns = shape[-2:]
    return np.broadcast_to(np.eye(rows, columns), shape)


_DRAWS: Mapping[str, Callable[..., Any]] = {
    "uniform": _uniform,
    "normal": _normal,
    "glorot": _glorot,
    "orthogonal": _orthogonal,
    "eye": _eye,
    "zeros": lambda shape, random: np.zeros(shape),
    "ones": lambda shape, random: np.ones(shape),
}


def _sigmoid(v: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(v)))


def _each(function: Callable[[float], float]) -> Callable[[Any], Any]:
    return np.vectorize(function, otypes=[np.float64])


def _softplus(v: Any) -> Any:
    return np.logaddexp(0.0, v)


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "negative": np.negative,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0.0),
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _each(math.erf),
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "softplus": _softplus,
    "logsigmoid": lambda v: -_softplus(-np.asarray(v)),
    "softsign": lambda v: v / (1 + np.abs(v)),
    "elu": lambda v: np.where(v > 0, v, np.expm1(v)),
    "leaky_relu": lambda v: np.where(v > 0, v, 0.01 * v),
    "selu": lambda v: _SELU_SCALE * np.where(v > 0, v, _SELU_ALPHA * np.expm1(v)),
    "gelu": lambda v: v * _each(lambda a: 0.5 * math.erfc(-a / math.sqrt(2)))(v),
    "silu": lambda v: v * _sigmoid(v),
    "hard_sigmoid": lambda v: np.clip(v / 6 + 0.5, 0, 1),
    "hard_swish": lambda v: v * np.clip(v / 6 + 0.5, 0, 1),
    "hard_tanh": lambda v: np.clip(v, -1, 1),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "clip": np.clip,
    "stop_gradient": lambda v: v,
    "where": lambda test, one, other: np.where(test, one, other),
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
