"""A cell over time by torch's own operations, to be differentiated by torch to any order.

In: a Cell, and float64 tensors by name.  Out: outputs and last states, tensors by name.
Not here: derivatives. Branches that are not taken may give NaN here, as they do in torch.
"""

from __future__ import annotations

import ast
from typing import Any

import torch

from derive.cell import Cell
from derive.fuzz.torch_cell import _FUNCTIONS, _OPERATORS, LAYER_NORM_EPSILON, read


class _Plain:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def at(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return torch.tensor([float(node.value)], dtype=torch.float64)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return self.values[node.id]
        if isinstance(node, ast.UnaryOp):
            value = self.at(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Attribute):
            return self.at(node.value).T
        if isinstance(node, ast.Call):
            return self.call(node)
        assert isinstance(node, ast.BinOp)
        left, right = self.at(node.left), self.at(node.right)
        if isinstance(node.op, ast.MatMult):
            return right @ left.T
        if isinstance(node.op, ast.Pow):
            return left ** float(right)
        return _OPERATORS[type(node.op)](left, right)

    def call(self, node: ast.Call) -> Any:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name == "where":
            test = node.args[0]
            assert isinstance(test, ast.Compare)
            left, right = self.at(test.left), self.at(test.comparators[0])
            chosen = _OPERATORS[type(test.ops[0])](left, right)
            return torch.where(chosen, self.at(node.args[1]), self.at(node.args[2]))
        args = [self.at(arg) for arg in node.args]
        if name == "clip":
            return torch.clamp(args[0], float(args[1]), float(args[2]))
        if name == "stop_gradient":
            return args[0].detach()
        if name == "sum":
            return args[0].sum(-1, keepdim=True)
        if name == "mean":
            return args[0].mean(-1, keepdim=True)
        if name == "layer_norm":
            v = args[0] - args[0].mean(-1, keepdim=True)
            return v / torch.sqrt((v * v).mean(-1, keepdim=True) + LAYER_NORM_EPSILON)
        return _FUNCTIONS[name](*args)


def run(
    cell: Cell,
    params: dict[str, Any],
    inputs: dict[str, Any],
    states: dict[str, Any],
    *,
    lengths: Any = None,
    reverse: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """outputs {key: [T, B, width]} and last states {name: [B, width]}."""
    text = read(cell.to_text())
    consts: dict[str, Any] = {}
    for name, tree in text.consts:
        consts[name] = _Plain(consts).at(tree)
    steps, rows = next(iter(inputs.values())).shape[:2]
    ends = torch.full((rows,), steps) if lengths is None else torch.as_tensor(lengths)
    kept: list[Any] = [None] * steps
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        alive = (t < ends)[:, None]
        values = {**consts, **params, **states, **{n: x[t] for n, x in inputs.items()}}
        for (name,), tree in text.definitions:
            values[name] = _Plain(values).at(tree)
        kept[t] = {
            name: torch.where(alive, values[name], torch.zeros_like(values[name]))
            for name in cell.output_keys
        }
        states = {n: torch.where(alive, values[f"{n}_next"], state) for n, state in states.items()}
    return {name: torch.stack([step[name] for step in kept]) for name in cell.output_keys}, states
