"""Which entries of the catalogue a test runs over.

    @pytest.mark.parametrize("name", sampled())             every entry, all but a sample slow
    @pytest.mark.parametrize("name", sampled(OF_VECTORS))   those whose arrays have no axes

An entry costs the tests of the whole catalogue some five seconds, most of them in a compiler. So
the default run takes the classical cells and those whose texts differ most; `-m slow` takes the
rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from derive import cells
from derive.cell import Cell
from derive.program.program import Layout, Matmul, Over, Sum

CLASSICAL = (
    "rnn", "lstm", "lstm_peephole", "lstm_projection", "lstm_layer_norm_ba2016", "gru",
    "gru_reset_before", "janet", "mgu", "ugrnn", "cifg", "min_gru",
)  # fmt: skip

#: Times as inputs, gates as states, no products in time, an output that is no state, a kink ...
#: and with axes: heads, matrices for each row, a fixed array, an input given once.
DIFFERENT = (
    "phased_lstm", "odyssey_variant_fgr", "unicornn", "intersection_rnn", "cfc", "slim_form_3",
    "slstm", "gated_deltanet", "mamba", "retnet",
)  # fmt: skip

SAMPLE = frozenset(CLASSICAL + DIFFERENT)


def has_axes(cell: Cell) -> bool:
    """Whether an array has axes or parts, or is fixed, given once or a learned start."""
    program = cell.step.program
    return (
        not cell.checked.is_plain
        or any(array.per_row and len(array.shape) > 1 for array in program.arrays)
        or any(isinstance(e, Matmul) and e.layout is Layout.AXES for e in program.equations)
        or any(isinstance(e, Sum) and e.over is not Over.SUM for e in program.equations)
    )


#: Entries of which `has_axes` is true, which a test holds against the cells.
WITH_AXES = frozenset(
    (
        "lstm_joined", "linear_attention", "retnet", "gla", "deltanet", "gated_deltanet", "kda",
        "mlstm", "slstm", "mamba", "mamba2", "s4d", "longhorn", "hgrn2", "gateloop", "comba",
        "gdn2", "rwkv5", "rwkv6", "rwkv7", "ttt_linear", "titans", "weight_norm_lstm",
        "spectral_lstm", "variational_lstm", "on_lstm", "skip_lstm", "clockwork", "lmu",
        "hippo_legs", "ltc", "gru_d",
    )
)  # fmt: skip

OF_VECTORS = tuple(name for name in cells.names() if name not in WITH_AXES)


def sampled(names: Iterable[str] = cells.names()) -> list[Any]:
    """The names in the catalogue's order, those outside the sample marked slow."""
    known = set(names)
    ordered = [name for name in cells.names() if name in known]
    return [n if n in SAMPLE else pytest.param(n, marks=pytest.mark.slow) for n in ordered]
