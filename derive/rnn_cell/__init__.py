"""TensorFlow's rnn_cell by its own names, on derived kernels. NumPy arrays in and out.

    cell = derive.rnn_cell.LSTMCell(128, use_peepholes=True)
    outputs, state, pullback = derive.rnn_cell.dynamic_rnn(cell, x, lengths, return_pullback=True)
    d_x, d_initial_state, d_variables = pullback(d_outputs, d_state)

- core_cells.py     tf.nn.rnn_cell, and the cells that take over cuDNN's weights
- block_cells.py    the block cells of tf.contrib.rnn
- contrib_lstms.py  the LSTMs of tf.contrib.rnn
- contrib_cells.py  the others of tf.contrib.rnn, and JANET
- wrappers.py       MultiRNNCell, DropoutWrapper, ResidualWrapper
- projections.py    EmbeddingWrapper, InputProjectionWrapper, OutputProjectionWrapper
- drivers.py        dynamic_rnn and its relatives
- running.py        what they have in common: one direction, all layers
- base.py           RNNCell: state_size, variables, one step
- layout.py         TensorFlow's variables <-> a kernel's parameters
- structure.py      LSTMStateTuple and nested states
- masks.py          dropout masks
- linear.py         the product that all of TensorFlow's cells begin with
- absent.py         names that are not here, and why

Not here: equations (derive/catalogue/), their rewriting (layers/compose.py), kernels.
"""

from __future__ import annotations

from derive.layers.sequence import using
from derive.rnn_cell.absent import absent
from derive.rnn_cell.base import RNNCell
from derive.rnn_cell.block_cells import GRUBlockCellV2, LSTMBlockCell, LSTMBlockFusedCell
from derive.rnn_cell.contrib_cells import (
    CFNCell,
    IndRNNCell,
    IntersectionRNNCell,
    JANETCell,
    MinimalRNNCell,
    SRUCell,
    UGRNNCell,
)
from derive.rnn_cell.contrib_lstms import (
    CoupledInputForgetGateLSTMCell,
    LayerNormBasicLSTMCell,
    NASCell,
    PhasedLSTMCell,
)
from derive.rnn_cell.core_cells import (
    BasicLSTMCell,
    BasicRNNCell,
    CudnnCompatibleGRUCell,
    CudnnCompatibleLSTMCell,
    GRUCell,
    LSTMCell,
)
from derive.rnn_cell.drivers import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
    stack_bidirectional_dynamic_rnn,
    static_rnn,
)
from derive.rnn_cell.linear import linear
from derive.rnn_cell.projections import (
    EmbeddingWrapper,
    InputProjectionWrapper,
    OutputProjectionWrapper,
)
from derive.rnn_cell.running import Pulled, draw_masks
from derive.rnn_cell.structure import LSTMStateTuple
from derive.rnn_cell.wrappers import DropoutWrapper, MultiRNNCell, ResidualWrapper

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "CFNCell",
    "CoupledInputForgetGateLSTMCell",
    "CudnnCompatibleGRUCell",
    "CudnnCompatibleLSTMCell",
    "DropoutWrapper",
    "EmbeddingWrapper",
    "GRUBlockCellV2",
    "GRUCell",
    "IndRNNCell",
    "InputProjectionWrapper",
    "IntersectionRNNCell",
    "JANETCell",
    "LSTMBlockCell",
    "LSTMBlockFusedCell",
    "LSTMCell",
    "LSTMStateTuple",
    "LayerNormBasicLSTMCell",
    "MinimalRNNCell",
    "MultiRNNCell",
    "NASCell",
    "OutputProjectionWrapper",
    "PhasedLSTMCell",
    "Pulled",
    "RNNCell",
    "ResidualWrapper",
    "SRUCell",
    "UGRNNCell",
    "bidirectional_dynamic_rnn",
    "draw_masks",
    "dynamic_rnn",
    "linear",
    "stack_bidirectional_dynamic_rnn",
    "static_rnn",
    "using",
]


def __getattr__(name: str) -> object:
    raise absent(name, __all__)
