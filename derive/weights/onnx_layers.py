"""A recurrent node of an ONNX file as something to run and to differentiate.

In: a file or a model.  Out: `OnnxLayer`: the cell and the parameters of each direction, and
`run`, which takes and gives arrays shaped as the operator's.
Not here: reading (onnx_nodes.py), equations (onnx_cells.py), parameters (exchange.py).

Letters as in the operator's text: X [T, B, I], Y [T, D, B, H], Y_h and Y_c [D, B, H] with D
directions; with layout=1 X [B, T, I], Y [B, T, D, H], Y_h and Y_c [B, D, H].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from derive.cell import Cell
from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel import Kernel, Run
from derive.kernel.convert import kind_text, shape_text
from derive.kernel.signature import Array, Arrays
from derive.layers.sequence import kernel_for
from derive.weights.exchange import load_layout
from derive.weights.onnx_cells import cell_of
from derive.weights.onnx_nodes import Node, as_layout, read_node
from derive.weights.options import options_of
from derive.weights.suggest import renamed
from derive.weights.systems import SYSTEMS, Layout
from derive.weights.traits import Traits


@dataclass(frozen=True, slots=True, eq=False)
class OnnxLayer:
    """One node. directions: ("forward",), ("reverse",) or both; cells and params follow them."""

    node: Node
    cells: tuple[Cell, ...]
    params: tuple[Arrays, ...]
    _wide: list[tuple[Arrays, ...]] = field(default_factory=list, repr=False)

    def params_in(self, dtype: Any) -> tuple[Arrays, ...]:
        """`params` for a kernel of this dtype: for float64 the biases are added in float64."""
        if np.dtype(dtype) == np.float32:
            return self.params
        if not self._wide:
            wide = {name: a.astype(np.float64) for name, a in self.node.weights.items()}
            node = replace(self.node, weights=wide)
            self._wide.append(_all_params(node, self.cells))
        return self._wide[0]

    @property
    def directions(self) -> tuple[str, ...]:
        return self.node.directions

    def run(
        self, X: Any, sequence_lens: Any = None, initial_h: Any = None, initial_c: Any = None
    ) -> OnnxRun:
        """The node on X. What is left out is what the file has; where the node has no such input,
        all steps and zeros. ArgumentError where another part of the model computes it.

        Past a row's length Y is zero, and Y_h and Y_c are those of the row's last step; of a
        row of length zero they are zero, as ONNX Runtime has it, for any initial states.
        Computed in float64 if X is that, else in float32; the results have the dtype of X.
        """
        x = _floats(X, "X", 3)
        given = {"sequence_lens": sequence_lens, "initial_h": initial_h, "initial_c": initial_c}
        if self.node.operator != "LSTM" and given.pop("initial_c") is not None:
            raise ArgumentError(f"{self.node.operator} has no initial_c")
        by_time = np.swapaxes(x, 0, 1) if self.node.layout else x
        for name in given:
            if given[name] is None:
                given[name] = self._held(name, x, by_time.shape[1])
        lengths = given.pop("sequence_lens")
        work = np.float64 if x.dtype == np.float64 else np.float32
        states = {name[-1]: self._initial(v, name, by_time.shape[1]) for name, v in given.items()}
        runs = []
        for k, (cell, params) in enumerate(zip(self.cells, self.params_in(work), strict=True)):
            kernel = kernel_for(cell, np.dtype(work).name)
            state = {name: value[k] for name, value in states.items() if value is not None}
            reverse = self.directions[k] == "reverse"
            run = kernel.forward(params, by_time, state, lengths=lengths, reverse=reverse)
            runs.append((kernel, run))
        return OnnxRun(self.node, tuple(runs), x.dtype)

    def _held(self, name: str, x: Array, rows: int) -> Array | None:
        """An input as the file has it; None where the node has no such input."""
        if name in self.node.constants or name not in self.node.wired:
            return self.node.constants.get(name)
        wired = self.node.wired[name]
        if wired.base is not None:
            shape = (rows,) if name == "sequence_lens" else self._initial_shape(rows)
            try:
                return np.array(np.broadcast_to(wired.base, shape))
            except ValueError as error:
                raise ArgumentError(
                    f"{name} of {self.node.name} has the wrong shape in the file",
                    facts=(f"{shape_text(wired.base.shape)} is repeated to {shape_text(shape)}",),
                    hint=f"run(X, {name}=...)",
                ) from error
        found = wired.value(x)
        if found is None:
            raise ArgumentError(
                f"{self.node.name} needs {name}",
                facts=(f"the file takes it from {wired.source}",),
                hint=f"run(X, {name}=...)",
            )
        return found

    def _initial_shape(self, rows: int) -> tuple[int, ...]:
        """[D, B, H], in the order of the layout."""
        shape = (len(self.directions), rows, self.node.weights["R"].shape[-1])
        return _swapped(shape, self.node.layout)

    def _initial(self, value: Any, name: str, rows: int) -> Array | None:
        """[D, B, H], from the order of the layout."""
        if value is None:
            return None
        return as_layout(_shaped(value, name, self._initial_shape(rows)), self.node.layout)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGradients:
    """Of X, of initial_h and initial_c in the node's shapes, and of each direction's params."""

    X: Array
    initial_h: Array
    initial_c: Array | None
    params: tuple[Arrays, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxRun:
    """Y, Y_h and, of an LSTM, Y_c, shaped as the operator's; and their gradients."""

    node: Node
    _runs: tuple[tuple[Kernel, Run], ...] = field(repr=False)
    _dtype: np.dtype[Any] = field(repr=False)

    @property
    def Y(self) -> Array:
        found = np.stack([run.output for _, run in self._runs], axis=1)  # [T, D, B, H]
        return self._given(np.moveaxis(found, 2, 0) if self.node.layout else found)

    @property
    def Y_h(self) -> Array:
        return self._last("h")

    @property
    def Y_c(self) -> Array | None:
        return self._last("c") if self.node.operator == "LSTM" else None

    def backward(self, d_Y: Any = None, d_Y_h: Any = None, d_Y_c: Any = None) -> OnnxGradients:
        """Gradients of a loss, given its gradients by Y, Y_h and Y_c; left out means zero."""
        layout = self.node.layout
        if d_Y_c is not None and self.node.operator != "LSTM":
            raise ArgumentError(f"{self.node.operator} has no Y_c")
        outer = None if d_Y is None else _shaped(d_Y, "d_Y", self._shape(True))
        if outer is not None and layout:
            outer = np.moveaxis(outer, 0, 2)
        last = {"h": d_Y_h, "c": d_Y_c}
        states = {
            name: as_layout(_shaped(value, f"d_Y_{name}", self._shape(False)), layout)
            for name, value in last.items()
            if value is not None
        }
        found = []
        for k, (kernel, run) in enumerate(self._runs):
            alive = self._alive(run)
            d_states = {name: value[k] * alive for name, value in states.items()}
            found.append(kernel.backward(run, None if outer is None else outer[:, k], d_states))
        x = sum(next(iter(gradients.inputs.values())) for gradients in found)
        by_state = {
            name: self._given(as_layout(np.stack([g.states[name] for g in found]), layout))
            for name in found[0].states
        }
        return OnnxGradients(
            X=self._given(np.swapaxes(x, 0, 1) if layout else np.asarray(x)),
            initial_h=by_state["h"],
            initial_c=by_state.get("c"),
            params=tuple(gradients.params for gradients in found),
        )

    def _shape(self, over_time: bool) -> tuple[int, ...]:
        """Of Y, or of Y_h and Y_c."""
        steps, rows, units = self._runs[0][1].output.shape
        count = len(self._runs)
        if over_time:
            return (rows, steps, count, units) if self.node.layout else (steps, count, rows, units)
        return _swapped((count, rows, units), self.node.layout)

    def _last(self, state: str) -> Array:
        rows = [run.states[state] * self._alive(run) for _, run in self._runs]
        return self._given(as_layout(np.stack(rows), self.node.layout))

    def _alive(self, run: Run) -> Array:
        """[B, 1]: 0 for rows of length zero."""
        if run.lengths is None:
            return np.ones((run.sizes.rows, 1), run.output.dtype)
        return (run.lengths > 0).astype(run.output.dtype)[:, np.newaxis]

    def _given(self, array: Array) -> Array:
        return np.ascontiguousarray(array, dtype=self._dtype)


