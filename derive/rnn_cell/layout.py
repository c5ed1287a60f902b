"""TensorFlow's variables and a kernel's parameters: the same numbers, laid out differently.

In: variables as tables of parameter names.  Out: arrays of one layout from arrays of the other.
TensorFlow keeps one matrix [inputs, units] for all gates where a kernel has one matrix
[units, inputs] for each:

    Variable("kernel", (("W_i", "W_g"), ("U_i", "U_g")))    [W_i' W_g'; U_i' U_g']
    Variable("bias", (("b_i", "b_g"),))                     [b_i b_g]

Both directions only move numbers, so that gradients take the same way as values.
Not here: which class has which variables (core_cells.py, contrib_cells.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import shape_text
from derive.kernel.signature import Array, Arrays, Dim

Table = tuple[tuple[str, ...], ...]
Shapes = Mapping[str, tuple[Dim, ...]]
#: (shape, random numbers, variables drawn before) -> array
Draw = Callable[[tuple[int, ...], np.random.Generator, Mapping[str, Array]], Array]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its name, the parameters in it, and how it starts.

    one_row: a vector that TensorFlow keeps as [1, width].  unused: the dimensions of a
    variable that no equation reads; its table is empty.  aliases: other names it is known by.
    """

    name: str
    table: Table
    draw: Draw
    one_row: bool = False
    unused: tuple[Dim, ...] = ()
    aliases: tuple[str, ...] = ()

    def shape(self, params: Shapes, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape in TensorFlow."""

        def length(dim: Dim) -> int:
            return dim if isinstance(dim, int) else sizes[dim]

        if not self.table:
            return tuple(length(dim) for dim in self.unused)
        columns = sum(length(params[name][0]) for name in self.table[0])
        if len(params[self.table[0][0]]) == 1:
            return (1, columns) if self.one_row else (columns,)
        return (sum(length(params[row[0]][1]) for row in self.table), columns)


def pack(variables: tuple[Variable, ...], params: Arrays, like: Mapping[str, Array]) -> Arrays:
    """{variable: array} from {parameter: array}; `like` gives the shapes of unused ones."""
    packed = {}
    for variable in variables:
        rows = [np.concatenate([params[name].T for name in row], axis=-1) for row in variable.table]
        if not rows:
            array = np.zeros_like(like[variable.name])
        else:
            array = np.concatenate(rows, axis=0) if len(rows) > 1 else rows[0].copy()
        packed[variable.name] = array.reshape(1, -1) if variable.one_row else array
    return packed


def unpack(
    variables: tuple[Variable, ...],
    values: Mapping[str, Array],
    params: Shapes,
    sizes: Mapping[str, int],
) -> Arrays:
    """{parameter: array} from {variable: array}."""
    found: Arrays = {}
    for variable in variables:
        array = values[variable.name]
        if variable.one_row:
            array = array.reshape(-1)
        start = 0
        for row in variable.table:
            first = params[row[0]]
            matrix = len(first) == 2
            below = start + _length(first[1], sizes) if matrix else 0
            left = 0
            for name in row:
                right = left + _length(params[name][0], sizes)
                part = array[start:below, left:right].T if matrix else array[left:right]
                # Copies, so that a run does not notice when variables are written into.
                found[name] = np.array(part, order="C")
                left = right
            start = below
    return found


def _length(dim: Dim, sizes: Mapping[str, int]) -> int:
    return dim if isinstance(dim, int) else sizes[dim]


# --- how variables start -------------------------------------------------------------------------


def glorot_uniform(
    shape: tuple[int, ...], random: np.random.Generator, _: Mapping[str, Array]
) -> Array:
    """TensorFlow's default: uniform in +-sqrt(6 / (fan in + fan out)); a vector is its own fan."""
    fan_in, fan_out = (shape[0], shape[-1]) if shape else (1, 1)
    bound = np.sqrt(6 / max(fan_in + fan_out, 1))
    return np.asarray(random.uniform(-bound, bound, shape))


def constant(value: float) -> Draw:
    return lambda shape, _random, _earlier: np.full(shape, float(value))


def uniform(low: float, high: float) -> Draw:
    return lambda shape, random, _earlier: np.asarray(random.uniform(low, high, shape))


_BY_NAME: Mapping[str, Draw] = {
    "glorot_uniform": glorot_uniform,
    "zeros": constant(0.0),
    "ones": constant(1.0),
}


def initializer_of(given: Any, default: Draw) -> Draw:
    """What a class was given as an initializer: None, a name, a number, or f(shape, dtype)."""
    if given is None:
        return default
    if isinstance(given, str):
        if given not in _BY_NAME:
            raise ArgumentError(
                f"{given!r} is no initializer", facts=(f"known: {', '.join(_BY_NAME)}",)
            )
        return _BY_NAME[given]
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return constant(given)
    if not callable(given):
        raise ArgumentTypeError(
            f"{given!r} is no initializer", hint="lambda shape, dtype: np.zeros(shape, dtype)"
        )

    def draw(
        shape: tuple[int, ...], _random: np.random.Generator, _earlier: Mapping[str, Array]
    ) -> Array:
        array = np.asarray(given(shape, np.float64), dtype=np.float64)
        if array.shape != shape:
            raise ArgumentError(
                "an initializer gave an array of the wrong shape",
                facts=(f"asked for {shape_text(shape)}, given {shape_text(array.shape)}",),
            )
        return array

    return draw
