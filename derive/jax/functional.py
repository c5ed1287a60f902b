"""run: a cell over a sequence as a pure function.

In: a Cell, arrays by name.  Out: arrays by name.
Not here: derivatives (primitives.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from jax import numpy as jnp

import derive.jax.batching  # noqa: F401
from derive.binding.arguments import Arguments
from derive.cell import Cell
from derive.jax.checks import Jax, threads_of
from derive.jax.engine import engine_of
from derive.jax.primitives import Parted, Way
from derive.kernel.convert import to_flag

Arrays: TypeAlias = dict[str, Any]


def run(
    cell: Cell, params: Mapping[str, Any], x: Any, state: Any = None, lengths: Any = None,
    reverse: bool = False, *, threads: int = 1,
) -> tuple[Arrays, Arrays]:  # fmt: skip
    """Outputs {name: [T, B, width]} and last states {name: [B, width]} of a sequence.

    params: {name: array}, all of the cell's.  x: {name: [T, B, width]}, or an array where there is
    one input; of a cell without inputs an empty [T, B, 0].  state: {name: [B, width]}, or an array
    where there is one; zeros where left out, or what the cell has learned to start from.  lengths:
    [B] integers, which may be traced.  reverse: each row runs its own steps last to first.
    threads: of one call.

    Pure: it may stand inside of jit, grad, jvp, vmap, scan, checkpoint and shard_map, in any order
    and to any order of derivatives. An input that does not change with time is [B, width]; fixed
    arrays have no gradient. float32 and float64 (with jax_enable_x64), on the CPU.
    """
    call = Arguments(Jax(params, x, state), cell, params, x, state, lengths)
    groups = call.parts(call.params, call.inputs, call.states)
    engine = engine_of(cell.to_text(), threads_of(threads))
    backwards = to_flag(reverse, "reverse")
    return call.results(sequence(engine, groups, call.lengths, backwards))


def sequence(
    engine: Any, groups: Sequence[Sequence[Any]], lengths: Any, reverse: bool
) -> list[Any]:
    """Outputs and last states of a sequence of parts: parameters, inputs and states."""
    params, inputs, states = groups
    steps, rows = inputs[0].shape[:2]
    if not (steps and rows):  # nothing runs
        sizes = engine.sizes([*params, *inputs, *states])
        outputs = engine.results(sizes)[: len(engine.outputs)]
        return [*(jnp.zeros(shape, inputs[0].dtype) for shape in outputs), *states]
    ends = [] if lengths is None else [lengths]
    way = Way(engine, reverse, lengths is not None)
    return way.bind(Parted(ends, [*params, *inputs, *states], [], [], []))
