"""RNN and Cell: any cell as a torch module, in layers and directions, or one step at a time.

In: a derive.Cell and sizes.  Out: modules whose parameters are called as the cell's.
Not here: what a call does (module.py), rows that end and start afresh (composed.py), torch's own
three (drop_in.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from derive.binding.lengths import module_sizes
from derive.cell import Cell as DeclaredCell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import kind_text
from derive.kernel.starts import draw
from derive.layers.given import fixed_arrays, once_arrays
from derive.layers.sequence import PAST_END, unknown_past_end
from derive.layers.sizes import data_input, lengths_of, sizes_of_layers
from derive.torch import checks
from derive.torch.composed import Composition, Own, composed, composition, key_of
from derive.torch.module import NARROW, Stack, in_one_dtype, run_engine


class RNN(Stack):
    """Any cell in `num_layers` layers: y, state = rnn(x, state).

    cell: with one input that changes with time; its first output goes up.  input_size, hidden_size:
    the widths of the input and of the first state, (2, 8) where it is N x D; any other dimension of
    the cell by its name, P=64.  fixed: {name: array} of the cell's fixed arrays, which become
    buffers.
    num_layers, batch_first, dropout, bidirectional: as torch.nn.LSTM's.
    bias: without, the vectors `b` and `b_...` of the cell are zero and no parameters.
    past_end: what is put out past a row's length: "zero", "last" (repeated) or "computed".
    threads: of one call; torch.get_num_threads() where left out.

    x: [T, B, input_size], or [B, T, input_size] with batch_first, or [T, input_size] of one row, or
    a PackedSequence.  state: [layers * directions, B, width], a tuple in the cell's order where it
    has several; where left out, zeros, or what the cell has learned to start from.  lengths: [B]
    integers.  resets: [T, B] booleans, where a row starts afresh before that step.  return_states:
    a third result {name: states after each step, [layers * directions, T, B, width]}.  once: {name:
    [B, width]} of the inputs that do not change with time.

    Parameters are called as the cell's, with _l0, _l1_reverse: rnn.W_f_l0. bfloat16 and float16 are
    computed in float32.
    """

    def __init__(
        self, cell: DeclaredCell, input_size: Any, hidden_size: Any, num_layers: int = 1,
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, *, past_end: str = "zero", threads: int | None = None,
        device: Any = None, dtype: Any = None, fixed: Mapping[str, Any] | None = None,
        **sizes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = _a_cell(cell)
        self._set_options(num_layers, bias, batch_first, dropout, bidirectional)
        if not isinstance(past_end, str) or past_end not in PAST_END:
            raise unknown_past_end(past_end)
        self.past_end = past_end
        self.threads = checks.threads_of(threads)
        given = _sizes(self.cell, input_size, hidden_size, sizes)
        self.input_size, self.hidden_size = _plain(input_size), _plain(hidden_size)
        self._sizes = sizes_of_layers(self.cell, given, self.num_layers, self.directions)
        self._is_plain = self.cell.checked.is_plain
        self._state_names = tuple(self.cell.states)
        self._state_shapes, self._x_shape = _shapes(self.cell, self._sizes[0])
        self._own = [Own.of(self.cell, sizes, self.threads) for sizes in self._sizes]
        for layer, _, suffix in self._places():
            _register(
                self, self.cell, self._sizes[layer], suffix, fixed,
                {"device": device, "dtype": dtype},
            )  # fmt: skip
        self.reset_parameters()
        self._prepare()

    def _prepare(self) -> None:
        """The key of the cell that runs where nothing but outputs and last states is asked for."""
        self._plain_key = key_of(self.cell, self.threads)

    def reset_parameters(self) -> None:
        """As the cell says; else matrices uniform in +-sqrt(6 / (rows + columns)), vectors in
        +-1 / sqrt(width)."""
        _start(self, self.cell)

    def _tensors(self, suffix: str, x: Tensor) -> list[Tensor]:
        found = [getattr(self, f"{name}{suffix}", None) for name in self.cell.params]
        if any(value is None for value in found):
            like = next((value for value in found if value is not None), x)
            layer = int(suffix.removeprefix("_l").removesuffix("_reverse"))
            shapes = self.cell.params.values()
            found = [
                like.new_zeros(lengths_of(shape, self._sizes[layer])) if v is None else v
                for v, shape in zip(found, shapes, strict=True)
            ]
        return found

    def _starts(self, rows: int, x: Tensor) -> list[Tensor]:
        found = [
            _starts(self, self.cell, suffix, self._state_shapes, rows, x)
            for _, _, suffix in self._places()
        ]
        return [torch.stack(of_one) for of_one in zip(*found, strict=True)]

    def _once_given(self, once: Any, rows: int, batched: bool, x: Tensor) -> list[Tensor]:
        return _once(self.cell, self._sizes[0], once, rows, batched, x)

    def forward(
        self, input: Any, state: Any = None, *, lengths: Any = None, resets: Any = None,
        return_states: bool = False, once: Any = None,
    ) -> Any:  # fmt: skip
        """Output and last state; see the class."""
        return self._forward(input, state, lengths, resets, return_states, once)

    def _engine_key(self) -> str:
        return self._plain_key

    def _run(
        self, layer: int, tensors: list[Tensor], x: Tensor, states: list[Tensor],
        lengths: Tensor | None, resets: Tensor | None, reverse: bool, return_states: bool,
        once: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
        past_end = self.past_end if lengths is not None else "zero"
        simple = past_end == "zero" and resets is None and not return_states
        if simple and self._is_plain:
            y, last = run_engine(self._plain_key, tensors, x, states, lengths, reverse)
            return y, last, []
        own = self._own[layer]
        inputs = own.inputs(x, once)
        if simple:
            outputs, last = own.run(self._plain_key, tensors, inputs, states, lengths, reverse)
            return outputs[0], last, []
        chosen = self._composition(layer, past_end, resets is not None, return_states)
        params = dict(zip(own.params, tensors, strict=True))
        return composed(chosen, params, inputs, states, lengths, resets, reverse, past_end)

    def _composition(self, layer: int, past_end: str, resets: bool, every: bool) -> Composition:
        return composition(self._own[layer], past_end, resets, every)

    #: Dynamo calls it while it traces: it depends on no tensor.
    _composition._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        text = f"{self.cell.name}, {self.input_size}, {self.hidden_size}"
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
                 "bidirectional": False, "past_end": "zero"}  # fmt: skip
        for name, value in usual.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)!r}"
        return text


class Cell(nn.Module):  # type: ignore[misc]
    """One step of any cell: y, state = one(x_t, state).

    x_t: [B, input_size], or [input_size] of one row.  state: [B, width], a tuple in the cell's
    order where it has several; where left out, zeros, or what the cell has learned to start from.
    once: as RNN's. Parameters are called as the cell's.
    """

    def __init__(
        self, cell: DeclaredCell, input_size: Any, hidden_size: Any, *, threads: int | None = None,
        device: Any = None, dtype: Any = None, fixed: Mapping[str, Any] | None = None,
        **sizes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = _a_cell(cell)
        self.input_size, self.hidden_size = _plain(input_size), _plain(hidden_size)
        self.threads = checks.threads_of(threads)
        self._lengths = sizes_of_layers(
            self.cell, _sizes(self.cell, input_size, hidden_size, sizes), 1, 1
        )[0]
        self._is_plain = self.cell.checked.is_plain
        self._state_names = tuple(self.cell.states)
        self._state_shapes, self._x_shape = _shapes(self.cell, self._lengths)
        self._own = Own.of(self.cell, self._lengths, self.threads)
        made = {"device": device, "dtype": dtype}
        _register(self, self.cell, self._lengths, "", fixed, made)
        self.reset_parameters()
        self._plain_key = key_of(self.cell, self.threads)

    def reset_parameters(self) -> None:
        """As the cell says; else matrices uniform in +-sqrt(6 / (rows + columns)), vectors in
        +-1 / sqrt(width)."""
        _start(self, self.cell)

    def __prepare_scriptable__(self) -> Any:
        """torch.jit.script calls it."""
        raise checks.jit_refused("script")

    def forward(self, input: Any, state: Any = None, *, once: Any = None) -> Any:
        """Output and next state; see the class."""
        x, shape = checks.tensor_of(input, "x"), self._x_shape
        batched = x.dim() == len(shape) + 1
        checks.shape_fits(x, "x", ("B", *shape) if batched else shape)
        x = x if batched else x.unsqueeze(0)
        rows = x.shape[0]
        if state is None and self._is_plain:
            states = [x.new_zeros(rows, *shape) for shape in self._state_shapes]
        elif state is None:
            states = _starts(self, self.cell, "", self._state_shapes, rows, x)
        else:
            shapes = [(rows, *s) if batched else s for s in self._state_shapes]
            states = checks.states_of(state, self._state_names, shapes, x)
            states = states if batched else [value.unsqueeze(0) for value in states]
        more: list[Tensor] = []
        if once is not None or not self._is_plain:
            more = _once(self.cell, self._lengths, once, rows, batched, x)
        tensors = [getattr(self, name) for name in self.cell.params]
        dtype = x.dtype
        if dtype in NARROW:
            x, states = x.float(), [s.float() for s in states]
            more = [m.float() for m in more]
        tensors = in_one_dtype(tensors, dtype, x.dtype)
        checks.on_one_device([*tensors, *states], x, "a parameter or a state is")
        x = x.unsqueeze(0)
        if self._is_plain:
            y, last = run_engine(self._plain_key, tensors, x, states, None, False)
        else:
            inputs = self._own.inputs(x, more)
            results = self._own.run(self._plain_key, tensors, inputs, states, None, False)
            y, last = results[0][0], results[1]
        y = y.squeeze(0)
        if not batched:
            y, last = y.squeeze(0), [s.squeeze(0) for s in last]
        if y.dtype != dtype:
            y, last = y.to(dtype), [s.to(dtype) for s in last]
        return y, last[0] if len(last) == 1 else tuple(last)

    def extra_repr(self) -> str:
        return f"{self.cell.name}, {self.input_size}, {self.hidden_size}"


# --- parameters and what is given --------------------------------------------------------------


def _a_cell(value: Any) -> DeclaredCell:
    if not isinstance(value, DeclaredCell):
        raise ArgumentTypeError(
            f"cell must be a derive.Cell, not {kind_text(value)}", hint="derive.cells.lstm()"
        )
    data_input(value)
    if not value.states:
        raise ArgumentError(f"{value.name} has no state")
    return value


def _sizes(
    cell: DeclaredCell, input_size: Any, hidden_size: Any, sizes: dict[str, int]
) -> dict[str, int]:
    """The length of each dimension, for sizes_of_layers."""
    widths = ("input_size", input_size), ("hidden_size", hidden_size)
    return module_sizes(cell, data_input(cell), widths, sizes)


def _plain(size: Any) -> Any:
    return tuple(size) if isinstance(size, list) else size


def _shapes(
    cell: DeclaredCell, sizes: Mapping[str, int]
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Of each state and of the input, without rows and steps."""
    states = tuple(lengths_of(axes, sizes) for axes in cell.states.values())
    return states, lengths_of(cell.inputs[data_input(cell)], sizes)