def from_onnx(model: Any, node: str | None = None) -> OnnxLayer:
    """A recurrent node of an ONNX file: its cells, its parameters, and how to run it.

    model: a path, bytes, or an onnx.ModelProto.  node: its name, its place as `derive weights`
    lists it, or the name of one of its outputs; left out, the only RNN, GRU or LSTM of the model,
    the branches and bodies of If, Loop and Scan included. Needs the extra `onnx`.

    UserWarning where weights are integers of eight bits (DynamicQuantizeLSTM): they become the
    numbers that they stand for, while ONNX Runtime rounds X and h to eight bits as well.
    """
    found = read_node(model, node)
    cells = tuple(cell_of(found, k) for k in range(len(found.directions)))
    return OnnxLayer(found, cells, _all_params(found, cells))


def _all_params(node: Node, cells: tuple[Cell, ...]) -> tuple[Arrays, ...]:
    return tuple(_params(node, cell, k) for k, cell in enumerate(cells))


def _params(node: Node, cell: Cell, direction: int) -> Arrays:
    system = SYSTEMS["onnx"]
    traits = _traits(node, cell)
    layout = _layout(system.layouts, traits)
    arrays = {name: array[direction] for name, array in node.weights.items()}
    return load_layout(
        system, layout, cell, traits, renamed(layout, arrays), options_of(system, node.flags)
    )


def _traits(node: Node, cell: Cell) -> Traits:
    """Known from the node: its activations may hide what traits_of looks for."""
    after = "after" if node.linear_before_reset else "before"
    return Traits(
        kind=node.operator.lower(),
        reset=after if node.operator == "GRU" else "",
        coupled="input" if node.input_forget and node.operator == "LSTM" else "",
        peephole=any(name.startswith("p_") for name in cell.params),
    )


def _layout(layouts: tuple[Layout, ...], traits: Traits) -> Layout:
    return next(
        layout
        for layout in layouts
        if (layout.kind, layout.reset, layout.coupled)
        == (traits.kind, traits.reset, traits.coupled)
    )


def _floats(value: Any, name: str, axes: int) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(f"{name} must hold real numbers, not {kind_text(value)}")
    if array.ndim != axes:
        raise ArgumentError(f"{name} has {axes} axes", facts=(f"given {shape_text(array.shape)}",))
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _shaped(value: Any, name: str, shape: tuple[int, ...]) -> Array:
    array = _floats(value, name, len(shape))
    if array.shape != shape:
        raise ArgumentError(
            f"{name} has the wrong shape",
            facts=(f"it is {shape_text(shape)}, given {shape_text(array.shape)}",),
        )
    return array


def _swapped(shape: tuple[int, ...], layout: int) -> tuple[int, ...]:
    return (shape[1], shape[0], shape[2]) if layout else shape
