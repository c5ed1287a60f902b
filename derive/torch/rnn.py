"""RNN and Cell: any cell as a torch module, in layers and directions, or one step at a time.

In: a derive.Cell and sizes.  Out: modules whose parameters are called as the cell's.
Not here: what a call does (module.py), torch's own three (drop_in.py).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from derive.cell import Cell as DeclaredCell
from derive.errors import ArgumentError, ArgumentTypeError, Place
from derive.kernel.convert import kind_text, to_width
from derive.kernel.signature import Sizes
from derive.kernel.starts import draw
from derive.language import declare
from derive.language.declaration import Output
from derive.language.names import next_of
from derive.layers.sequence import PAST_END, Plan, plan, unknown_past_end
from derive.layers.sizes import sizes_of_layers
from derive.torch import checks
from derive.torch.engine import engine_of
from derive.torch.module import NARROW, Stack, in_one_dtype, run_engine
from derive.torch.running import sequence


class RNN(Stack):
    """Any cell in `num_layers` layers: y, state = rnn(x, state).

    cell: with one data input; its first output goes up.  input_size, hidden_size: the widths of the
    input and of the first state; any other dimension of the cell by its name, P=64.
    num_layers, batch_first, dropout, bidirectional: as torch.nn.LSTM's.
    bias: without, the vectors `b` and `b_...` of the cell are zero and no parameters.
    past_end: what is put out past a row's length: "zero", "last" (repeated) or "computed".
    threads: of one call; torch.get_num_threads() where left out.

    x: [T, B, input_size], or [B, T, input_size] with batch_first, or [T, input_size] of one row, or
    a PackedSequence.  state: [layers * directions, B, width], a tuple in the cell's order where it
    has several; zeros where left out.  lengths: [B] integers.  resets: [T, B] booleans, where a row
    starts afresh from a state of zero before that step.  return_states: a third result {name:
    states after each step, [layers * directions, T, B, width]}.

    Parameters are called as the cell's, with _l0, _l1_reverse: rnn.W_f_l0. bfloat16 and float16 are
    computed in float32.
    """

    def __init__(
        self, cell: DeclaredCell, input_size: int, hidden_size: int, num_layers: int = 1,
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, *, past_end: str = "zero", threads: int | None = None,
        device: Any = None, dtype: Any = None, **sizes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = _a_cell(cell)
        self._set_options(num_layers, bias, batch_first, dropout, bidirectional)
        if past_end not in PAST_END:
            raise unknown_past_end(past_end)
        self.past_end = past_end
        self.threads = checks.threads_of(threads)
        given = _sizes(self.cell, input_size, hidden_size, sizes)
        self.input_size, self.hidden_size = input_size, hidden_size
        self._sizes = sizes_of_layers(self.cell, given, self.num_layers, self.directions)
        lengths = self._sizes[0]
        self._state_names = tuple(self.cell.states)
        self._state_sizes = tuple(_length(d, lengths) for (d,) in self.cell.states.values())
        self._output_size = _length(next(iter(self.cell.outputs.values()))[0], self._sizes[-1])
        made = {"device": device, "dtype": dtype}
        for layer, _, suffix in self._places():
            for name, shape in self.cell.params.items():
                axes = [_length(dim, self._sizes[layer]) for dim in shape]
                if self.bias or not _is_bias(name, axes):
                    value = nn.Parameter(torch.empty(axes, **made))
                    self.register_parameter(f"{name}{suffix}", value)
        self.reset_parameters()
        self._prepare()

    def _prepare(self) -> None:
        """The key of the cell that runs where nothing but outputs and last states is asked for."""
        self._plain_key = _key(self.cell, self.threads)

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
                like.new_zeros([_length(d, self._sizes[layer]) for d in shape]) if v is None else v
                for v, shape in zip(found, shapes, strict=True)
            ]
        return found

    def forward(
        self, input: Any, state: Any = None, *, lengths: Any = None, resets: Any = None,
        return_states: bool = False,
    ) -> Any:  # fmt: skip
        """Output and last state; see the class."""
        return self._forward(input, state, lengths, resets, return_states)

    def _run(
        self, layer: int, tensors: list[Tensor], x: Tensor, states: list[Tensor],
        lengths: Tensor | None, resets: Tensor | None, reverse: bool, return_states: bool,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
        past_end = self.past_end if lengths is not None else "zero"
        if past_end == "zero" and resets is None and not return_states:
            y, last = run_engine(self._plain_key, tensors, x, states, lengths, reverse)
            return y, last, []
        return _composed(
            self.cell, self.threads, tensors, x, states, lengths, resets, reverse, past_end,
            return_states,
        )  # fmt: skip

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
    order where it has several; zeros where left out. Parameters are called as the cell's.
    """

    def __init__(
        self, cell: DeclaredCell, input_size: int, hidden_size: int, *, threads: int | None = None,
        device: Any = None, dtype: Any = None, **sizes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = _a_cell(cell)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.threads = checks.threads_of(threads)
        lengths = sizes_of_layers(
            self.cell, _sizes(self.cell, input_size, hidden_size, sizes), 1, 1
        )[0]
        self._state_names = tuple(self.cell.states)
        self._state_sizes = tuple(_length(d, lengths) for (d,) in self.cell.states.values())
        for name, shape in self.cell.params.items():
            axes = [_length(dim, lengths) for dim in shape]
            value = nn.Parameter(torch.empty(axes, device=device, dtype=dtype))
            self.register_parameter(name, value)
        self.reset_parameters()
        self._plain_key = _key(self.cell, self.threads)

    def reset_parameters(self) -> None:
        """As the cell says; else matrices uniform in +-sqrt(6 / (rows + columns)), vectors in
        +-1 / sqrt(width)."""
        _start(self, self.cell)

    def forward(self, input: Any, state: Any = None) -> Any:
        """Output and next state; see the class."""
        x = checks.tensor_of(input, "x")
        checks.shape_fits(x, "x", ("B", self.input_size) if x.dim() == 2 else (self.input_size,))
        batched = x.dim() == 2
        x = x if batched else x.unsqueeze(0)
        rows = x.shape[0]
        if state is None:
            states = [x.new_zeros(rows, size) for size in self._state_sizes]
        else:
            states = self._states_given(state, rows, batched, x)
        tensors = [getattr(self, name) for name in self.cell.params]
        dtype = x.dtype
        if dtype in NARROW:
            x, states = x.float(), [s.float() for s in states]
        tensors = in_one_dtype(tensors, dtype, x.dtype)
        checks.on_one_device([*tensors, *states], x, "a parameter or a state is")
        y, last = run_engine(self._plain_key, tensors, x.unsqueeze(0), states, None, False)
        y = y.squeeze(0)
        if not batched:
            y, last = y.squeeze(0), [s.squeeze(0) for s in last]
        if y.dtype != dtype:
            y, last = y.to(dtype), [s.to(dtype) for s in last]
        return y, last[0] if len(last) == 1 else tuple(last)

    def _states_given(self, state: Any, rows: int, batched: bool, x: Tensor) -> list[Tensor]:
        names = self._state_names
        if len(names) == 1 and isinstance(state, Tensor):
            state = (state,)
        if not isinstance(state, (tuple, list)) or len(state) != len(names):
            shown = "a Tensor" if len(names) == 1 else f"a tuple ({', '.join(names)})"
            raise ArgumentTypeError(f"state must be {shown}, not {kind_text(state)}")
        found = []
        for name, size, value in zip(names, self._state_sizes, state, strict=True):
            label = f"state {name}"
            value = checks.tensor_of(value, label)
            checks.shape_fits(value, label, (rows, size) if batched else (size,))
            checks.same_dtype(value, label, x, "x is")
            found.append(value if batched else value.unsqueeze(0))
        return found

    def extra_repr(self) -> str:
        return f"{self.cell.name}, {self.input_size}, {self.hidden_size}"


# --- sequences with more than the cell's own equations ----------------------------------------


def _key(cell: DeclaredCell, threads: int) -> str:
    # By text: equal cells may have their parameters in another order.
    return engine_of(cell.to_text(), threads).key


@lru_cache(maxsize=256)
def _plan(cell: DeclaredCell, past_end: str, resets: bool, every: bool) -> Plan:
    """The cell that runs, with all states among its outputs if they are wanted."""
    own = plan(cell, past_end, resets)
    return replace(own, cell=_with_states(own.cell)) if every else own


def _with_states(cell: DeclaredCell) -> DeclaredCell:
    """The cell that puts out the next value of every state as well."""
    old = cell.declaration
    known = {output.name for output in old.outputs}
    nowhere = Place("<states>", 1, 1, "")
    more = [next_of(name) for name in cell.states if next_of(name) not in known]
    outputs = (*old.outputs, *(Output(name, nowhere, True) for name in more))
    return DeclaredCell.of(declare.from_declaration(replace(old, outputs=outputs), "<states>"))


def _composed(
    cell: DeclaredCell, threads: int, tensors: list[Tensor], x: Tensor, states: list[Tensor],
    lengths: Tensor | None, resets: Tensor | None, reverse: bool, past_end: str, every: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # fmt: skip
    """A sequence whose row ends and fresh starts are equations; see layers/sequence.py."""
    chosen = _plan(cell, past_end, resets is not None, every)
    running = chosen.cell
    by_name = dict(zip(cell.params, tensors, strict=True))
    steps, rows = x.shape[:2]
    inputs = {next(iter(cell.inputs)): x}
    start = dict(zip(cell.states, states, strict=True))
    order = None
    if resets is not None:
        flags = _as_it_runs(resets, lengths, reverse)
        inputs[chosen.inputs["reset"]] = flags.unsqueeze(-1).to(x.dtype)
    if past_end != "zero" and lengths is not None:
        t = torch.arange(steps).unsqueeze(1)
        inputs[chosen.inputs["alive"]] = (t < lengths).unsqueeze(-1).to(x.dtype)
        if reverse and past_end == "computed":
            order, reverse = torch.where(t < lengths, lengths - 1 - t, t), False
            inputs = {name: _permuted(tensor, order) for name, tensor in inputs.items()}
        lengths = None
    start |= {end: start[name] for name, end in chosen.ends.items()}
    key = _key(running, threads)
    widths = {dim: length for shape, value in zip(cell.params.values(), tensors, strict=True)
              for dim, length in zip(shape, value.shape, strict=True)}  # fmt: skip
    first = []
    for name, (dim,) in running.states.items():
        size = dim if isinstance(dim, int) else widths.get(dim, states[0].shape[-1])
        first.append(start[name] if name in start else x.new_zeros(rows, size))
    ordered = [by_name[name] for name in running.params]
    values = sequence(key, ordered, [inputs[n] for n in running.inputs], first, lengths, reverse)
    results = dict(
        zip((*running.outputs, *(f"last {n}" for n in running.states)), values, strict=True)
    )
    y = _permuted(results[chosen.outputs[next(iter(cell.outputs))]], order)
    last = [results[f"last {chosen.ends.get(name, name)}"] for name in cell.states]
    of_all = []
    if every:
        of_all = [
            _permuted(results[next_of(chosen.ends.get(name, name))], order) for name in cell.states
        ]
    return y, last, of_all


def _as_it_runs(resets: Tensor, lengths: Tensor | None, reverse: bool) -> Tensor:
    """Flags before the steps as they run: a backward direction starts where a segment ends."""
    if not reverse:
        return resets
    flags = torch.cat([resets[1:], torch.zeros_like(resets[:1])])
    if lengths is not None:  # no segment begins after a row's last step
        flags = flags & (torch.arange(1, len(flags) + 1).unsqueeze(1) < lengths)
    return flags


def _permuted(value: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return value
    return torch.take_along_dim(value, order.unsqueeze(-1), 0)


# --- parameters -------------------------------------------------------------------------------


def _a_cell(value: Any) -> DeclaredCell:
    if not isinstance(value, DeclaredCell):
        raise ArgumentTypeError(
            f"cell must be a derive.Cell, not {kind_text(value)}", hint="derive.cells.lstm()"
        )
    if len(value.inputs) != 1:
        raise ArgumentError(
            f"{value.name} has {len(value.inputs)} inputs, and layers pass on one",
            facts=(f"inputs: {', '.join(value.inputs) or 'none'}",),
            hint="derive.torch.run(cell, params, inputs)",
        )
    if not value.states:
        raise ArgumentError(f"{value.name} has no state")
    return value


def _sizes(
    cell: DeclaredCell, input_size: Any, hidden_size: Any, sizes: dict[str, int]
) -> dict[str, int]:
    """The length of each dimension, for sizes_of_layers."""
    x, h = (next(iter(group.values()))[0] for group in (cell.inputs, cell.states))
    given = dict(sizes)
    for dim, length, name in (
        (x, to_width(input_size, "input_size"), "input_size"),
        (h, to_width(hidden_size, "hidden_size"), "hidden_size"),
    ):
        known = dim if isinstance(dim, int) else given.setdefault(dim, length)
        if known != length:
            raise ArgumentError(
                f"{name} is {known} in {cell.name}, not {length}",
                facts=(f"its equations give that axis the width {dim}",),
            )
    return given


def _length(dim: str | int, sizes: dict[str, int]) -> int:
    return Sizes(1, 1, sizes).width(dim)


def _is_bias(name: str, shape: list[int]) -> bool:
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
        if parameter.dim() == 2:
            bound = math.sqrt(6 / max(sum(parameter.shape), 1))
        else:
            bound = 1 / math.sqrt(max(parameter.shape[0], 1))
        nn.init.uniform_(parameter, -bound, bound)
