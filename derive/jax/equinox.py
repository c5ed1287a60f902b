"""RNN: a cell over sequences as a module of Equinox.

In: a Cell, sizes, a random key.  Out: a module, which is a pytree of its parameters.
Not here: what a call does (layer.py), Flax (nnx.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    import equinox
except ImportError as error:
    from derive.errors import BuildError

    raise BuildError(
        "derive.jax.equinox needs Equinox, which is not installed", hint="pip install equinox"
    ) from error

from jax import numpy as jnp

from derive.cell import Cell
from derive.jax.layer import Layer


class RNN(equinox.Module):  # type: ignore[misc]
    """Any cell over a sequence: ys, state = layer(xs).

    cell: with one input that changes with time.  in_size, hidden_size: the widths of the input and
    of the first state, (2, 8) where it is N x D; any other dimension of the cell by its name, P=64.
    key: a random key.  reverse: each row runs last to first; outputs stay at their time.  fixed:
    {name: array} of the cell's fixed arrays, which are not trained.  threads: of one call.  dtype:
    float32, or float64 where JAX has it, unless given.

    xs: [T, in_size], as Equinox has it, with jax.vmap over a batch; or [T, B, in_size].  state:
    [hidden_size] or [B, hidden_size], a tuple in the cell's order where it has several; zeros where
    left out, or what the cell has learned to start from.  lengths: a number, or [B] of them.  once:
    {name: [width] or [B, width]} of inputs that do not change with time.  key: not used; Equinox
    passes it on.

    params: {name: array}, the cell's parameters.  fixed: {name: array}; their gradient is zero, and
    an optimiser that decays weights has to leave them out.
    """

    params: dict[str, Any]
    fixed: dict[str, Any]
    layer: Layer = equinox.field(static=True)

    def __init__(
        self, cell: Cell, in_size: Any, hidden_size: Any, *, key: Any, reverse: bool = False,
        fixed: Mapping[str, Any] | None = None, threads: int = 1, dtype: Any = None, **sizes: int,
    ) -> None:  # fmt: skip
        self.layer = Layer.of(
            cell, (("in_size", in_size), ("hidden_size", hidden_size)), sizes, reverse, threads
        )
        self.params = self.layer.init(key, dtype)
        kind = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
        self.fixed = {n: jnp.asarray(a) for n, a in self.layer.fixed(fixed, kind).items()}

    @property
    def cell(self) -> Cell:
        return self.layer.cell

    def __call__(
        self, xs: Any, state: Any = None, *, lengths: Any = None,
        once: Mapping[str, Any] | None = None, key: Any = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Outputs and last state; see the class."""
        return self.layer({**self.params, **self.fixed}, xs, state, lengths, once)
