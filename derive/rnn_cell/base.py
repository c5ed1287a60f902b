"""RNNCell: what all classes share, and the wiring between a class and its Cell.

In: a `Wiring`: the Cell, and TensorFlow's names and structures for its arrays.
Out: state_size, output_size, zero_state, build, variables, set_variables, and one step.
Not here: equations (derive/catalogue/), the classes (core_cells.py, contrib_cells.py, wrappers.py),
whole sequences (drivers.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import (
    MOST,
    check_room,
    closest,
    kind_text,
    no_room,
    read,
    shape_text,
    to_array,
    to_count,
    to_generator,
    to_width,
    zeros,
)
from derive.kernel.signature import Array, Arrays, Dim
from derive.layers.held import Held
from derive.layers.sequence import kernel_for
from derive.rnn_cell.layout import Variable, pack, unpack
from derive.rnn_cell.masks import Mask
from derive.rnn_cell.structure import Template, built, flattened, leaves, sizes_of

#: Parts of TensorFlow's names that say where a variable stands, not which one it is; those
#: that end in _cell besides.
_SCOPES = ("rnn", "fw", "bw", "bidirectional_rnn", "stack_bidirectional_rnn")


@dataclass(frozen=True, slots=True)
class Wiring:
    """A class of TensorFlow as one Cell.

    inputs: names of the data inputs, in the order of the inputs' structure.  output: the key of
    the output.  state: the structure of the state.  sizes: lengths of the dimensions that are
    known before the first input.  masks: what draws the other inputs.
    """

    cell: Cell
    inputs: tuple[str, ...]
    output: str
    state: Template
    variables: tuple[Variable, ...]
    sizes: Mapping[str, int]
    masks: Mapping[str, Mask] = field(default_factory=dict)

    def length(self, dim: Dim) -> int:
        return dim if isinstance(dim, int) else self.sizes[dim]

    def state_widths(self) -> dict[str, int]:
        return {name: self.length(self.cell.states[name][0]) for name in leaves(self.state)}

    def output_width(self) -> int:
        return self.length(self.cell.outputs[self.output][0])

    def input_dims(self) -> tuple[Dim, ...]:
        return tuple(self.cell.inputs[name][0] for name in self.inputs)

    def with_input_widths(self, widths: tuple[int, ...]) -> dict[str, int]:
        """All sizes, given the widths of the data inputs; an error where one does not fit."""
        sizes = dict(self.sizes)
        for name, dim, width in zip(self.inputs, self.input_dims(), widths, strict=True):
            known = dim if isinstance(dim, int) else sizes.setdefault(dim, width)
            if known != width:
                raise ArgumentError(
                    f"inputs of {self.cell.name} have the wrong width",
                    facts=(f"{name} has width {dim} = {known}, given {width}",),
                )
        return sizes


class RNNCell:
    """A recurrent cell by TensorFlow's names: `output, new_state = cell(inputs, state)`."""

    def __init__(self, wiring: Wiring, *, name: str | None = None, dtype: Any = None) -> None:
        self._wiring = wiring
        self._dtype = None if dtype is None else float_dtype(dtype)
        self._sizes: dict[str, int] | None = None
        self._values: Arrays = {}
        self.name = name or type(self).__name__

    @property
    def wiring(self) -> Wiring:
        """The Cell behind this class and how its arrays are named."""
        return self._wiring

    @property
    def layers(self) -> tuple[tuple[tuple[int, ...], RNNCell], ...]:
        """(path, cell) of what runs one after the other; one with path () but in MultiRNNCell."""
        return (((), self),)

    def state_layout(self) -> tuple[Template, dict[str, int]]:
        """The structure of the state and the widths of its parts, by names."""
        return self.wiring.state, self.wiring.state_widths()

    @property
    def state_size(self) -> Any:
        return sizes_of(*self.state_layout())

    @property
    def output_size(self) -> int:
        return self.wiring.output_width()

    @property
    def built(self) -> bool:
        return self._sizes is not None

    def __repr__(self) -> str:
        return f"<{self.name}: state {self.state_size}, output {self.output_size}>"

    def zero_state(self, batch_size: int, dtype: Any = np.float32) -> Any:
        """Zeros [batch_size, size] in the structure of `state_size`."""
        rows, kind = to_count(batch_size, "batch_size", most=MOST), float_dtype(dtype)
        template, widths = self.state_layout()
        arrays = {n: zeros((rows, width), kind, f"state {n}") for n, width in widths.items()}
        return built(template, arrays)

    # --- variables ---------------------------------------------------------------------------

    def build(self, input_width: Any = None, *, dtype: Any = None, seed: Any = None) -> None:
        """Draw the variables for inputs of this width; a tuple of widths for several inputs.

        seed: an integer or a numpy.random.Generator. A cell that is built stays as it is.
        """
        widths = self._widths(input_width)
        if self.built:
            self._check_width(widths)
            return
        sizes = self._wiring.with_input_widths(widths)
        kind = self._dtype if dtype is None else float_dtype(dtype)
        kind = np.dtype(np.float32) if kind is None else kind
        random = to_generator(seed)
        values: Arrays = {}
        for variable in self._wiring.variables:
            shape = variable.shape(self._wiring.cell.params, sizes)
            check_room(f"variable {variable.name}", shape, np.dtype(np.float64).itemsize)
            try:
                values[variable.name] = variable.draw(shape, random, values)
            except MemoryError as error:
                raise no_room(f"variable {variable.name}", shape, error) from error
        self._values = {name: array.astype(kind) for name, array in values.items()}
        self._sizes = sizes

    @property
    def variables(self) -> Arrays:
        """{name: array} in TensorFlow's layout; the arrays themselves, not copies.

        `cell.variables[name] = value` is `cell.set_variables({name: value})`."""
        self._need_variables()
        return Held(lambda: self._values, self.set_variables)

    def set_variables(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Set some or all variables, by the names of `variables` or TensorFlow's full ones.

        A cell that is not built yet is built for the input width that the arrays tell. Arrays
        are copied and keep their dtype where it is float32 or float64.
        """
        given: dict[str, Any] = {}
        for key, value in given_arrays(values, named):
            if (name := self._known(key)) in given:
                raise ArgumentError(
                    f"variable {name} of {self.name} is given twice", facts=(f"once as {key!r}",)
                )
            given[name] = value
        if not self.built:
            self.build(self._told_width(given))
        new = {}
        for key, value in given.items():
            array = _float_array(value, f"variable {key}")
            wanted = self.variables[key].shape
            if array.shape != wanted:
                raise ArgumentError(
                    f"variable {key} has the wrong shape",
                    facts=(f"{key} is {shape_text(wanted)}, given {shape_text(array.shape)}",),
                )
            new[key] = array
        self._set(new)

    def parameters(self) -> Arrays:
        """The variables as the kernel's parameters, by the names of the equations."""
        sizes = self.sizes
        wiring = self.wiring
        return unpack(wiring.variables, dict(self.variables), wiring.cell.params, sizes)

    def gradients(self, params: Arrays) -> Arrays:
        """Gradients of the variables from those of the kernel's parameters."""
        return pack(self.wiring.variables, params, self.variables)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Lengths of all dimensions, once built."""
        self._need_variables()
        assert self._sizes is not None
        return self._sizes

    def _set(self, values: Arrays) -> None:
        self._values |= values

    def _need_variables(self) -> None:
        if not self.built:
            raise ArgumentError(f"{self.name} has no variables yet", hint="cell.build(input_width)")

    def _variable_names(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self.wiring.variables)

    def _known(self, given: str) -> str:
        """The name that `given` means: scopes are dropped, aliases looked up."""
        if not isinstance(given, str):
            raise ArgumentTypeError(f"{given!r} is no name of a variable")
        parts = given.removesuffix(":0").split("/")
        short = "/".join(p for p in parts if p not in _SCOPES and not p.endswith("_cell"))
        for variable in self.wiring.variables:
            if short == variable.name or short in variable.aliases:
                return variable.name
        names = self._variable_names()
        raise ArgumentError(
            f"{self.name} has no variable {given!r}",
            facts=(f"it has {', '.join(names)}",),
            hint=closest(short, names),
        )

    def _told_width(self, given: Mapping[str, Any]) -> Any:
        """The widths of the inputs, as far as the shapes of variables tell them."""
        wiring = self.wiring
        sizes = dict(wiring.sizes)
        for variable in wiring.variables:
            dims = [wiring.cell.params[row[0]] for row in variable.table]
            unknown = [d[1] for d in dims if len(d) == 2 and d[1] not in sizes and d[1] != 1]
            if variable.name in given and len(unknown) == 1 and isinstance(unknown[0], str):
                rows = len(np.atleast_1d(read(given[variable.name], f"variable {variable.name}")))
                others = sum(wiring.length(d[1]) for d in dims if d[1] != unknown[0])
                if rows < others:
                    raise ArgumentError(
                        f"variable {variable.name} has the wrong shape",
                        facts=(f"it has {rows} rows, and {others} of them belong to the state",),
                    )
                sizes[unknown[0]] = rows - others
        if any(isinstance(dim, str) and dim not in sizes for dim in wiring.input_dims()):
            self._need_variables()
        return tuple(d if isinstance(d, int) else sizes[d] for d in wiring.input_dims())

    def _widths(self, given: Any) -> tuple[int, ...]:
        dims = self.wiring.input_dims()
        if given is None:
            open_dims = [d for d in dims if isinstance(d, str) and d not in self.wiring.sizes]
            if open_dims:
                raise ArgumentError(
                    f"{self.name} needs the width of its inputs", hint="cell.build(8)"
                )
            return tuple(self.wiring.length(dim) for dim in dims)
        if isinstance(given, (tuple, list)):
            widths = tuple(to_width(width, "input_width") for width in given[-len(dims) :])
        else:  # of the last input; what stands before it has a width of its own
            fixed = tuple(dim for dim in dims[:-1] if isinstance(dim, int))
            widths = (*fixed, to_width(given, "input_width"))
        if len(widths) != len(dims):
            raise ArgumentError(
                f"{self.name} has {len(dims)} inputs, {len(widths)} widths were given"
            )
        return widths

    def _check_width(self, widths: tuple[int, ...]) -> None:
        for name, dim, width in zip(
            self.wiring.inputs, self.wiring.input_dims(), widths, strict=True
        ):
            known = dim if isinstance(dim, int) else self.sizes[dim]
            if known != width:
                raise ArgumentError(
                    f"{self.name} was built for inputs of width {known}, given {width}",
                    facts=(f"input {name}",),
                )

    # --- inputs that are integers ------------------------------------------------------------

    @property
    def looks_up(self) -> bool:
        """Whether inputs are integers, of which rows of a variable are read."""
        return False

    def looked_up(self, inputs: Any, dtype: str) -> Any:
        """What the equations read: the inputs, or the rows that integers stand for."""
        return inputs

    def pull_lookup(self, inputs: Any, d: Array) -> tuple[Any, Arrays]:
        """(gradient of the inputs, of variables), from that of what was looked up."""
        return d, {}

    # --- one step ----------------------------------------------------------------------------

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Array, Any]:
        """One step: `output, new_state = cell(inputs, state)`; inputs [B, width]."""
        kind = dtype_of(inputs, self)
        arrays = self.named_inputs(self.looked_up(inputs, kind), kind)
        rows = next(iter(arrays.values())).shape[0]
        wiring = self.wiring  # known for certain once the inputs are
        for name, mask in wiring.masks.items():
            width = self.length(wiring.cell.inputs[name][0])
            arrays[name] = mask.of_step(rows, width)
        states = flattened(wiring.state, state, wiring.state_widths())
        kernel = kernel_for(wiring.cell, kind)
        output, new = kernel.step(self.parameters(), arrays, states)
        return (output[wiring.output] if isinstance(output, dict) else output), built(
            wiring.state, new
        )

    def length(self, dim: Dim) -> int:
        return dim if isinstance(dim, int) else self.sizes[dim]

    def named_inputs(self, inputs: Any, dtype: str) -> Arrays:
        """{name: array} of the data inputs; builds the cell where that is still to be done."""
        names = self.wiring.inputs
        parts = (inputs,) if len(names) == 1 else inputs
        if not isinstance(parts, (tuple, list)) or len(parts) != len(names):
            raise ArgumentTypeError(
                f"inputs of {self.name} are a tuple of {len(names)} arrays: {', '.join(names)}"
            )
        arrays = {
            name: to_array(part, f"input {name}", np.dtype(dtype))
            for name, part in zip(names, parts, strict=True)
        }
        for name, array in arrays.items():
            if array.ndim < 2:
                raise ArgumentError(
                    f"input {name} has the wrong shape", facts=(f"given {shape_text(array.shape)}",)
                )
        self.build(tuple(array.shape[-1] for array in arrays.values()), dtype=self._dtype or dtype)
        return arrays


def check_cell(cell: Any) -> None:
    """ArgumentTypeError for what is no RNNCell: a name, a Cell of equations, a class."""
    if not isinstance(cell, RNNCell):
        shown = f"the text {cell!r}" if isinstance(cell, str) else kind_text(cell)
        raise ArgumentTypeError(
            f"a cell must be an RNNCell, not {shown}", hint="derive.rnn_cell.LSTMCell(128)"
        )


def given_arrays(values: Any, named: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """(name, array) of the arguments of `set_variables`."""
    if not isinstance(values, Mapping | None):
        raise ArgumentTypeError(
            f"values must be a mapping from names to arrays, not {kind_text(values)}",
            hint="cell.set_variables({name: array})",
        )
    return [*(values or {}).items(), *named.items()]


def float_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64, or the error that says so."""
    kind: np.dtype[Any]
    try:
        kind = np.dtype(object if dtype is None else dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        kind = np.dtype(object)
    if kind.name not in ("float32", "float64"):
        raise ArgumentTypeError(
            f"a cell computes in float32 or float64, not {dtype!r}", hint="dtype=np.float32"
        )
    return kind


def dtype_of(inputs: Any, cell: RNNCell | None = None, dtype: Any = None) -> str:
    """What to compute in: what was asked for, or what the inputs are, or the cell's own."""
    if dtype is not None:
        return float_dtype(dtype).name
    several = cell is not None and len(cell.layers[0][1].wiring.inputs) > 1
    parts = isinstance(inputs, tuple) or (several and isinstance(inputs, list))
    last = inputs[-1] if parts and inputs else inputs
    try:
        kind = np.asarray(last).dtype.name
    except Exception:  # to_array tells what is wrong with it
        kind = ""
    if kind in ("float32", "float64"):
        return kind
    own = None if cell is None else cell._dtype
    return "float32" if own is None else own.name


def _float_array(value: Any, label: str) -> Array:
    kind = np.asarray(value).dtype if isinstance(value, np.ndarray) else np.dtype(np.float64)
    kind = kind if kind.name in ("float32", "float64") else np.dtype(np.float64)
    array = to_array(value, label, kind)
    return array.copy() if array is value else array
