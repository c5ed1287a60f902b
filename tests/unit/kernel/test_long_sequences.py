"""Memory of sequences that are far longer than anything else: T = 100000 at H = 128.

Sizes are asked for, nothing is run: memory_needed is the only source of each.
"""

from __future__ import annotations

import pytest

import derive
from derive.inspect.facts.cost import at, cost
from derive.kernel import Kernel
from derive.kernel.c_backend import CBackend
from derive.kernel.signature import Sizes
from derive.kernel.tune.backend import TunedBackend
from derive.pipeline import schedule

STEPS = (20_000, 60_000, 100_000)
MIB = 2**20
CELLS = ("lstm", "gru", "janet", "lstm:layer_norm=supercell", "min_gru", "min_lstm")


def needed(kernel: Kernel, steps: int, rows: int) -> dict[str, int]:
    """Elements of each buffer."""
    backend = kernel._backend
    assert isinstance(backend, TunedBackend) and isinstance(backend.default, CBackend)
    memory = backend.default._memory(
        Sizes(steps, rows, dict.fromkeys(kernel.signature.dims(), 128))
    )
    return {name: getattr(memory, name) for name, _ in memory._fields_}


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("spec", CELLS)
def test_memory_of_long_sequences_is_linear_with_a_small_constant(spec: str, rows: int) -> None:
    cell = derive.cells.from_spec(spec)
    kernel = derive.compile(cell, target="c", dtype="float32")
    short, middle, long = (needed(kernel, steps, rows) for steps in STEPS)
    # Kept for backward: what the schedule says for each step and row, and the first states.
    sizes = dict.fromkeys(kernel.signature.dims(), 128)
    per_step = rows * at(cost(cell, schedule(cell)).saved, sizes)
    assert middle["saved"] - short["saved"] == 40_000 * per_step
    assert long["saved"] - middle["saved"] == 40_000 * per_step
    assert 4 * (long["saved"] - 100_000 * per_step) < 64 * 1024
    # Whatever dies with the call does not grow with T at all.
    for name in ("forward", "inference", "backward"):
        assert short[name] == middle[name] == long[name]
        assert 4 * long[name] < 4 * MIB
