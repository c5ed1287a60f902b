"""A cell as ONNX's own LSTM, GRU or RNN, where it is proved to be one.

In: a `Stack`.  Out: nodes with the operators' weights and attributes, and the same inputs and
outputs as the Scan has; ArgumentError with the reason where a cell is none.
Not here: the proof and the arrays (weights/), the model (model.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.cell import Cell
from derive.emit.onnx.nodes import Nodes
from derive.errors import ArgumentError
from derive.language.tree import Binary, Call, Name, Node
from derive.onnx.given import Stack
from derive.onnx.scan import Drawn
from derive.weights.exchange import save
from derive.weights.kinds import kinship
from derive.weights.onnx_cells import ACTIVATIONS
from derive.weights.traits import traits_of

#: Functions of `.cell` text as operators' activations: name, alpha, beta.
_NAMES: dict[str, tuple[str, list[float], list[float]]] = {
    record.plain: (name, [], []) for name, record in ACTIVATIONS.items() if record.plain
} | {
    "hard_sigmoid": ("HardSigmoid", [1 / 6], [0.5]),
    "identity": ("Affine", [1.0], [0.0]),
}


def drawn_operator(
    stack: Stack, real: Any, opset: int, *, lengths: bool, reverse: bool, states: bool
) -> Drawn:
    cell = stack.cell
    if list(cell.outputs) != ["h_next"]:
        raise ArgumentError(
            f"an operator puts out h', and {cell.name} has the outputs {', '.join(cell.outputs)}",
            hint='form="scan"',
        )
    if reverse and stack.directions == 2:
        raise ArgumentError("a stack of both directions has no reverse", hint='form="scan"')
    kind = traits_of(cell).kind.upper()
    found = Drawn(Nodes(real, opset))
    nodes = found.nodes
    (x,) = cell.inputs
    nodes.taken.update({x, *cell.states, "lengths", "h_next"})
    found.inputs[x] = ["T", "B", *stack.lengths(0, cell.inputs[x])]
    if lengths:
        found.inputs["lengths"] = ["B"]
        found.integers = ("lengths",)
        short = nodes.node("Cast", "lengths", to=6)  # int32, as the operators have it
    ends: dict[str, list[str]] = {state: [] for state in cell.states}
    places = stack.layers * stack.directions
    (units,) = stack.lengths(0, cell.states["h"])
    if states:
        for state in cell.states:
            found.inputs[state] = ([places] if places > 1 else []) + ["B", units]
    value = x
    for layer in range(stack.layers):
        first = layer * stack.directions
        own = stack.params[first : first + stack.directions]
        end = "" if stack.is_one else f"_l{layer}"
        arrays = save(cell, "onnx", own if len(own) == 2 else own[0])
        operands = [value]
        for name in ("W", "R", "B"):
            operands.append(nodes.tensor(arrays[name], nodes.fresh(name + end)))
            found.params.append(operands[-1])
        starts = {s: _start(nodes, s, first, stack, states) for s in cell.states}
        operands += [short if lengths else "", starts["h"]]
        if kind == "LSTM":
            operands.append(starts["c"])
            if "P" in arrays:
                operands.append(nodes.tensor(arrays["P"], nodes.fresh("P" + end)))
                found.params.append(operands[-1])
        while not operands[-1]:
            operands.pop()
        names = [nodes.fresh(f"{n}{end}") for n in ("Y", "Y_h", "Y_c")[: 1 + len(cell.states)]]
        _add(nodes, kind, operands, names, _attributes(cell, kind, units, stack, reverse))
        for state, name in zip(("h", "c"), names[1:], strict=False):
            if lengths and starts[state]:
                # A row of no steps keeps its state; ONNX Runtime gives zero.
                some = nodes.node("Less", nodes.constant(np.array(0, np.int32), "0"), short)
                flag = nodes.node("Unsqueeze", some, nodes.integers(0, 2))
                name = nodes.node("Where", flag, name, starts[state])
            ends[state].append(name)
        beside = nodes.node("Transpose", names[0], perm=[0, 2, 1, 3])  # [T, B, D, H]
        value = nodes.node("Reshape", beside, nodes.integers(0, 0, -1))
    nodes.node("Identity", value, out="h_next")
    found.outputs["h_next"] = ["T", "B", units * stack.directions]
    for state, parts in ends.items():
        name = nodes.fresh(f"{state}_last")
        whole = parts[0] if len(parts) == 1 else nodes.node("Concat", *parts, axis=0)
        if places == 1:
            nodes.node("Squeeze", whole, nodes.integers(0), out=name)
        else:
            nodes.node("Identity", whole, out=name)
        found.outputs[name] = ([places] if places > 1 else []) + ["B", units]
    return found


def _start(nodes: Nodes, state: str, first: int, stack: Stack, given: bool) -> str:
    """[D, B, H] of a layer; "" where it starts from zero."""
    if not given:
        return ""
    if stack.is_one:
        return nodes.node("Unsqueeze", state, nodes.integers(0))
    bounds = (nodes.integers(n) for n in (first, first + stack.directions, 0))
    return nodes.node("Slice", state, *bounds)


def _add(
    nodes: Nodes, kind: str, operands: list[str], names: list[str], attributes: dict[str, Any]
) -> None:
    from onnx import helper

    nodes.nodes.append(helper.make_node(kind, operands, names, name=names[0], **attributes))


def _attributes(cell: Cell, kind: str, units: int, stack: Stack, reverse: bool) -> dict[str, Any]:
    kin = kinship(cell, traits_of(cell))
    functions = [_activation(cell, name) for name in _functions(kin.reference, kind)]
    twice = functions * stack.directions
    found: dict[str, Any] = {"hidden_size": units}
    ways = "bidirectional" if stack.directions == 2 else "reverse" if reverse else "forward"
    found["direction"] = ways
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
    names = [name for name, _, _ in functions]
    if names != usual[kind]:
        found["activations"] = names * stack.directions
        alphas = [value for _, alpha, _ in twice for value in alpha]
        betas = [value for _, _, beta in twice for value in beta]
        found |= {"activation_alpha": alphas} if alphas else {}
        found |= {"activation_beta": betas} if betas else {}
    if kind == "GRU":
        found["linear_before_reset"] = int(kin.traits.reset == "after")
    if kind == "LSTM" and kin.traits.coupled:
        found["input_forget"] = 1
    return found


def _activation(cell: Cell, name: str) -> tuple[str, list[float], list[float]]:
    if name not in _NAMES:
        raise ArgumentError(
            f"no operator has {name}, which {cell.name} applies",
            facts=(f"operators have {', '.join(_NAMES)}",),
            hint='form="scan"',
        )
    return _NAMES[name]


def _functions(reference: Cell, kind: str) -> list[str]:
    """The activations of a reference cell in the operator's order."""
    lines = {each.target: each.expr for each in reference.checked.declaration.definitions}
    if kind == "RNN":
        return [_function(reference, lines["h_next"])]
    if kind == "GRU":
        return [_function(reference, lines["r"]), _function(reference, lines["n"])]
    made = lines["h_next"]
    while isinstance(made, Binary) and made.operator == "@":
        made = made.right
    if not (isinstance(made, Binary) and made.operator == "*"):
        raise _clipped(reference)
    outer = "identity" if isinstance(made.right, Name) else _function(reference, made.right)
    if isinstance(lines["c_next"], Call):
        raise _clipped(reference)
    return [_function(reference, lines["o"]), _function(reference, lines["g"]), outer]


def _function(reference: Cell, expr: Node) -> str:
    if isinstance(expr, Call):
        return str(expr.function)
    return "identity"


def _clipped(cell: Cell) -> ArgumentError:
    return ArgumentError(
        f"no operator clips the cell state or the projection, as {cell.name} does",
        facts=("the operators' clip bounds what the activations of gates see",),
        hint='form="scan"',
    )
