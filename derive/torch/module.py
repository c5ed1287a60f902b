"""Stack: layers and directions of a cell as a torch module, under any names of its parameters.

In: the keys of engines, tensors of parameters for each layer and direction.  Out: output and state,
as torch.nn.LSTM and its like give them.
Not here: which parameters there are (rnn.py, drop_in.py), one sequence (running.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text, to_count, to_flag
from derive.torch import checks
from derive.torch.at_once import at_once, may_run
from derive.torch.ragged import ragged

_MOST_LAYERS = 10_000
#: Computed in float32.
NARROW = (torch.bfloat16, torch.float16)


class Stack(nn.Module):  # type: ignore[misc]
    """What `RNN` and the drop-ins share: calls with batches, packed sequences and states.

    A subclass sets `_state_names`, `_state_shapes` and `_x_shape`, without rows and steps, and says
    `_tensors` and `_run`.
    """

    input_size: Any
    hidden_size: Any
    _state_names: tuple[str, ...]
    _state_shapes: tuple[tuple[int, ...], ...]
    _x_shape: tuple[int, ...]
    #: Whether a step takes and gives all arrays as users hold them.
    _is_plain: bool = True

    def _set_options(
        self, num_layers: Any, bias: Any, batch_first: Any, dropout: Any, bidirectional: Any
    ) -> None:
        self.num_layers = to_count(num_layers, "num_layers", most=_MOST_LAYERS)
        if not self.num_layers:
            raise ArgumentError("num_layers must be positive", hint="num_layers=1")
        self.bias = to_flag(bias, "bias")
        self.batch_first = to_flag(batch_first, "batch_first")
        self.bidirectional = to_flag(bidirectional, "bidirectional")
        self.dropout = _probability(dropout)

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _places(self) -> Iterator[tuple[int, int, str]]:
        """(layer, direction, the end of its parameters' names), as torch orders them."""
        for layer in range(self.num_layers):
            for direction in range(self.directions):
                yield layer, direction, f"_l{layer}{'_reverse' if direction else ''}"

    def _tensors(self, suffix: str, x: Tensor) -> list[Tensor]:
        """Parameters of one layer and direction, as its engine takes them with x."""
        raise NotImplementedError

    def __prepare_scriptable__(self) -> Any:
        """torch.jit.script calls it."""
        raise checks.jit_refused("script")

    def flatten_parameters(self) -> None:
        """Does nothing: parameters may lie anywhere."""

    # --- a call -----------------------------------------------------------------------------

    def _forward(
        self, x: Any, state: Any, lengths: Any = None, resets: Any = None,
        return_states: bool = False, once: Any = None,
    ) -> Any:  # fmt: skip
        if isinstance(x, PackedSequence):
            return self._packed(x, state, lengths, resets, return_states, once)
        x = _autocast(checks.tensor_of(x, "x"))
        batched = self._is_batched(x)
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        rows = x.shape[1]
        first = self._first_states(state, rows, batched, x)
        more = self._once_given(once, rows, batched, x) if self._has_more(once) else []
        if lengths is not None:
            lengths = checks.lengths_of(lengths, x.shape[0], rows)
        if resets is not None:
            swapped = batched and self.batch_first
            steps = x.shape[0]
            shape = (rows, steps) if swapped else (steps, rows) if batched else (steps,)
            resets = checks.resets_of(resets, shape)
            resets = resets.t() if swapped else resets if batched else resets.unsqueeze(1)
        y, last, every = self._layers(x, first, lengths, resets, return_states, more)
        if not batched:
            y, last = y.squeeze(1), [s.squeeze(1) for s in last]
            every = [s.squeeze(2) for s in every]
        elif self.batch_first:
            y = y.transpose(0, 1)
            every = [s.transpose(1, 2) for s in every]
        return self._results(y, last, every, return_states)

    def _packed(
        self, x: PackedSequence, state: Any, lengths: Any, resets: Any, return_states: bool,
        once: Any,
    ) -> Any:  # fmt: skip
        if lengths is not None or resets is not None:
            what = "lengths" if lengths is not None else "resets"
            raise ArgumentError(f"{what} and a PackedSequence were both given")
        if return_states:
            raise ArgumentError(
                "return_states is for tensors, not for a PackedSequence",
                hint="torch.nn.utils.rnn.pad_packed_sequence(x), lengths=...",
            )
        data = _autocast(checks.tensor_of(x.data, "x"))
        checks.shape_fits(data, "x.data", ("steps", *self._x_shape))
        rows = int(x.batch_sizes[0])
        first = self._first_states(state, rows, True, data)
        more = self._once_given(once, rows, True, data) if self._has_more(once) else []
        if x.sorted_indices is not None:
            first = [s.index_select(1, x.sorted_indices) for s in first]
            more = [m.index_select(0, x.sorted_indices) for m in more]
        # One copy each way, and one for the gradient: torch's own functions copy step by step.
        taken = torch.arange(rows) < x.batch_sizes.unsqueeze(1)
        places, ends = taken.flatten().nonzero().squeeze(1), taken.sum(0)
        padded = data.new_zeros(taken.numel(), *data.shape[1:]).index_copy(0, places, data)
        y, last, _ = self._layers(
            padded.unflatten(0, taken.shape), first, ends, None, False, more
        )  # fmt: skip
        packed = y.flatten(0, 1).index_select(0, places)
        if x.unsorted_indices is not None:
            last = [s.index_select(1, x.unsorted_indices) for s in last]
        output = PackedSequence(packed, x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        return self._results(output, last, [], False)

    def _layers(
        self, x: Tensor, first: Sequence[Tensor], lengths: Tensor | None, resets: Tensor | None,
        return_states: bool, once: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
        """Output, last states [layers * directions, B, ...], and those of all steps."""
        computed = dtype = x.dtype
        if dtype in NARROW:
            computed = torch.float32
            x, first = x.float(), [s.float() for s in first]
            once = [m.float() for m in once]
        if lengths is None and resets is None and not return_states and self._is_plain:
            found = self._at_once(x, first, dtype)
            if found is not None:
                y, stacked = found
                if computed is not dtype:
                    y, stacked = y.to(dtype), [s.to(dtype) for s in stacked]
                return y, stacked, []
        last: list[list[Tensor]] = [[] for _ in self._state_names]
        every: list[list[Tensor]] = [[] for _ in self._state_names]
        outputs: list[Tensor] = []
        for place, (layer, direction, suffix) in enumerate(self._places()):
            if direction == 0 and layer:
                x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
                outputs = []
                if self.dropout and self.training:
                    x = nn.functional.dropout(x, self.dropout, True)
            tensors = in_one_dtype(self._tensors(suffix, x), dtype, computed)
            checks.on_one_device(tensors, x, "the parameters are")
            y, states, states_of_all = self._run(
                layer, tensors, x, [s[place] for s in first], lengths, resets, bool(direction),
                return_states, once,
            )  # fmt: skip
            outputs.append(y)
            for kept, value in zip(last, states, strict=True):
                kept.append(value)
            for kept, value in zip(every, states_of_all, strict=False):
                kept.append(value)
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        stacked = [s[0].unsqueeze(0) if len(s) == 1 else torch.stack(s) for s in last]
        of_all = [torch.stack(s) for s in every if s]
        if computed is not dtype:
            y = y.to(dtype)
            stacked, of_all = [s.to(dtype) for s in stacked], [s.to(dtype) for s in of_all]
        return y, stacked, of_all

    def _at_once(
        self, x: Tensor, first: Sequence[Tensor], dtype: torch.dtype
    ) -> tuple[Tensor, list[Tensor]] | None:
        """Output and last states of all layers in one call, where that is possible."""
        places = self.num_layers * self.directions
        if places == 1 or (self.dropout and self.training and self.num_layers > 1):
            return None
        if not may_run(x):
            return None
        tensors = []
        for _, _, suffix in self._places():
            tensors.append(in_one_dtype(self._tensors(suffix, x), dtype, x.dtype))
            checks.on_one_device(tensors[-1], x, "the parameters are")
        return at_once(self._engine_key(), self.directions, tensors, x, first)

    def _engine_key(self) -> str:
        """Of the engine that takes `_tensors`."""
        raise NotImplementedError

    def _run(
        self, layer: int, tensors: list[Tensor], x: Tensor, states: list[Tensor],
        lengths: Tensor | None, resets: Tensor | None, reverse: bool, return_states: bool,
        once: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
        """Output, last states and, if wanted, the states of all steps, of one direction."""
        raise NotImplementedError

    def _results(self, y: Any, last: list[Tensor], every: list[Tensor], return_states: bool) -> Any:
        state = last[0] if len(last) == 1 else tuple(last)
        if not return_states:
            return y, state
        return y, state, dict(zip(self._state_names, every, strict=True))

    # --- what was given ---------------------------------------------------------------------

    def _is_batched(self, x: Tensor) -> bool:
        axes = len(self._x_shape)
        if x.dim() not in (axes + 1, axes + 2):
            raise ArgumentError(
                "x has the wrong shape",
                facts=(f"it is {self._axes_of_x()}, or [T, {self._shown_x()}] of one row; "
                       f"given {list(x.shape)}",),
            )  # fmt: skip
        if (x.shape[-1] if axes == 1 else tuple(x.shape[-axes:])) != self._features:
            of_x = x.shape[-1] if axes == 1 else list(x.shape[-axes:])
            raise ArgumentError(
                f"x has {of_x} features, and this {type(self).__name__} takes "
                f"input_size={self.input_size}",
                facts=(f"x is {self._axes_of_x()}, given {list(x.shape)}",),
            )
        return bool(x.dim() == axes + 2)

    @property
    def _features(self) -> Any:
        """The width of x, or its axes."""
        return self._x_shape[0] if len(self._x_shape) == 1 else self._x_shape

    def _has_more(self, once: Any) -> bool:
        """Whether there is more to look at than x and states."""
        return once is not None or not self._is_plain

    def _shown_x(self) -> str:
        return ", ".join(map(str, self._x_shape))

    def _axes_of_x(self) -> str:
        return f"[{'B, T' if self.batch_first else 'T, B'}, {self._shown_x()}]"

    def _first_states(self, state: Any, rows: int, batched: bool, x: Tensor) -> list[Tensor]:
        """Of each state [layers * directions, B, width]; where none was given, its start."""
        places = self.num_layers * self.directions
        if state is None and self._is_plain:
            return [x.new_zeros(places, rows, *shape) for shape in self._state_shapes]
        if state is None:
            return self._starts(rows, x)
        shapes = [(places, rows, *s) if batched else (places, *s) for s in self._state_shapes]
        found = checks.states_of(state, self._state_names, shapes, x)
        return found if batched else [value.unsqueeze(1) for value in found]

    def _starts(self, rows: int, x: Tensor) -> list[Tensor]:
        """First states of a cell that may have learned them, where none was given."""
        raise NotImplementedError

    def _once_given(self, once: Any, rows: int, batched: bool, x: Tensor) -> list[Tensor]:
        """Inputs that do not change with time, [B, width], in the cell's order."""
        return []


def run_engine(
    key: str, tensors: Sequence[Tensor], x: Tensor, states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Of a cell with one input: its first output, and last states."""
    results = ragged(key, tensors, [x], states, lengths, reverse)
    count = len(results) - len(states)
    return results[0], results[count:]


def in_one_dtype(tensors: list[Tensor], dtype: Any, computed: Any) -> list[Tensor]:
    """Parameters in the dtype that a call computes in, where x has `dtype`.

    ArgumentTypeError if one has another dtype than x, but for narrow ones and under autocast.
    """
    for place, tensor in enumerate(tensors):
        own = tensor.dtype
        checks.has_strides(tensor, "a parameter is", "parameter")
        # Biases of a narrow layer are added in `computed`; the first tensor is a weight.
        known = (dtype, computed) if place else (dtype,)
        if own not in known and not torch.is_autocast_enabled("cpu"):
            raise ArgumentTypeError(
                f"x is {_name_of(dtype)}, and the parameters are {_name_of(own)}",
                hint=f"x.to({own}), or rnn.to({dtype})",
            )
    return [tensor if tensor.dtype == computed else tensor.to(computed) for tensor in tensors]


def _autocast(value: Tensor) -> Tensor:
    """Under autocast as torch.nn.LSTM: float32 becomes its dtype."""
    if torch.is_autocast_enabled("cpu") and value.dtype is torch.float32:
        return value.to(torch.get_autocast_dtype("cpu"))
    return value


def _name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"dropout is a number, not {kind_text(value)}")
    if not 0 <= value <= 1:
        raise ArgumentError(f"dropout is a probability, not {value}")
    return float(value)
