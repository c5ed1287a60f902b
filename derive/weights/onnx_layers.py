"""A recurrent node of an ONNX file as something to run and to differentiate.

In: a file or a model.  Out: `OnnxLayer`: the cell and the parameters of each direction, and
`run`, which takes and gives arrays shaped as the operator's.
Not here: reading (onnx_nodes.py), equations (onnx_cells.py), parameters (exchange.py).

Letters as in the operator's text: X [T, B, I], Y [T, D, B, H], Y_h and Y_c [D, B, H] with D
directions; with layout=1 X [B, T, I], Y [B, T, D, H], Y_h and Y_c [B, D, H].
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

    @property
    def directions(self) -> tuple[str, ...]:
        return self.node.directions

    def run(
        self, X: Any, sequence_lens: Any = None, initial_h: Any = None, initial_c: Any = None
    ) -> OnnxRun:
        """The node on X. What is left out is what the file has, else all steps and zeros.

        Past a row's length Y is zero, and Y_h and Y_c are those of the row's last step; of a
        row of length zero they are zero, as ONNX Runtime has it, whatever the initial states.
        Computed in float64 if X is that, else in float32; the results have the dtype of X.
        """
        x = _floats(X, "X", 3)
        given = {"sequence_lens": sequence_lens, "initial_h": initial_h, "initial_c": initial_c}
        given |= {name: value for name, value in self.node.constants.items() if given[name] is None}
        lengths = given.pop("sequence_lens")
        if self.node.operator != "LSTM" and given.pop("initial_c") is not None:
            raise ArgumentError(f"{self.node.operator} has no initial_c")
        work = np.float64 if x.dtype == np.float64 else np.float32
        by_time = np.swapaxes(x, 0, 1) if self.node.layout else x
        states = {name[-1]: self._initial(v, name, by_time.shape[1]) for name, v in given.items()}
        runs = []
        for k, (cell, params) in enumerate(zip(self.cells, self.params, strict=True)):
            kernel = kernel_for(cell, np.dtype(work).name)
            state = {name: value[k] for name, value in states.items() if value is not None}
            reverse = self.directions[k] == "reverse"
            run = kernel.forward(params, by_time, state, lengths=lengths, reverse=reverse)
            runs.append((kernel, run))
        return OnnxRun(self.node, tuple(runs), x.dtype)

    def _initial(self, value: Any, name: str, rows: int) -> Array | None:
        """[D, B, H], from the order of the layout."""
        if value is None:
            return None
        units = self.node.weights["R"].shape[-1]
        array = as_layout(_floats(value, name, 3), self.node.layout)
        if array.shape != (len(self.directions), rows, units):
            wanted = (len(self.directions), rows, units)
            raise ArgumentError(
                f"{name} has the wrong shape",
                facts=(
                    f"it is {shape_text(_swapped(wanted, self.node.layout))}, "
                    f"given {shape_text(np.shape(value))}",
                ),
            )
        return array


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
        outer = None if d_Y is None else _floats(d_Y, "d_Y", 4)
        if outer is not None and layout:
            outer = np.moveaxis(outer, 0, 2)
        last = {"h": d_Y_h, "c": d_Y_c}
        states = {
            name: as_layout(_floats(value, f"d_Y_{name}", 3), layout)
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

    model: a path, bytes, or an onnx.ModelProto.  node: its name or that of one of its outputs;
    left out, the only RNN, GRU or LSTM of the main graph. Needs the extra `onnx`.
    """
    found = read_node(model, node)
    cells = tuple(cell_of(found, k) for k in range(len(found.directions)))
    params = tuple(_params(found, cell, k) for k, cell in enumerate(cells))
    return OnnxLayer(found, cells, params)


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


def _swapped(shape: tuple[int, ...], layout: int) -> tuple[int, ...]:
    return (shape[1], shape[0], shape[2]) if layout else shape
