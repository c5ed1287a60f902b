"""The LSTMs of tf.contrib.rnn: coupled gates, layer normalisation, phases, and NAS.

In: TensorFlow's arguments.  Out: an RNNCell whose equations are the catalogue's.
Not here: equations (derive/catalogue/); only which options they are, and what TensorFlow calls
their parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.convert import to_flag, to_generator
from derive.kernel.signature import Array
from derive.layers.compose import masked, with_epsilon
from derive.rnn_cell.activation import activation_of, cell_with
from derive.rnn_cell.base import RNNCell, Wiring
from derive.rnn_cell.core_cells import lstm_variables, lstm_wiring, units
from derive.rnn_cell.layout import Variable, constant, glorot_uniform, initializer_of
from derive.rnn_cell.masks import Mask, probability
from derive.rnn_cell.structure import LSTMStateTuple

#: The epsilon of tf.contrib.layers.layer_norm.
EPSILON = 1e-12

#: TensorFlow's scopes of the normalised gates, and of the cell state.
_SCOPES = {"i": "input", "g": "transform", "f": "forget", "o": "output", "c": "state"}

_ZEROS = constant(0.0)


class CoupledInputForgetGateLSTMCell(RNNCell):
    """The LSTM whose input gate is 1 - f, with peepholes, projection and layer normalisation."""

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = 1,
        num_proj_shards: Any = 1,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        layer_norm: bool = False,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dtype: Any = None,
    ) -> None:
        projection = num_proj is not None
        peephole = to_flag(use_peepholes, "use_peepholes")
        cell = _normed_lstm(
            layer_norm,
            activation,
            coupled=True,
            forget_bias=forget_bias,
            peephole=peephole,
            projection=projection,
            proj_clip=proj_clip if projection else None,
        )
        # The initializer is accepted and, as in TensorFlow, of no effect.
        initializer_of(initializer, glorot_uniform)
        kernel, bias = lstm_variables("gfo", glorot_uniform)
        kernel = replace(kernel, name="W_0", aliases=("W", "kernel"))
        bias = replace(bias, name="B", aliases=("bias",))
        if layer_norm:  # TensorFlow makes the bias and does not add it
            bias = replace(bias, table=(), unused=(3 * units(num_units),))
        variables: tuple[Variable, ...] = (kernel, bias)
        if peephole:
            variables += tuple(
                Variable(
                    f"W_{k.upper()}_diag",
                    ((f"p_{k}",),),
                    glorot_uniform,
                    aliases=(f"w_{k}_diag",),
                )
                for k in "fo"
            )
        if projection:
            names = ("W_P", "projection/kernel")
            variables += (Variable("W_P_0", (("W_p",),), glorot_uniform, aliases=names),)
        if layer_norm:
            variables += _norms("gfoc", norm_gain, norm_shift)
        wiring = lstm_wiring(cell, variables, num_units, num_proj, state_is_tuple)
        super().__init__(wiring, dtype=dtype)


class LayerNormBasicLSTMCell(RNNCell):
    """The LSTM with layer normalisation of each gate and of c, and dropout of the candidate."""

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        input_size: Any = None,
        activation: Any = None,
        layer_norm: bool = True,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dropout_keep_prob: float = 1.0,
        dropout_prob_seed: Any = None,
        reuse: Any = None,
        dtype: Any = None,
    ) -> None:
        cell = _normed_lstm(layer_norm, activation, forget_bias=forget_bias)
        kernel, bias = lstm_variables("igfo", glorot_uniform)
        variables: tuple[Variable, ...] = (kernel, replace(bias, draw=glorot_uniform))
        if layer_norm:
            variables = (kernel, *_norms("igfoc", norm_gain, norm_shift))
        keep = probability(dropout_keep_prob, "dropout_keep_prob")
        masks = {}
        if keep < 1:
            dropped = masked(cell, ["g"])
            cell = dropped.cell
            masks[dropped.added["g"]] = Mask(keep, to_generator(dropout_prob_seed), False)
        wiring = lstm_wiring(cell, variables, num_units, None, True)
        super().__init__(replace(wiring, masks=masks), dtype=dtype)


class PhasedLSTMCell(RNNCell):
    """The phased LSTM; inputs are (time [B, 1], x [B, I])."""

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        leak: float = 0.001,
        ratio_on: float = 0.1,
        trainable_ratio_on: bool = True,
        period_init_min: float = 1.0,
        period_init_max: float = 1000.0,
        reuse: Any = None,
        dtype: Any = None,
    ) -> None:
        peephole = to_flag(use_peepholes, "use_peepholes")
        cell = cells.family("phased_lstm")(leak=leak, peephole=peephole)
        self.trainable_ratio_on = to_flag(trainable_ratio_on, "trainable_ratio_on")
        if not 0 < period_init_min <= period_init_max:
            raise ArgumentError(
                "periods lie between two positive bounds",
                facts=(f"period_init_min = {period_init_min}, _max = {period_init_max}",),
            )
        low, high = np.log(period_init_min), np.log(period_init_max)

        def period(
            shape: tuple[int, ...], random: np.random.Generator, _: Mapping[str, Array]
        ) -> Array:
            return np.exp(random.uniform(low, high, shape))

        def phase(
            shape: tuple[int, ...], random: np.random.Generator, earlier: Mapping[str, Array]
        ) -> Array:
            return random.uniform(0, 1, shape) * earlier["period"]

        see_c = (("W", "U", "P"), ("W", "U"), ("W", "U", "P")) if peephole else ("WU",) * 3
        scopes = (("mask_gates", "if"), ("new_input", "g"), ("output_gate", "o"))
        variables: tuple[Variable, ...] = ()
        for (scope, gates), kinds in zip(scopes, see_c, strict=True):
            table = tuple(tuple(f"{kind}_{gate}" for gate in gates) for kind in kinds)
            variables += (
                Variable(f"{scope}/kernel", table, glorot_uniform),
                Variable(f"{scope}/bias", (tuple(f"b_{gate}" for gate in gates),), _ZEROS),
            )
        variables += (
            Variable("period", (("period",),), period),
            Variable("phase", (("phase",),), phase),
            Variable("ratio_on", (("ratio_on",),), constant(ratio_on)),
        )
        state = LSTMStateTuple("c", "h")
        sizes = {"H": units(num_units)}
        wiring = Wiring(cell, ("time", "x"), "h_next", state, variables, sizes)
        super().__init__(wiring, dtype=dtype)


class NASCell(RNNCell):
    """The cell of neural architecture search, with TensorFlow's projection."""

    def __init__(
        self,
        num_units: int,
        num_proj: int | None = None,
        use_bias: bool = False,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        projection = num_proj is not None
        cell = cells.family("nas")(bias=to_flag(use_bias, "use_bias"), projection=projection)
        branches = "01234567"
        variables: tuple[Variable, ...] = (
            Variable("recurrent_kernel", (tuple(f"U_{k}" for k in branches),), glorot_uniform),
            Variable("kernel", (tuple(f"W_{k}" for k in branches),), glorot_uniform),
        )
        if use_bias:
            variables += (Variable("bias", (tuple(f"b_{k}" for k in branches),), _ZEROS),)
        if projection:
            names = ("projection/kernel",)
            variables += (
                Variable("projection_weights", (("W_p",),), glorot_uniform, aliases=names),
            )
        wiring = lstm_wiring(cell, variables, num_units, num_proj, True)
        super().__init__(wiring, name=name, dtype=dtype)


# --- layer normalisation --------------------------------------------------------------------


def _normed_lstm(layer_norm: bool, activation: Any, **options: Any) -> Cell:
    """The catalogue's LSTM, with TensorFlow's layer normalisation and epsilon if asked for."""
    options["layer_norm"] = "tensorflow" if to_flag(layer_norm, "layer_norm") else None
    cell = cell_with("lstm", activation_of(activation), **options)
    return with_epsilon(cell, EPSILON) if layer_norm else cell


def _norms(gates: str, gain: float, shift: float) -> tuple[Variable, ...]:
    """gamma and beta in TensorFlow's scopes."""
    return tuple(
        Variable(f"{_SCOPES[k]}/{name}", ((f"{name}_{k}",),), constant(start))
        for k in gates
        for name, start in (("gamma", gain), ("beta", shift))
    )
