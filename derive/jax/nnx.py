"""RNN: a cell over sequences as a module of Flax NNX.

In: a Cell, sizes, Rngs.  Out: a module whose parameters are `nnx.Param`.
Not here: what a call does (layer.py), Equinox (equinox.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from flax import nnx
except ImportError as error:
    from derive.errors import BuildError

    raise BuildError(
        "derive.jax.nnx needs Flax, which is not installed", hint="pip install flax"
    ) from error

from jax import numpy as jnp

from derive.cell import Cell
from derive.errors import ArgumentTypeError
from derive.jax.checks import array_of
from derive.jax.layer import Layer
from derive.kernel.convert import to_flag


class Fixed(nnx.Variable):  # type: ignore[misc]
    """An array of a cell that is given and not trained."""


class Arrays(nnx.Module):  # type: ignore[misc]
    """Variables under the names of a cell's arrays."""

    def __init__(self, kind: Any, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            setattr(self, name, kind(jnp.asarray(array)))


class RNN(nnx.Module):  # type: ignore[misc]
    """Any cell over a sequence: ys = layer(xs).

    cell: with one input that changes with time.  in_features, hidden_features: the widths of the
    input and of the first state, (2, 8) where it is N x D; any other dimension of the cell by its
    name, P=64.  rngs: parameters are drawn from its stream `params`.  time_major: whether arrays
    are [T, B, features] instead of [B, T, features].  reverse: each row runs last to first, and
    outputs stay at their time, as with Flax's keep_order=True.  return_carry: whether a call gives
    (carry, ys).  fixed: {name: array} of the cell's fixed arrays.  threads: of one call.
    param_dtype: float32, or float64 where JAX has it, unless given.

    A call takes `initial_carry`, a tuple in the cell's order where it has several states, zeros
    where left out, or what the cell has learned to start from; `seq_lengths`, [B];
    `return_carry`; and `once`, {name: [B, width]} of inputs that do not change with time. Arrays of
    one row lack the axis B.

    Parameters are `layer.params.W_f`, called as the cell's.
    """

    def __init__(
        self, cell: Cell, in_features: Any, hidden_features: Any, *, rngs: Any,
        time_major: bool = False, reverse: bool = False, return_carry: bool = False,
        fixed: Mapping[str, Any] | None = None, threads: int = 1, param_dtype: Any = None,
        **sizes: int,
    ) -> None:  # fmt: skip
        widths = ("in_features", in_features), ("hidden_features", hidden_features)
        self.layer = Layer.of(cell, widths, sizes, reverse, threads)
        self.time_major = to_flag(time_major, "time_major")
        self.return_carry = to_flag(return_carry, "return_carry")
        try:
            key = rngs.params()
        except (AttributeError, TypeError) as error:
            raise ArgumentTypeError(
                "rngs must be nnx.Rngs with a stream for params", hint="rngs=nnx.Rngs(0)"
            ) from error
        self.params = Arrays(nnx.Param, self.layer.init(key, param_dtype))
        kind = jnp.zeros(()).dtype if param_dtype is None else jnp.dtype(param_dtype)
        self.fixed = Arrays(Fixed, self.layer.fixed(fixed, kind))

    @property
    def cell(self) -> Cell:
        return self.layer.cell

    def __call__(
        self, inputs: Any, *, initial_carry: Any = None, seq_lengths: Any = None,
        return_carry: bool | None = None, once: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Outputs, or (carry, outputs); see the class."""
        checked = self.cell.checked
        names = [name for name in self.cell.params if name not in checked.fixed]
        params = {**_values(self.params, names), **_values(self.fixed, checked.fixed)}
        inputs = array_of(inputs, "inputs")
        swap = not self.time_major and jnp.ndim(inputs) == len(_axes(self.layer)) + 2
        xs = jnp.swapaxes(inputs, 0, 1) if swap else inputs
        ys, carry = self.layer(params, xs, initial_carry, seq_lengths, once)
        ys = jnp.swapaxes(ys, 0, 1) if swap else ys
        wanted = self.return_carry if return_carry is None else return_carry
        return (carry, ys) if wanted else ys


def _values(arrays: Arrays, names: Any) -> dict[str, Any]:
    """Not a method: a cell may have an array of its name."""
    return {name: getattr(arrays, name)[...] for name in names}


def _axes(layer: Layer) -> tuple[Any, ...]:
    """Of the input that changes with time."""
    cell = layer.cell
    (name,) = [name for name in cell.inputs if name not in cell.checked.once]
    return cell.inputs[name]
