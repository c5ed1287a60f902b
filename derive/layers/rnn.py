"""RNN: any cell in layers and directions, over batches of sequences, with its parameters.

In: a Cell and its sizes.  Out: `RNN`, with forward, backward, streaming steps, save and load.
Not here: what one cell does (kernel/kernel.py), ends of rows and fresh starts (sequence.py).

    rnn = RNN(derive.cells.lstm(), num_layers=2, bidirectional=True, I=8, H=16)
    run = rnn.forward(x, lengths=lengths)          # x [T, B, 8]; run.output [T, B, 32]
    grads = rnn.backward(run, d_output)            # grads.params, grads.inputs, grads.states

Parameters are called NAME_l0, NAME_l1, ...; those of the backward direction end in _reverse.
States lie as PyTorch's: {name: [num_layers * directions, B, width]}, both directions of the
first layer first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive import targets
from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel import Gradients
from derive.kernel.convert import (
    closest,
    kind_text,
    read,
    shape_text,
    to_array,
    to_count,
    to_flag,
    to_generator,
    to_lengths,
)
from derive.kernel.signature import Array, Arrays, Sizes
from derive.layers import checkpoint
from derive.layers.at_once import AtOnce, Found, dropped, summed
from derive.layers.given import (
    array_of_x,
    drawn_masks,
    fixed_arrays,
    name_of,
    once_arrays,
    probability,
    state_arrays,
)
from derive.layers.held import Held
from derive.layers.sequence import (
    PAST_END,
    Sequence,
    by_time,
    kernel_of,
    plan,
    run_sequence,
    unknown_past_end,
    using,
)
from derive.layers.sizes import data_input, dims_of, lengths_of, sizes_of_layers

#: More are a slip, and would take long to tell.
_MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class LayersRun:
    """output: [T, B, width * directions] (or batch first); states: after each row's last step."""

    output: Array
    states: Arrays
    _rnn: RNN = field(repr=False)
    _sequences: tuple[Sequence, ...] = field(repr=False)
    _training: bool = field(repr=False)
    _found: Found | None = field(repr=False, default=None)


