"""init: parameters to start training from, drawn by JAX.

In: a Cell, a random key, lengths of dimensions.  Out: {name: array}.
Not here: what starts mean, and the same in NumPy (kernel/starts.py).

It may be traced, so an ensemble is `jax.vmap(lambda key: init(cell, key, I=5, H=4))(keys)`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from derive.binding.arguments import a_cell
from derive.binding.lengths import lengths_given
from derive.cell import Cell
from derive.emit.python.names import meanings, native
from derive.errors import ArgumentError, ArgumentTypeError
from derive.jax.checks import DTYPES
from derive.kernel.convert import kind_text
from derive.kernel.signature import Sizes
from derive.kernel.starts import Start
from derive.symbolic.closed_set import TABLE


def init(
    cell: Cell, key: Any, sizes: Mapping[str, int] | None = None, /, *, dtype: Any = None,
    **named: int,
) -> dict[str, Any]:  # fmt: skip
    """Parameters to start training from: `init(cell, jax.random.key(0), I=5, H=4)`.

    As `kernel.init` draws them: by the starts that the cell gives, else matrices uniform in
    +-sqrt(6 / (rows + columns)), vectors in +-1 / sqrt(width). Fixed arrays are left out. dtype:
    float32, or float64 where JAX has it, unless given. A dimension called `dtype` goes into the
    mapping `sizes`.
    """
    shapes = {n: s for n, s in a_cell(cell).params.items() if n not in cell.checked.fixed}
    lengths = Sizes(1, 1, lengths_given(cell, shapes.values(), sizes, named, "dj.init(cell, key, "))
    kind = _dtype(dtype)
    return {
        name: _drawn(cell, name, lengths.shape(shape), jax.random.fold_in(_key(key), k), kind)
        for k, (name, shape) in enumerate(shapes.items())
    }


def _key(key: Any) -> Any:
    found = jnp.asarray(key) if isinstance(key, np.ndarray) else key
    if isinstance(found, jax.Array):
        typed = jnp.issubdtype(found.dtype, jax.dtypes.prng_key) and found.ndim == 0
        with contextlib.suppress(TypeError):  # words of another length than a key has
            if typed or (found.dtype == jnp.uint32 and found.ndim == 1):
                return found if typed else jax.random.wrap_key_data(found)
    raise ArgumentTypeError(
        f"key must be one random key of JAX, not {kind_text(key)}", hint="jax.random.key(0)"
    )


def _dtype(dtype: Any) -> Any:
    try:
        kind = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"dtype is no type of numbers: {dtype!r}", hint="dtype=jnp.float32"
        ) from error
    if str(kind) not in DTYPES:
        raise ArgumentTypeError(
            f"parameters cannot be {kind}", facts=("known: float32 and float64",),
            hint="dtype=jnp.float32",
        )  # fmt: skip
    if jax.dtypes.canonicalize_dtype(kind) != kind:
        raise ArgumentTypeError(
            "JAX has no float64 here", hint='jax.config.update("jax_enable_x64", True)'
        )
    return kind


def _drawn(cell: Cell, name: str, shape: tuple[int, ...], key: Any, dtype: Any) -> Any:
    start = cell.checked.starts.get(name)
    if start is None:
        squared = 6 / max(sum(shape[-2:]), 1) if len(shape) > 1 else 1 / max(shape[0], 1)
        reach = math.sqrt(squared)
        return jax.random.uniform(key, shape, dtype, -reach, reach)
    value = jnp.broadcast_to(_value(start, shape, key, dtype), shape).astype(dtype)
    if not isinstance(value, jax.core.Tracer) and not bool(jnp.isfinite(value).all()):
        raise ArgumentError(
            f"the start value of parameter {name} is not finite",
            hint=f"param {name} = uniform(-1, 1)",
        )
    return value


def _value(start: Start, shape: tuple[int, ...], key: Any, dtype: Any) -> Any:
    if not isinstance(start, tuple):
        return jnp.asarray(start, dtype)
    function, *args = start
    keys = jax.random.split(key, len(args) + 1)
    if function in _DRAWS:
        bounds = [_value(a, (), k, dtype) for a, k in zip(args, keys[1:], strict=True)]
        return _DRAWS[function](keys[0], shape, dtype, *bounds)
    values = [_value(a, shape, k, dtype) for a, k in zip(args, keys[1:], strict=True)]
    return _FUNCTIONS[function](*values)


def _uniform(key: Any, shape: tuple[int, ...], dtype: Any, low: Any, high: Any) -> Any:
    return low + (high - low) * jax.random.uniform(key, shape, dtype)


def _normal(key: Any, shape: tuple[int, ...], dtype: Any, mean: Any, width: Any) -> Any:
    return mean + width * jax.random.normal(key, shape, dtype)


def _glorot(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Glorot & Bengio 2010, eq. 16, of each matrix."""
    reach = math.sqrt(6 / max(sum(shape[-2:]), 1))
    return jax.random.uniform(key, shape, dtype, -reach, reach)


def _orthogonal(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Rows or columns that are orthonormal, whichever are fewer (Saxe et al. 2014)."""
    rows, columns = shape[-2:]
    wide = rows < columns
    drawn = jax.random.normal(
        key, (*shape[:-2], *((columns, rows) if wide else (rows, columns))), dtype
    )
    q, r = jnp.linalg.qr(drawn)
    signs = jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0).astype(dtype)
    q = q * signs[..., None, :]
    return jnp.swapaxes(q, -1, -2) if wide else q


def _eye(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return jnp.broadcast_to(jnp.eye(shape[-2], shape[-1], dtype=dtype), shape)


_DRAWS: Mapping[str, Callable[..., Any]] = {
    "uniform": _uniform,
    "normal": _normal,
    "glorot": _glorot,
    "orthogonal": _orthogonal,
    "eye": _eye,
    "zeros": lambda key, shape, dtype: jnp.zeros(shape, dtype),
    "ones": lambda key, shape, dtype: jnp.ones(shape, dtype),
}

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **meanings(jnp, **native(jax, {name: record.jax for name, record in TABLE.items()})),
    "+": jnp.add,
    "-": jnp.subtract,
    "*": jnp.multiply,
    "/": jnp.divide,
    "**": jnp.power,
    "negative": jnp.negative,
    "stop_gradient": lambda v: v,
    "<": jnp.less,
    "<=": jnp.less_equal,
    ">": jnp.greater,
    ">=": jnp.greater_equal,
    "==": jnp.equal,
    "!=": jnp.not_equal,
}
