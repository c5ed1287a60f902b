"""Layers and directions of a cell, each a Scan over its equations.

In: a `Stack` and what a model shall have: lengths, initial states, a direction.  Out: nodes,
inputs and outputs of a graph, by the cell's names.
Not here: one recurrence (emit/onnx/recurrence.py), the model (model.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from derive.cell import Cell
from derive.emit.onnx.nodes import Nodes
from derive.emit.onnx.recurrence import ROWS, SHARED, STEPS, Known, Loop
from derive.errors import ArgumentError
from derive.onnx.given import Stack


@dataclass(slots=True)
class Drawn:
    """inputs, outputs: {name: shape}, with "T" and "B" for what is known at run time; whole
    numbers have int64.  params: names of the tensors that are parameters."""

    nodes: Nodes
    inputs: dict[str, list[Any]] = field(default_factory=dict)
    outputs: dict[str, list[Any]] = field(default_factory=dict)
    params: list[str] = field(default_factory=list)
    integers: tuple[str, ...] = ()


def drawn(
    stack: Stack, real: Any, opset: int, *, lengths: bool, reverse: bool, states: bool
) -> Drawn:
    cell = stack.cell
    if not cell.inputs:
        raise ArgumentError(f"{cell.name} has no inputs, and a Scan reads one")
    found = Drawn(Nodes(real, opset))
    nodes = found.nodes
    names = {*cell.inputs, *cell.states, "lengths", *cell.params}
    nodes.taken.update(names)
    keys = {key: nodes.fresh(key if key not in names else f"{key}_all") for key in cell.outputs}
    last = {state: nodes.fresh(f"{state}_last") for state in cell.states}
    for name, shape in cell.inputs.items():
        axes = ["B"] if name in cell.checked.once else ["T", "B"]
        found.inputs[name] = [*axes, *stack.lengths(0, shape)]
    timed = next(n for n in cell.inputs if n not in cell.checked.once)
    steps = nodes.node("Shape", timed, out=nodes.fresh("steps"), start=0, end=1)
    rows = nodes.node("Shape", timed, out=nodes.fresh("rows"), start=1, end=2)
    if lengths:
        found.inputs["lengths"] = ["B"]
        found.integers = ("lengths",)
    starts = _starts(found, stack, rows, states)
    below: list[str] = []
    ends: list[list[str]] = []
    outputs: list[str] = []
    for place in range(stack.layers * stack.directions):
        layer, direction = divmod(place, stack.directions)
        if not direction:
            below = _joined(nodes, outputs) if layer else []
            outputs = []
        given = {n: Known(n, ROWS if n in cell.checked.once else STEPS) for n in cell.inputs}
        if layer:
            given = {next(iter(cell.inputs)): Known(below[0], STEPS)}
        for name, array in stack.params[place].items():
            own = nodes.tensor(array, name + stack.suffix(place))
            nodes.taken.add(own)
            found.params.append(own)
            given[name] = Known(own, SHARED)
        given |= {state: Known(starts[place][state], ROWS) for state in cell.states}
        given |= _parts(nodes, cell, stack, place, given)
        loop = Loop(
            cell.step, nodes, stack.sizes[place], given, rows, steps,
            "lengths" if lengths else "", reverse != bool(direction), _docs(cell),
        )  # fmt: skip
        outs, after = loop.write()
        outputs.append(outs[0] if not stack.is_one else "")
        ends.append(_wholes(nodes, cell, dict(zip(cell.step.states, after, strict=True))))
    _finish(found, stack, keys, last, outs, outputs, ends)
    return found


def _starts(found: Drawn, stack: Stack, rows: str, given: bool) -> list[dict[str, str]]:
    """Of each place {state: the name of its initial value}."""
    cell, nodes = stack.cell, found.nodes
    places = range(stack.layers * stack.directions)
    result: list[dict[str, str]] = [{} for _ in places]
    for state, shape in cell.states.items():
        lengths = stack.lengths(0, shape)
        if not given:
            for place in places:
                learned = cell.checked.learned.get(state)
                axes = nodes.node("Concat", rows, nodes.integers(*lengths), axis=0)
                value = learned + stack.suffix(place) if learned else nodes.number(0.0)
                result[place][state] = nodes.node("Expand", value, axes)
            continue
        if stack.is_one:
            found.inputs[state] = ["B", *lengths]
            result[0][state] = state
            continue
        found.inputs[state] = [len(places), "B", *lengths]
        for place in places:
            index = nodes.constant(_scalar(place), str(place))
            result[place][state] = nodes.node("Gather", state, index, axis=0)
    return result


def _scalar(value: int) -> Any:
    import numpy as np

    return np.array(value, np.int64)


def _joined(nodes: Nodes, outputs: list[str]) -> list[str]:
    return outputs if len(outputs) == 1 else [nodes.node("Concat", *outputs, axis=-1)]


def _finish(
    found: Drawn, stack: Stack, keys: dict[str, str], last: dict[str, str], outs: list[str],
    outputs: list[str], ends: list[list[str]],
) -> None:  # fmt: skip
    cell, nodes = stack.cell, found.nodes
    if stack.is_one:
        parts = dict(zip(cell.step.outputs, outs, strict=True))
        for key, name in keys.items():
            value = _whole(nodes, cell, key, parts)
            nodes.node("Identity", value, out=name)
            found.outputs[name] = ["T", "B", *stack.lengths(0, cell.outputs[key])]
        for (state, name), value in zip(last.items(), ends[0], strict=True):
            nodes.node("Identity", value, out=name)
            found.outputs[name] = ["B", *stack.lengths(0, cell.states[state])]
        return
    key = next(iter(cell.outputs))
    (top,) = _joined(nodes, outputs)
    nodes.node("Identity", top, out=keys[key])
    (width,) = stack.lengths(0, cell.outputs[key])
    found.outputs[keys[key]] = ["T", "B", width * stack.directions]
    for k, (state, name) in enumerate(last.items()):
        zero = nodes.integers(0)
        parts_ = [nodes.node("Unsqueeze", own[k], zero) for own in ends]
        nodes.node("Concat", *parts_, axis=0, out=name)
        found.outputs[name] = [len(ends), "B", *stack.lengths(0, cell.states[state])]


def _docs(cell: Cell) -> dict[str, str]:
    return {str(eq.lhs): f"{eq.lhs} = {eq.rhs}" for eq in cell.equations}


# --- arrays that the equations know in parts --------------------------------------------------


def _parts(
    nodes: Nodes, cell: Cell, stack: Stack, place: int, given: dict[str, Known]
) -> dict[str, Known]:
    """The parts of parameters, inputs and states that are cut."""
    found = {}
    for name, parts in cell.checked.wholes.items():
        if name not in given:
            continue
        whole = given[name]
        for part, bounds in parts:
            starts, ends = (stack.lengths(place, tuple(b[k] for b in bounds)) for k in (0, 1))
            axes = list(range(-len(bounds), 0))
            numbers = [nodes.integers(*values) for values in (starts, ends, axes)]
            found[part] = Known(nodes.node("Slice", whole.name, *numbers), whole.lead)
    return found


def _wholes(nodes: Nodes, cell: Cell, after: dict[str, str]) -> list[str]:
    """The last value of each state of the cell."""
    return [_whole(nodes, cell, state, after) for state in cell.states]


def _whole(nodes: Nodes, cell: Cell, name: str, parts: dict[str, str]) -> str:
    cut = cell.checked.wholes.get(name)
    if cut is None:
        key = dict(zip(cell.checked.output_keys, cell.step.outputs, strict=False))
        return parts[name] if name in parts else parts[key[name]]
    axes = [k for k in range(len(cut[0][1])) if len({bounds[k] for _, bounds in cut}) > 1]
    if len(axes) > 1:
        raise ArgumentError(f"{cell.name} cuts {name} along {len(axes)} axes: that has no export")
    axis = (axes[0] if axes else 0) - len(cut[0][1])
    names = [parts[part] for part, _ in cut]
    return names[0] if len(names) == 1 else nodes.node("Concat", *names, axis=axis)