class RNN:
    """A cell in `num_layers` layers, each reading the output of the one below.

    cell: a Cell with one input that changes with time; its first output goes up.  num_layers,
    bidirectional, batch_first: as PyTorch's.  dropout: the probability to drop an output on its way
    to the next layer, in training.  past_end: "zero", "last" or "computed" (sequence.py).  dtype:
    "float32" or "float64".  target: the name of one, such as "c" or "numpy"; None: C where a
    compiler is there, NumPy otherwise.
    seed: of the parameters and of the dropout; an integer or a numpy.random.Generator.
    fixed: {name: array} of the cell's fixed arrays, the same for all layers and directions.
    sizes: a length for each dimension of the cell, I=8, H=16.
    """

    def __init__(
        self,
        cell: Cell,
        num_layers: int = 1,
        bidirectional: bool = False,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        past_end: str = "zero",
        dtype: Any = "float32",
        target: str | None = None,
        threads: int = 1,
        seed: Any = 0,
        fixed: Mapping[str, Any] | None = None,
        **sizes: int,
    ) -> None:
        if not isinstance(cell, Cell):
            raise ArgumentTypeError(
                f"cell must be a derive.Cell, not {kind_text(cell)}", hint="derive.cells.lstm()"
            )
        self._x = data_input(cell)
        self.cell = cell
        self.num_layers = to_count(num_layers, "num_layers", most=_MOST_LAYERS)
        if not self.num_layers:
            raise ArgumentError("num_layers must be positive", hint="num_layers=1")
        self.bidirectional = to_flag(bidirectional, "bidirectional")
        self.batch_first = to_flag(batch_first, "batch_first")
        self.dropout = probability(dropout)
        self.past_end = past_end
        if not isinstance(past_end, str) or past_end not in PAST_END:
            raise unknown_past_end(past_end)
        if not isinstance(target, str | None):
            raise ArgumentTypeError(
                f"target is {targets.in_words()} or None, not {kind_text(target)}",
                hint=f'target="{targets.by_preference()[0].name}"',
            )
        self._using = target, to_count(threads, "threads", least=1)
        kernel = kernel_of(cell, name_of(dtype), *self._using)
        self.dtype = kernel.dtype
        self._key = next(iter(cell.outputs))
        self._random = to_generator(seed)
        self._sizes = sizes_of_layers(cell, sizes, self.num_layers, self.directions)
        using = kernel.target, self.dtype.name, self._using[1]
        self._at_once = AtOnce(cell, self._sizes, self.directions, using, self._x, self._key)
        self._params: list[Arrays] = []
        for layer, _ in self._places():
            start = int(self._random.integers(2**31))
            named = {dim: self._sizes[layer][dim] for dim in dims_of(cell.params.values())}
            self._params.append(kernel.init(named, seed=start))
            own = fixed_arrays(cell, self._sizes[layer], fixed, self.dtype)
            self._params[-1] |= own
        self.state: Arrays | None = None

    @classmethod
    def from_torch(cls, module: Any, **options: Any) -> RNN:
        """The RNN that computes what a torch.nn.LSTM, GRU or RNN does, with its parameters.

        options: of RNN, beyond those that the module tells, such as target and threads.
        """
        from derive.layers import torch_modules

        cell, told = torch_modules.options_of(module)
        rnn = cls(cell, **{**told, **options})
        rnn.set_params(torch_modules.params_of(module, cell))
        return rnn

    def to_torch(self) -> Any:
        """A torch.nn.LSTM, GRU or RNN with these parameters; the second bias is zero where the cell
        has one. ArgumentError where torch.nn has no such module."""
        from derive.layers import torch_modules

        return torch_modules.module_of(self)

    def __repr__(self) -> str:
        ways = "both directions" if self.bidirectional else "one direction"
        return f"<RNN of {self.cell.name}: {self.num_layers} layers, {ways}>"

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """The last axis of the output: all directions side by side."""
        return self.output_shape[-1]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The axes of x behind steps and rows."""
        return lengths_of(self.cell.inputs[self._x], self._sizes[0])

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The axes of the output behind steps and rows."""
        *others, last = lengths_of(self.cell.outputs[self._key], self._sizes[-1])
        return (*others, last * self.directions)

    # --- parameters --------------------------------------------------------------------------

    @property
    def params(self) -> Arrays:
        """{NAME_l0: array, NAME_l0_reverse: array, ...}; the arrays themselves, not copies.

        `rnn.params[name] = value` is `rnn.set_params({name: value})`."""
        return Held(lambda: self._named(self._params), self.set_params)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Set some or all parameters; they are copied."""
        if not isinstance(params, Mapping):
            raise ArgumentTypeError(
                f"params must be a mapping from names to arrays, not {kind_text(params)}",
                hint="rnn.set_params({name: array})",
            )
        own = self.params
        new = {}
        for name, value in params.items():
            if name not in own:
                raise ArgumentError(
                    f"{self!r} has no parameter {name!r}",
                    facts=(f"it has {', '.join(own)}",),
                    hint=closest(name, own),
                )
            array = to_array(value, f"parameter {name}", self.dtype)
            if array.shape != own[name].shape:
                raise ArgumentError(
                    f"parameter {name} has the wrong shape",
                    facts=(
                        f"it is {shape_text(own[name].shape)}, given {shape_text(array.shape)}",
                    ),
                )
            new[name] = array.copy()
        for k, place in enumerate(self._places()):
            names = {_suffixed(name, place): name for name in self.cell.params}
            self._params[k] |= {names[n]: array for n, array in new.items() if n in names}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters to a .npz or .safetensors file, with a digest of the equations."""
        checkpoint.save(path, self.params, self.cell)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take over all parameters of a file that `save` wrote for a cell of these equations."""
        found = checkpoint.load(path, self.cell)
        if missing := [name for name in self.params if name not in found]:
            raise ArgumentError(
                f"{os.fspath(path)} lacks the parameter {missing[0]}",
                facts=(f"it has {', '.join(found)}",),
            )
        self.set_params(found)

    # --- sequences ---------------------------------------------------------------------------

    def forward(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        *,
        resets: Any = None,
        training: bool = True,
        remat: str | None = None,
        once: Mapping[str, Any] | None = None,
    ) -> LayersRun:
        """All layers over all steps.

        x: [T, B, I], or [B, T, I] if batch_first.  state: {name: [layers * directions, B,
        width]}, or an array where the cell has one state; where left out, zeros, or what the cell
        has learned to start from.  lengths: [B].  once: {name: [B, width]} of the inputs that do
        not change with time; every layer and direction reads them.
        resets: booleans, axes as x's; a row starts afresh before that step.
        training: drop outputs, and keep what `backward` needs.  remat: as Kernel.forward's.
        """
        training = to_flag(training, "training")
        array = self._swapped(self._array_of_x(x, "TB"))
        if resets is not None:
            resets = by_time(resets, array.shape[0], array.shape[1], swap=self.batch_first)
        rows = array.shape[1]
        start = self._states_given(state, rows)
        more = once_arrays(self.cell, once)
        if lengths is not None:
            lengths = to_lengths(lengths, Sizes(array.shape[0], rows, {}))
        masks: dict[int, Array] = {}
        if training and self.dropout:
            of_x = [lengths_of(self.cell.inputs[self._x], sizes) for sizes in self._sizes]
            masks = drawn_masks(self._random, self.dropout, array.shape[:2], of_x, self.dtype)
        if remat is None and resets is None and (lengths is None or self.past_end == "zero"):
            found = self._at_once.forward(self._params, array, start, lengths, masks, training)
            if found is not None:
                return self._run_of(found, masks, training)
        sequences: list[Sequence] = []
        with using(*self._using):
            for layer in range(self.num_layers):
                cell, inputs = self.cell, {self._x: array, **more}
                if layer in masks:
                    cell, mask = dropped(cell, self._x)
                    inputs[mask] = masks[layer]
                for direction in range(self.directions):
                    k = layer * self.directions + direction
                    sequences.append(
                        run_sequence(
                            cell,
                            self._params[k],
                            inputs,
                            {name: array[k] for name, array in start.items()},
                            dtype=self.dtype.name,
                            lengths=lengths,
                            reverse=bool(direction),
                            past_end=self.past_end,
                            resets=resets,
                            training=training,
                            remat=remat,
                        )
                    )
                array = self._joined([s.outputs for s in sequences[-self.directions :]])
        states = {n: np.stack([s.states[n] for s in sequences]) for n in self.cell.states}
        return LayersRun(self._swapped(array), states, self, tuple(sequences), training)

    def _run_of(self, found: Found, masks: Mapping[int, Array], training: bool) -> LayersRun:
        """The run of a call of all layers at once."""
        sequences = []
        for k, of_layer in enumerate(found.layers if training else ()):
            layer = k // self.directions
            cell = dropped(self.cell, self._x)[0] if layer in masks else self.cell
            kernel = kernel_of(cell, self.dtype.name, *self._using)
            made = kernel.run_of(*of_layer)
            sequences.append(
                Sequence(made.outputs, made.states, plan(cell, "zero", False), kernel, made, None)
            )
        output = self._swapped(found.output)
        kept = found if training else None
        return LayersRun(output, found.states, self, tuple(sequences), training, kept)

    def backward(self, run: LayersRun, d_output: Any = None, d_states: Any = None) -> Gradients:
        """Gradients of params, inputs ({name: array}) and initial states, as they are given.

        d_output: as the output; d_states: as states. Left out means zero.
        """
        if not isinstance(run, LayersRun) or run._rnn is not self:
            raise ArgumentTypeError(
                "run must be what forward of this RNN returned", hint="run = rnn.forward(x)"
            )
        if not run._training:
            raise ArgumentError(
                "the run kept nothing that backward needs",
                facts=("it was made with training=False",),
                hint="rnn.forward(x)",
            )
        rows = next(iter(run.states.values())).shape[1] if run.states else 0
        d_last = {} if d_states is None else self._states_given(d_states, rows, "d_states")
        d: Any = None
        if d_output is not None:
            d = to_array(d_output, "d_output", self.dtype)
            if d.shape != run.output.shape:
                raise ArgumentError(
                    "d_output has the wrong shape",
                    facts=(f"output is {shape_text(run.output.shape)}, "
                           f"given {shape_text(d.shape)}",),
                )  # fmt: skip
            d = self._swapped(d)
        places = range(len(run._sequences))
        found = self._at_once.gradients(run._found, run._sequences, d, d_last)
        for layer in () if found else reversed(range(self.num_layers)):
            first = layer * self.directions
            parts = [None] * self.directions if d is None else np.split(d, self.directions, axis=-1)
            for k, part in enumerate(parts, start=first):
                last = {name: array[k] for name, array in d_last.items()}
                found[k] = run._sequences[k].backward({self._key: part}, last)
            d = summed(found, range(first, first + self.directions), self._x)
        d = summed(found, range(self.directions), self._x)
        states = {n: np.stack([found[k].states[n] for k in places]) for n in self.cell.states}
        params = self._named([found[k].params for k in places])
        once = self.cell.checked.once
        inputs: Arrays = {n: np.asarray(sum(found[k].inputs[n] for k in places)) for n in once}
        return Gradients(params, {self._x: self._swapped(d), **inputs}, states)

    # --- streaming ---------------------------------------------------------------------------

    def step(self, x_t: Any, state: Any = None, *, once: Mapping[str, Any] | None = None) -> Array:
        """One step of all layers, x_t [B, I]; goes on from `self.state` and leaves it there.

        state: to go on from another one. Without either it starts as `forward` does.  once: as
        `forward`'s.
        """
        if self.bidirectional:
            raise ArgumentError(
                "a backward direction needs the whole sequence", hint="rnn.forward(x)"
            )
        array, more = self._array_of_x(x_t, "B"), once_arrays(self.cell, once)
        given = self.state if state is None else state
        start = self._states_given(given, array.shape[0])
        kernel = kernel_of(self.cell, self.dtype.name, *self._using)
        last: list[Arrays] = []
        for layer in range(self.num_layers):
            own = {name: of_all[layer] for name, of_all in start.items()}
            output, new = kernel.step(self._params[layer], {self._x: array, **more}, own)
            array = output[self._key] if isinstance(output, dict) else output
            last.append(new)
        self.state = {name: np.stack([new[name] for new in last]) for name in self.cell.states}
        return array

    def reset_state(self, rows: Any = None) -> None:
        """Forget the state of `step`, of all rows or of those given (indices or booleans): they
        start afresh as `forward` does."""
        if rows is None or self.state is None:
            self.state = None
            return
        state = {name: array.copy() for name, array in self.state.items()}
        learned = self.cell.checked.learned
        for name, array in state.items():
            start = learned.get(name)
            try:
                for layer, of_layer in enumerate(array):
                    of_layer[read(rows, "rows")] = self._params[layer][start] if start else 0
            except IndexError as error:
                raise ArgumentError(
                    f"rows are none of the {array.shape[1]} rows of the state",
                    facts=(str(error),),
                    hint="rnn.reset_state([0])",
                ) from error
        self.state = state

    # --- places, widths, shapes --------------------------------------------------------------

    def _places(self) -> list[tuple[int, int]]:
        return [(k, d) for k in range(self.num_layers) for d in range(self.directions)]

    def _named(self, groups: list[Arrays]) -> Arrays:
        pairs = zip(self._places(), groups, strict=True)
        return {_suffixed(n, place): a for place, group in pairs for n, a in group.items()}

    def _array_of_x(self, x: Any, ahead: str) -> Array:
        letters = tuple(reversed(ahead) if self.batch_first else ahead)
        return array_of_x(self.cell, self._sizes[0], x, self.dtype, letters)

    def _states_given(self, state: Any, rows: int, what: str = "state") -> Arrays:
        places = len(self._params)
        return state_arrays(self.cell, self._sizes[0], state, places, rows, self.dtype, what)

    def _joined(self, outputs: list[Arrays]) -> Array:
        arrays = [each[self._key] for each in outputs]
        return np.concatenate(arrays, axis=-1) if len(arrays) > 1 else arrays[0]

    def _swapped(self, array: Array) -> Array:
        if not self.batch_first or array.ndim < 2:
            return array
        return np.ascontiguousarray(np.swapaxes(array, 0, 1))


def _suffixed(name: str, place: tuple[int, int]) -> str:
    return f"{name}_l{place[0]}{'_reverse' if place[1] else ''}"