def _register(
    module: nn.Module, cell: DeclaredCell, sizes: Mapping[str, int], suffix: str,
    fixed: Mapping[str, Any] | None, made: dict[str, Any],
) -> None:  # fmt: skip
    """Parameters, and fixed arrays as buffers, of one layer and direction."""
    arrays = fixed_arrays(cell, sizes, fixed, np.dtype("float64"))
    for name, axes in cell.params.items():
        shape = lengths_of(axes, sizes)
        if name in arrays:
            kind = made["dtype"] or torch.get_default_dtype()
            buffer = torch.from_numpy(arrays[name]).to(device=made["device"], dtype=kind)
            module.register_buffer(f"{name}{suffix}", buffer)
        elif getattr(module, "bias", True) or not _is_bias(name, shape):
            module.register_parameter(f"{name}{suffix}", nn.Parameter(torch.empty(shape, **made)))


def _starts(
    module: nn.Module, cell: DeclaredCell, suffix: str, shapes: Sequence[Any], rows: int, x: Tensor
) -> list[Tensor]:
    """First states where none was given: what was learned, or zeros."""
    found = []
    for name, shape in zip(cell.states, shapes, strict=True):
        learned = cell.checked.learned.get(name)
        start = None if learned is None else getattr(module, f"{learned}{suffix}", None)
        if start is None:
            found.append(x.new_zeros(rows, *shape))
        else:
            found.append(start.to(x.dtype).expand(rows, *shape))
    return found


