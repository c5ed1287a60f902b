"""LSTM, GRU and SimpleRNN: torch.nn's LSTM, GRU and RNN on derived kernels.

In: torch's arguments, under torch's names.  Out: modules with torch's parameters, state_dict, start
values and results.
Not here: cells of one's own (rnn.py), what a call does (module.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from derive import cells
from derive.cell import Cell
from derive.errors import ArgumentError
from derive.kernel.convert import closest, to_width
from derive.torch.engine import Engine
from derive.torch.module import NARROW, Stack, run_engine


@lru_cache(maxsize=64)
def _key(cell: Cell, gates: int, threads: int) -> str:
    """Of the engine that takes gates * H x I, gates * H x H and gates * H, as torch has them."""
    stacked = len(cell.params) // gates
    groups: list[tuple[int, ...]] = [
        tuple(range(k * gates, (k + 1) * gates)) for k in range(stacked)
    ]
    groups += [(place,) for place in range(stacked * gates, len(cell.params))]
    return Engine(cell, threads, tuple(groups)).key


class _DropIn(Stack):
    """What the three share. `_gates` blocks of H rows lie below each other in each parameter."""

    _gates: int

    def _set_up(
        self, input_size: Any, hidden_size: Any, options: tuple[Any, ...], proj_size: int,
        device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        self._set_options(*options)
        self.input_size = to_width(input_size, "input_size")
        self._x_shape = (self.input_size,)
        self.hidden_size = to_width(hidden_size, "hidden_size")
        if self.hidden_size <= 0:
            raise ArgumentError("hidden_size must be positive", hint="hidden_size=128")
        self.proj_size = proj_size
        self._output_size = proj_size or self.hidden_size
        self._key = _key(self._cell(), self._gates, torch.get_num_threads())
        made = {"device": device, "dtype": dtype}
        rows = self._gates * self.hidden_size
        for layer, _, suffix in self._places():
            width = self._output_size * self.directions if layer else self.input_size
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width)}
            shapes["weight_hh"] = (rows, self._output_size)
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, self.hidden_size)
            for name, shape in shapes.items():
                self.register_parameter(f"{name}{suffix}", nn.Parameter(torch.empty(shape, **made)))
        self.reset_parameters()

    def _cell(self) -> Cell:
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Uniform in +-1 / sqrt(hidden_size), in torch's order."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """Parameters of each layer and direction, as torch lists them."""
        names = ["weight_ih", "weight_hh"]
        names += ["bias_ih", "bias_hh"] if self.bias else []
        names += ["weight_hr"] if self.proj_size else []
        return [[getattr(self, n + suffix) for n in names] for _, _, suffix in self._places()]

    def _tensors(self, suffix: str, x: Tensor) -> list[Tensor]:
        weight = getattr(self, f"weight_ih{suffix}")
        found = [weight, getattr(self, f"weight_hh{suffix}"), *self._biases(suffix, weight)]
        if self.proj_size:
            found.append(getattr(self, f"weight_hr{suffix}"))
        return found

    def _biases(self, suffix: str, like: Tensor) -> list[Tensor]:
        """Their sum, for both are added to the same product."""
        if not self.bias:
            return [like.new_zeros(self._gates * self.hidden_size)]
        first, second = getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")
        if like.dtype in NARROW:
            first, second = first.float(), second.float()
        return [first + second]

    def _engine_key(self) -> str:
        return self._key

    def _run(
        self, layer: int, tensors: list[Tensor], x: Tensor, states: list[Tensor],
        lengths: Tensor | None, resets: Tensor | None, reverse: bool, return_states: bool,
        once: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
        y, last = run_engine(self._key, tensors, x, states, lengths, reverse)
        return y, last, []

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> Any:
        """As torch's; lengths: [B], and then the padding of a plain tensor does not count."""
        return self._forward(input, hx, lengths)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        for name, usual in (("bias", True), ("batch_first", False), ("bidirectional", False)):
            if getattr(self, name) is not usual:
                text += f", {name}={getattr(self, name)}"
        return text + (f", dropout={self.dropout}" if self.dropout else "")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._key = _key(self._cell(), self._gates, torch.get_num_threads())


class LSTM(_DropIn):
    """torch.nn.LSTM on derived kernels: its arguments, parameters, start values and results.

    y, (h, c) = lstm(x, (h, c)); x [T, B, input_size], or [B, T, ...] with batch_first, or of one
    row [T, input_size], or a PackedSequence. h: [layers * directions, B, proj_size or hidden_size].
    lengths: [B], of a padded x: past its end a row puts out 0 and keeps its states.
    """

    _gates = 4
    _state_names = ("h", "c")

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        proj_size = to_width(proj_size, "proj_size")
        if proj_size and proj_size >= to_width(hidden_size, "hidden_size"):
            raise ArgumentError(
                f"proj_size is smaller than hidden_size, not {proj_size} for {hidden_size}"
            )
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        self._set_up(input_size, hidden_size, options, proj_size, device, dtype)
        self._state_shapes = ((self._output_size,), (self.hidden_size,))

    def _cell(self) -> Cell:
        return cells.from_spec("lstm_projection" if self.proj_size else "lstm")


class GRU(_DropIn):
    """torch.nn.GRU on derived kernels; shapes as `LSTM`'s, with the one state h."""

    _gates = 3
    _state_names = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        self._set_up(input_size, hidden_size, options, 0, device, dtype)
        self._state_shapes = ((self.hidden_size,),)

    def _cell(self) -> Cell:
        return cells.gru(reset="after", keeps="previous", biases=2)

    def _biases(self, suffix: str, like: Tensor) -> list[Tensor]:
        """Both: the reset gate multiplies one of them."""
        if not self.bias:
            return [like.new_zeros(self._gates * self.hidden_size) for _ in range(2)]
        return [getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")]


class SimpleRNN(_DropIn):
    """torch.nn.RNN on derived kernels; nonlinearity: "tanh" or "relu"; shapes as `LSTM`'s."""

    _gates = 1
    _state_names = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(
                f"nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}",
                hint=closest(nonlinearity, ("tanh", "relu")),
            )
        self.nonlinearity = nonlinearity
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        self._set_up(input_size, hidden_size, options, 0, device, dtype)
        self._state_shapes = ((self.hidden_size,),)

    def _cell(self) -> Cell:
        return cells.rnn(activation=self.nonlinearity)
