"""TensorFlow's block cells: one operator a step there, the equations of LSTMCell and GRUCell here.

In: TensorFlow's arguments.  Out: RNNCells, and LSTMBlockFusedCell, which runs a whole sequence.
Not here: equations (core_cells.py, derive/catalogue/), running (drivers.py).
"""

from __future__ import annotations

from typing import Any

from derive.errors import ArgumentError
from derive.kernel.convert import to_flag
from derive.kernel.signature import Array
from derive.rnn_cell.core_cells import GRUCell, LSTMCell
from derive.rnn_cell.drivers import dynamic_rnn


class LSTMBlockCell(LSTMCell):
    """LSTMCell with peepholes and cell_clip under the names of tf.contrib.rnn.LSTMBlockCell."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        dtype: Any = None,
        reuse: Any = None,
        name: str | None = "lstm_cell",
    ) -> None:
        peephole = to_flag(use_peephole, "use_peephole")
        super().__init__(
            num_units, peephole, cell_clip, forget_bias=forget_bias, name=name, dtype=dtype
        )


class GRUBlockCellV2(GRUCell):
    """GRUCell under the name of tf.contrib.rnn.GRUBlockCellV2, whose variables are GRUCell's."""

    def __init__(
        self,
        num_units: int | None = None,
        cell_size: int | None = None,
        reuse: Any = None,
        name: str | None = "gru_cell",
        dtype: Any = None,
    ) -> None:
        if (num_units is None) == (cell_size is None):
            raise ArgumentError(
                "Exactly one of num_units or cell_size must be provided.",
                facts=("cell_size is the older name of num_units",),
                hint="GRUBlockCellV2(16)",
            )
        super().__init__(num_units if cell_size is None else cell_size, name=name, dtype=dtype)  # type: ignore[arg-type]


class LSTMBlockFusedCell:
    """An LSTM over a whole sequence [T, B, I]: outputs, state = cell(inputs, ...)."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        reuse: Any = None,
        dtype: Any = None,
        name: str = "lstm_fused_cell",
    ) -> None:
        self.cell = LSTMBlockCell(num_units, forget_bias, cell_clip, use_peephole, dtype, name=name)

    @property
    def num_units(self) -> int:
        return int(self.cell.output_size)

    @property
    def variables(self) -> Any:
        return self.cell.variables

    def __call__(
        self,
        inputs: Any,
        initial_state: Any = None,
        dtype: Any = None,
        sequence_length: Any = None,
        *,
        return_pullback: bool = False,
    ) -> tuple[Array, Any] | Any:
        """inputs: [T, B, I].  Gives outputs [T, B, num_units] and the last state (c, h), and with
        return_pullback the function that dynamic_rnn gives as well."""
        return dynamic_rnn(
            self.cell, inputs, sequence_length, initial_state, dtype, time_major=True,
            return_pullback=return_pullback,
        )  # fmt: skip