def _once(
    cell: DeclaredCell, sizes: Mapping[str, int], once: Any, rows: int, batched: bool, x: Tensor
) -> list[Tensor]:
    """Inputs that do not change with time, [B, width]."""
    found = []
    for name, value in once_arrays(cell, once).items():
        label, shape = f"input {name}", lengths_of(cell.inputs[name], sizes)
        value = checks.tensor_of(value, label)
        checks.shape_fits(value, label, (rows, *shape) if batched else shape)
        value = checks.as_x_is(value, label, x)
        checks.on_one_device([value], x, f"{label} is")
        found.append(value if batched else value.unsqueeze(0))
    return found


def _is_bias(name: str, shape: Sequence[int]) -> bool:
    return len(shape) == 1 and (name == "b" or name.startswith("b_"))


def _start(module: nn.Module, cell: DeclaredCell) -> None:
    starts = cell.checked.starts
    for name, parameter in module.named_parameters():
        base = name if name in cell.params else name.rpartition("_l")[0]
        if base in starts and parameter.device.type != "meta":
            random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
            value = draw(starts[base], tuple(parameter.shape), random, base)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(value))
            continue
        if parameter.dim() > 1:
            bound = math.sqrt(6 / max(sum(parameter.shape[-2:]), 1))
        else:
            bound = 1 / math.sqrt(max(parameter.shape[0], 1))
        nn.init.uniform_(parameter, -bound, bound)
