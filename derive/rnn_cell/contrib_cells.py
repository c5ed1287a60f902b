"""The cells of tf.contrib.rnn that are no LSTMs, and JANET.

In: TensorFlow's arguments.  Out: an RNNCell whose equations are the catalogue's.
Not here: equations (derive/catalogue/); only which options they are, and what TensorFlow calls
their parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.signature import Array
from derive.rnn_cell.activation import activation_of, cell_with
from derive.rnn_cell.base import RNNCell, Wiring, given_arrays
from derive.rnn_cell.core_cells import units
from derive.rnn_cell.layout import (
    Draw,
    Variable,
    constant,
    glorot_uniform,
    initializer_of,
    uniform,
)

_ZEROS = constant(0.0)


class UGRNNCell(RNNCell):
    """The update gate network; forget_bias is added to its gate."""

    def __init__(
        self,
        num_units: int,
        initializer: Any = None,
        forget_bias: float = 1.0,
        activation: Any = None,
        reuse: Any = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("ugrnn", activation_of(activation), forget_bias=forget_bias)
        draw = initializer_of(initializer, glorot_uniform)
        variables = _linear(("g", "c"), draw, bias=_ZEROS)
        super().__init__(_one_state(cell, variables, num_units), dtype=dtype)


class IntersectionRNNCell(RNNCell):
    """The +RNN; inputs are as wide as the cell, or num_in_proj projects them."""

    def __init__(
        self,
        num_units: int,
        num_in_proj: int | None = None,
        initializer: Any = None,
        forget_bias: float = 1.0,
        y_activation: Any = None,
        reuse: Any = None,
        dtype: Any = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "forget_bias": forget_bias,
            "activation": activation_of(y_activation, "relu"),
        }
        self._num_in_proj = num_in_proj
        self._draw = initializer_of(initializer, glorot_uniform)
        self._units = units(num_units)
        super().__init__(self._wire(projection=False), dtype=dtype)

    def _wire(self, projection: bool) -> Wiring:
        cell = cell_with("intersection_rnn", **self._options, projection=projection)
        variables = _linear(("gh", "n", "gy", "z"), self._draw, bias=_ZEROS)
        if projection:
            variables = (
                Variable("in_projection/kernel", (("W_p",),), self._draw),
                Variable("in_projection/bias", (("b_p",),), _ZEROS),
                *variables,
            )
        return _one_state(cell, variables, self._units, output="y")

    def build(self, input_width: Any = None, *, dtype: Any = None, seed: Any = None) -> None:
        """As of any cell; inputs of another width than num_units are projected."""
        width = input_width[-1] if isinstance(input_width, (tuple, list)) else input_width
        if not self.built and width not in (None, self._units):
            if not self._num_in_proj:
                raise ArgumentError(
                    "inputs of an IntersectionRNNCell are as wide as its output",
                    facts=(f"num_units = {self._units}, inputs have width {width}",),
                    hint=f"num_in_proj={self._units}",
                )
            self._wiring = self._wire(projection=True)
        super().build(input_width, dtype=dtype, seed=seed)

    def set_variables(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """As of any cell; variables of the projection tell that there is one."""
        names = [str(key) for key, _ in given_arrays(values, named)]
        if not self.built and any("in_projection/kernel" in name for name in names):
            self._wiring = self._wire(projection=True)
        super().set_variables(values, **named)


class SRUCell(RNNCell):
    """The simple recurrent unit; the state is c, the output h."""

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("sru", activation_of(activation))
        variables = (
            Variable("kernel", (("W_g", "W_f", "W_r", "W_x"),), glorot_uniform),
            Variable("bias", (("b_f", "b_r"),), _ZEROS),
        )
        wiring = Wiring(cell, ("x",), "y", "c", variables, {"H": units(num_units)})
        super().__init__(wiring, name=name, dtype=dtype)


class IndRNNCell(RNNCell):
    """The independently recurrent network; kernel_u is [1, H]."""

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("indrnn", activation_of(activation))
        variables = (
            Variable("kernel_w", (("W",),), glorot_uniform),
            Variable("kernel_u", (("u",),), uniform(-1, 1), one_row=True),
            Variable("bias", (("b",),), _ZEROS),
        )
        super().__init__(_one_state(cell, variables, num_units), name=name, dtype=dtype)


class MinimalRNNCell(RNNCell):
    """MinimalRNN; the kernel [I + 2H, H] holds W_x, then what the gate sees of z and of h."""

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "ones",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("minimal_rnn", activation_of(activation), input_bias=False)
        kernel = initializer_of(kernel_initializer, glorot_uniform)
        variables = (
            Variable("kernel", (("W_x",), ("U_z",), ("U_h",)), kernel),
            Variable("bias", (("b_u",),), initializer_of(bias_initializer, constant(1.0))),
        )
        super().__init__(_one_state(cell, variables, units), name=name, dtype=dtype)


class CFNCell(RNNCell):
    """The chaos-free network; the input comes in by 1 - eta, unlike in the paper."""

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "ones",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        cell = cell_with("cfn", activation_of(activation), input_gate="complement")
        kernel = initializer_of(kernel_initializer, glorot_uniform)
        variables = (
            Variable("kernel", (("W_t", "W_e", "W_x"),), kernel),
            Variable("recurrent_kernel", (("U_t", "U_e"),), kernel),
            Variable("bias", (("b_t", "b_e"),), initializer_of(bias_initializer, constant(1.0))),
        )
        super().__init__(_one_state(cell, variables, units), name=name, dtype=dtype)


class JANETCell(RNNCell):
    """The LSTM with a forget gate alone; no class of TensorFlow, but in its style.

    kernel [I + H, 2H] holds the forget gate, then the candidate.  t_max: chrono initialisation
    of the forget gate's bias, log(U[1, t_max - 1]); without it that bias starts at 1.
    """

    def __init__(
        self,
        num_units: int,
        beta: float = 1.0,
        t_max: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        size = units(num_units)
        if t_max is not None and t_max < 2:
            raise ArgumentError("t_max is the longest dependency, at least 2", hint="t_max=100")

        def bias(
            shape: tuple[int, ...], random: np.random.Generator, _: Mapping[str, Array]
        ) -> Array:
            forget = np.ones(size)
            if t_max is not None:
                forget = np.log(random.uniform(1, t_max - 1, size))
            return np.concatenate([forget, np.zeros(size)])

        cell = cells.family("janet")(beta=beta)
        variables = _linear(("f", "g"), glorot_uniform, bias=bias)
        super().__init__(_one_state(cell, variables, size), name=name, dtype=dtype)


# --- what the classes share ----------------------------------------------------------------------


def _linear(gates: tuple[str, ...], draw: Draw, *, bias: Draw) -> tuple[Variable, ...]:
    """kernel and bias of one product of [x, h] for all gates."""
    return (
        Variable("kernel", tuple(tuple(f"{m}_{k}" for k in gates) for m in "WU"), draw),
        Variable("bias", (tuple(f"b_{k}" for k in gates),), bias),
    )


def _one_state(
    cell: Cell, variables: tuple[Variable, ...], num_units: int, output: str = "h_next"
) -> Wiring:
    return Wiring(cell, ("x",), output, "h", variables, {"H": units(num_units)})
