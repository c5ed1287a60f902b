"""The cells of tf.nn.rnn_cell, and those that take over cuDNN's weights.

In: TensorFlow's arguments.  Out: an RNNCell whose equations are the catalogue's.
Not here: equations (derive/catalogue/); only which options they are, and what TensorFlow calls
their parameters.

`reuse` and `name` are accepted where TensorFlow has them; there are no variable scopes here,
and cells share variables by being the same object.
"""

from __future__ import annotations

from typing import Any

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.convert import MOST, to_count, to_flag
from derive.layers.compose import without
from derive.rnn_cell.activation import activation_of, cell_with
from derive.rnn_cell.base import RNNCell, Wiring
from derive.rnn_cell.layout import Variable, constant, glorot_uniform, initializer_of
from derive.rnn_cell.structure import Joined, LSTMStateTuple, Template


class BasicRNNCell(RNNCell):
    """h' = activation([x, h] kernel + bias)."""

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("rnn", activation_of(activation))
        variables = (
            Variable("kernel", (("W",), ("U",)), glorot_uniform),
            Variable("bias", (("b",),), constant(0.0)),
        )
        sizes = {"H": units(num_units)}
        super().__init__(
            Wiring(cell, ("x",), "h_next", "h", variables, sizes), name=name, dtype=dtype
        )


class BasicLSTMCell(RNNCell):
    """The LSTM without options. Gates lie in the order i, j, f, o; forget_bias is added to f."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("lstm", activation_of(activation), forget_bias=forget_bias)
        variables = lstm_variables("igfo", glorot_uniform)
        wiring = lstm_wiring(cell, variables, num_units, None, state_is_tuple)
        super().__init__(wiring, name=name, dtype=dtype)


class LSTMCell(RNNCell):
    """The LSTM with peepholes, clipping and projection.

    cell_clip acts on the new c, before the output gate's peephole, the output activation and
    the returned state see it; proj_clip on the projected h.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = None,
        num_proj_shards: Any = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        projection = num_proj is not None
        peephole = to_flag(use_peepholes, "use_peepholes")
        cell = cell_with(
            "lstm",
            activation_of(activation),
            forget_bias=forget_bias,
            peephole=peephole,
            projection=projection,
            cell_clip=cell_clip,
            proj_clip=proj_clip if projection else None,  # as in TensorFlow, of no effect alone
        )
        draw = initializer_of(initializer, glorot_uniform)
        variables = lstm_variables("igfo", draw)
        if peephole:
            variables += tuple(
                Variable(f"w_{gate}_diag", ((f"p_{gate}",),), draw) for gate in "fio"
            )
        if projection:
            variables += (Variable("projection/kernel", (("W_p",),), draw),)
        wiring = lstm_wiring(cell, variables, num_units, num_proj, state_is_tuple)
        super().__init__(wiring, name=name, dtype=dtype)


class GRUCell(RNNCell):
    """The GRU whose reset gate acts before the product; h' = u h + (1 - u) c."""

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("gru", activation_of(activation), reset="before")
        kernel = initializer_of(kernel_initializer, glorot_uniform)
        variables = (
            Variable("gates/kernel", (("W_r", "W_z"), ("U_r", "U_z")), kernel),
            Variable("gates/bias", (("b_r", "b_z"),), initializer_of(bias_initializer, _ONES)),
            Variable("candidate/kernel", (("W_n",), ("U_n",)), kernel),
            Variable("candidate/bias", (("b_n",),), initializer_of(bias_initializer, _ZEROS)),
        )
        wiring = Wiring(cell, ("x",), "h_next", "h", variables, {"H": units(num_units)})
        super().__init__(wiring, name=name, dtype=dtype)


class CudnnCompatibleLSTMCell(RNNCell):
    """The LSTM that takes over cuDNN's weights: no forget bias, no clipping, no peepholes."""

    def __init__(self, num_units: int, reuse: Any = None, dtype: Any = None) -> None:
        wiring = lstm_wiring(
            cells.family("lstm")(), lstm_variables("igfo", glorot_uniform), num_units, None, True
        )
        super().__init__(wiring, dtype=dtype)


class CudnnCompatibleGRUCell(RNNCell):
    """The GRU that takes over cuDNN's weights: the reset gate acts after the product."""

    def __init__(
        self,
        num_units: int,
        reuse: Any = None,
        kernel_initializer: Any = None,
        dtype: Any = None,
    ) -> None:
        # cuDNN's two biases of a gate only ever occur as their sum, but in the candidate.
        cell = without(cells.family("gru")(reset="after", biases=2), ("b_hr", "b_hz"))
        kernel = initializer_of(kernel_initializer, glorot_uniform)
        candidate = "candidate/input_projection", "candidate/hidden_projection"
        variables = (
            Variable("gates/kernel", (("W_r", "W_z"), ("U_r", "U_z")), kernel),
            Variable("gates/bias", (("b_r", "b_z"),), _ONES),
            Variable(f"{candidate[0]}/kernel", (("W_n",),), kernel),
            Variable(f"{candidate[1]}/kernel", (("U_n",),), kernel),
            Variable(f"{candidate[0]}/bias", (("b_n",),), _ZEROS),
            Variable(f"{candidate[1]}/bias", (("b_hn",),), _ZEROS),
        )
        wiring = Wiring(cell, ("x",), "h_next", "h", variables, {"H": units(num_units)})
        super().__init__(wiring, dtype=dtype)


# --- what the classes share ----------------------------------------------------------------------

_ONES, _ZEROS = constant(1.0), constant(0.0)


def lstm_variables(gates: str, draw: Any) -> tuple[Variable, ...]:
    """kernel and bias of an LSTM; TensorFlow's j is the candidate g."""
    return (
        Variable("kernel", tuple(tuple(f"{m}_{k}" for k in gates) for m in "WU"), draw),
        Variable("bias", (tuple(f"b_{k}" for k in gates),), constant(0.0)),
    )


def lstm_wiring(
    cell: Cell,
    variables: tuple[Variable, ...],
    num_units: int,
    num_proj: int | None,
    state_is_tuple: bool,
) -> Wiring:
    sizes = {"H": units(num_units)}
    if num_proj is not None:
        sizes["P"] = units(num_proj, "num_proj")
    state: Template = (
        LSTMStateTuple("c", "h")
        if to_flag(state_is_tuple, "state_is_tuple")
        else Joined(("c", "h"))
    )
    return Wiring(cell, ("x",), "h_next", state, variables, sizes)


def units(value: Any, name: str = "num_units") -> int:
    count = to_count(value, name, most=MOST)
    if count == 0:
        raise ArgumentError(f"{name} must be positive", hint=f"{name}=4")
    return count
