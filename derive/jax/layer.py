"""Layer: what a module of any library of JAX does with a cell.

In: a cell, sizes, parameters.  Out: parameters to start from, outputs and states of a sequence.
Not here: how a library holds parameters (equinox.py, nnx.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jax import numpy as jnp

from derive.binding.arguments import a_cell
from derive.binding.lengths import module_sizes
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.jax.checks import array_of, threads_of
from derive.jax.functional import run
from derive.jax.starts import init
from derive.kernel.convert import kind_text, to_flag
from derive.kernel.signature import Arrays
from derive.layers.given import fixed_arrays, once_arrays
from derive.layers.sizes import data_input, lengths_of, sizes_of_layers


@dataclass(frozen=True, slots=True)
class Layer:
    """A cell and the lengths of its dimensions: hashable, so that a library may keep it static."""

    cell: Cell
    lengths: tuple[tuple[str, int], ...]
    reverse: bool
    threads: int

    @classmethod
    def of(
        cls, cell: Any, sizes: tuple[tuple[str, Any], tuple[str, Any]], named: Mapping[str, int],
        reverse: Any, threads: Any,
    ) -> Layer:  # fmt: skip
        """sizes: name and value of what tells the widths of the input and of the first state."""
        a_cell(cell)
        x = data_input(cell)
        if not cell.states:
            raise ArgumentError(f"{cell.name} has no state")
        (lengths,) = sizes_of_layers(cell, module_sizes(cell, x, sizes, named), 1, 1)
        own = tuple(lengths.items())
        return cls(cell, own, to_flag(reverse, "reverse"), threads_of(threads))

    def init(self, key: Any, dtype: Any) -> dict[str, Any]:
        return init(self.cell, key, dict(self.lengths), dtype=dtype)

    def fixed(self, given: Mapping[str, Any] | None, dtype: Any) -> Arrays:
        """NumPy's, in the order of the cell."""
        return fixed_arrays(self.cell, dict(self.lengths), given, dtype)

    def __call__(
        self, params: Mapping[str, Any], xs: Any, state: Any, lengths: Any, once: Any
    ) -> tuple[Any, Any]:
        """xs: [T, B, width], or [T, width] of one row; then all other arrays lack the rows too.

        Gives the first output, and the last state: a tuple in the cell's order if there are
        several.
        """
        cell = self.cell
        name, sizes = data_input(cell), dict(self.lengths)
        xs = array_of(xs, f"input {name}")
        own = lengths_of(cell.inputs[name], sizes)
        batched = xs.ndim == len(own) + 2
        if xs.ndim not in (len(own) + 1, len(own) + 2) or xs.shape[-len(own) :] != own:
            shown = ", ".join(map(str, own))
            raise ArgumentError(
                f"input {name} has the wrong shape",
                facts=(f"it is [T, B, {shown}], or [T, {shown}] of one row, "
                       f"given {list(xs.shape)}",),
            )  # fmt: skip
        given = {name: xs, **once_arrays(cell, once)}
        states = self._states(state)
        if not batched:
            given = {
                n: jnp.expand_dims(array_of(a, f"input {n}"), int(n == name))
                for n, a in given.items()
            }
            states = {n: array_of(a, f"state {n}")[None]
                      for n, a in states.items() if a is not None}  # fmt: skip
            lengths = None if lengths is None else array_of(lengths, "lengths")[None]
        outputs, last = run(
            cell, params, given, states, lengths, self.reverse, threads=self.threads
        )
        y, ends = next(iter(outputs.values())), list(last.values())
        if not batched:
            y, ends = y[:, 0], [end[0] for end in ends]
        return y, ends[0] if len(ends) == 1 else tuple(ends)

    def start(self, rows: tuple[int, ...], dtype: Any) -> Any:
        """A state of zeros, as a call takes it."""
        sizes = dict(self.lengths)
        found = [jnp.zeros((*rows, *lengths_of(axes, sizes)), dtype)
                 for axes in self.cell.states.values()]  # fmt: skip
        return found[0] if len(found) == 1 else tuple(found)

    def _states(self, state: Any) -> dict[str, Any]:
        names = tuple(self.cell.states)
        if state is None:
            return {}
        if isinstance(state, Mapping):
            return dict(state)
        if len(names) == 1:
            state = (state,)
        if not isinstance(state, tuple | list) or len(state) != len(names):
            raise ArgumentTypeError(
                f"state must be a tuple ({', '.join(names)}), not {kind_text(state)}"
            )
        return dict(zip(names, state, strict=True))
