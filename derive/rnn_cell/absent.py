"""Names of TensorFlow's API that are not here, and why.

In: a name.  Out: an AbsentError that says what to use instead.
Not here: the names that are (__init__.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from derive.errors import DeriveError
from derive.kernel.convert import closest


class AbsentError(DeriveError, AttributeError):
    """A name of TensorFlow's that derive.rnn_cell does not have."""


_FREQUENCY = (
    "it runs along frequency within each step, as many times as the input's width says, and "
    "equations have no loop",
    "write the blocks of your widths out: derive.Cell.parse(text)",
)
_CONVOLUTION = (
    "it convolves along axes of space, and equations have products and sums, no convolution",
    "a product with a matrix that you fill: fixed K: H x I",
)

#: {name: (why it is not here, what to write instead)}.
ABSENT: Mapping[str, tuple[str, str]] = {
    "AttentionCellWrapper": (
        "it attends to its own last attn_length states, an array of two axes that is kept flat",
        "derive.Cell.parse(text) with  state M: L x H  and  softmax",
    ),
    "GridLSTMCell": _FREQUENCY,
    "BidirectionalGridLSTMCell": _FREQUENCY,
    "TimeFreqLSTMCell": _FREQUENCY,
    "LayerNormLSTMCell": (
        "its equations are not in the catalogue",
        "LayerNormBasicLSTMCell(16), which normalises each gate",
    ),
    "WeightNormLSTMCell": (
        "the catalogue has a cell of that name, whose parameters are not under TensorFlow's names",
        "derive.compile(derive.cells.weight_norm_lstm())",
    ),
    "ConvLSTMCell": _CONVOLUTION,
    "Conv1DLSTMCell": _CONVOLUTION,
    "Conv2DLSTMCell": _CONVOLUTION,
    "Conv3DLSTMCell": _CONVOLUTION,
    "GLSTMCell": (
        "its groups are products of blocks",
        "derive.Cell.parse(text) with  param U: N x D x D  and  state h: N x D",
    ),
    "HighwayWrapper": (
        "its carry gate reads the input beside the cell",
        "derive.Cell.parse(text) with  k = sigmoid(W_k @ x + b_k)  and  y = k * x + (1 - k) * h'",
    ),
    "raw_rnn": (
        "its loop_fn decides each step in Python, and kernels run whole sequences",
        "cell(x_t, state) in a loop of Python",
    ),
    "GRUBlockCell": (
        "its variables w_ru, b_ru, w_c and b_c have had other names since GRUBlockCellV2",
        "GRUBlockCellV2(16)",
    ),
    "DeviceWrapper": ("kernels run on the CPU", "the cell inside it"),
}


def absent(name: str, known: list[str]) -> AttributeError:
    """What to raise for a name that derive.rnn_cell does not have."""
    if name in ABSENT:
        why, instead = ABSENT[name]
        return AbsentError(f"derive.rnn_cell has no {name}", facts=(why,), hint=instead)
    return AbsentError(f"derive.rnn_cell has no attribute {name!r}", hint=closest(name, known))
