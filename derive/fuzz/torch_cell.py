"""The same cell once more, by torch: the text of its equations evaluated with torch's tensors.

In: `.cell` text, shapes of the parameters, a Point.  Out: outputs, last states and gradients, in
float64, by torch's autograd.
Not here: the text's own parser, interpreter or derivatives: expressions are read by Python's
parser, so precedence is checked as well, and time is a loop of its own.

torch has no "a branch that is not taken contributes nothing": its product of a cotangent of 0 and
an infinite slope is NaN. `_Gated` and `_Product` are elementwise functions and matrix products
whose backward pass leaves such terms out, and what torch differentiates inside them is torch's.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from derive.emit.python.names import taking_numbers
from derive.symbolic.closed_set import TABLE
from derive.verification.reference import Point

LAYER_NORM_EPSILON = 1e-5


def _hard_sigmoid(v: Any) -> Any:
    """torch.nn.functional.hardsigmoid takes 1/6 rounded to float32, in float64 too."""
    return torch.where(abs(v) < 3, v / 6 + 0.5, (v > 0).to(v.dtype))


_FUNCTIONS: dict[str, Callable[..., Any]] = {}
for _name, _record in TABLE.items():
    if _record.torch:
        _FUNCTIONS[_name] = operator.attrgetter(_record.torch)(torch)
    elif _record.composed is not None:
        _FUNCTIONS[_name] = functools.partial(_record.composed, _FUNCTIONS)
_FUNCTIONS |= {"hard_sigmoid": _hard_sigmoid, **taking_numbers(torch)}
# Above 20 torch's default returns its argument, which is a few roundoffs less.
_FUNCTIONS["softplus"] = functools.partial(F.softplus, threshold=100.0)

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.div,
    ast.Lt: torch.lt,
    ast.LtE: torch.le,
    ast.Gt: torch.gt,
    ast.GtE: torch.ge,
    ast.Eq: torch.eq,
    ast.NotEq: torch.ne,
}


class _Gated(torch.autograd.Function):  # type: ignore[misc]
    """An elementwise function of tensors of one shape; no gradient where the cotangent is 0."""

    @staticmethod
    def forward(ctx: Any, function: Any, *args: Any) -> Any:
        ctx.function = function
        ctx.save_for_backward(*args)
        return function(*args)

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        with torch.enable_grad():
            args = [arg.detach().requires_grad_() for arg in ctx.saved_tensors]
            slopes = torch.autograd.grad(ctx.function(*args), args, d, allow_unused=True)
        zero = torch.zeros_like(d)
        return None, *(None if s is None else torch.where(d == 0, zero, s) for s in slopes)


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """matrix [r, c] times vectors [..., c]."""

    @staticmethod
    def forward(ctx: Any, matrix: Any, vectors: Any) -> Any:
        ctx.save_for_backward(matrix, vectors)
        return vectors @ matrix.T

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        matrix, vectors = ctx.saved_tensors
        terms = d[..., :, None] * vectors[..., None, :]
        terms = torch.where(d[..., :, None] == 0, torch.zeros_like(terms), terms)
        return terms.sum(tuple(range(terms.ndim - 2))) if terms.ndim > 2 else terms, d @ matrix


def _elementwise(function: Callable[..., Any], *args: Any) -> Any:
    return _Gated.apply(function, *torch.broadcast_tensors(*args))


def _number(value: float) -> Any:
    return torch.tensor([value], dtype=torch.float64)


def _mean(v: Any) -> Any:
    return v.sum(-1, keepdim=True) / v.shape[-1]


def _layer_norm(v: Any) -> Any:
    if v.shape[-1] == 1:  # exactly 0, where torch would divide the rounding of a difference
        return torch.zeros_like(v)
    centred = v - _mean(v)
    spread = _mean(_elementwise(torch.square, centred))
    return _elementwise(lambda c, s: c / torch.sqrt(s + LAYER_NORM_EPSILON), centred, spread)


@dataclass(frozen=True, slots=True)
class Text:
    """Statements of a cell: consts and definitions as (name, tree), names of its outputs."""

    consts: tuple[tuple[str, ast.expr], ...]
    definitions: tuple[tuple[str, ast.expr], ...]
    outputs: tuple[str, ...]


def read(text: str) -> Text:
    """The parts of a text that a strategy of grammar.py made, and of others as plain as those."""
    consts, definitions, outputs = [], [], []
    for line in _statements(text):
        line = re.sub(r"([A-Za-z_]\w*)'", r"\1_next", line)
        word, _, rest = line.partition(" ")
        if word == "const":
            for entry in rest.split(", "):
                consts.append(_definition(entry))
        elif word == "output":
            outputs += [name.strip() for name in rest.split(",")]
        elif "=" in line and word not in ("cell", "doc", "input", "state", "param"):
            definitions.append(_definition(line))
    return Text(tuple(consts), tuple(definitions), tuple(outputs))


def _statements(text: str) -> list[str]:
    found, held = [], ""
    for line in text.splitlines():
        if not held and line.startswith("doc"):
            continue
        held += line.split("#")[0] + " "
        if held.count("(") == held.count(")"):
            if held.strip():
                found.append(held.strip())
            held = ""
    return found


def _definition(line: str) -> tuple[str, ast.expr]:
    name, _, value = line.partition("=")
    return name.strip(), ast.parse(value.strip(), mode="eval").body


class _Evaluator:
    """Expressions at given values; a number is a tensor [1]."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def at(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return _number(float(node.value))  # type: ignore[arg-type]
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
            return _Product.apply(left, right)
        if isinstance(node.op, ast.Pow):
            exponent = float(right)
            return _elementwise(lambda v: v**exponent, left)
        return _elementwise(_OPERATORS[type(node.op)], left, right)

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
            low, high = float(args[1]), float(args[2])
            return _elementwise(lambda v: torch.clamp(v, low, high), args[0])
        if name == "stop_gradient":
            return args[0].detach()
        if name == "sum":
            return args[0].sum(-1, keepdim=True)
        if name == "mean":
            return _mean(args[0])
        if name == "layer_norm":
            return _layer_norm(args[0])
        return _elementwise(_FUNCTIONS[name], *args)


@dataclass(frozen=True, slots=True)
class Answer:
    """outputs: {name: [T, B, width]}; states: {name: [B, width]}; gradients: {name: array}."""

    outputs: Mapping[str, Any]
    states: Mapping[str, Any]
    gradients: Mapping[str, Any]


def run(text: Text, widths: Mapping[str, int], point: Point) -> Answer:
    """widths: the length of each output's and each state's array."""
    known = {
        name: torch.tensor(np.asarray(array), dtype=torch.float64, requires_grad=True)
        for name, array in point.given().items()
    }
    consts: dict[str, Any] = {}
    for name, tree in text.consts:
        consts[name] = _Evaluator(consts).at(tree)
    states = {name: known[name] for name in point.states}
    outputs = {
        name: torch.zeros((point.steps, point.rows, widths[name]), dtype=torch.float64)
        for name in text.outputs
    }
    whole = np.full(point.rows, point.steps)
    lengths = whole if point.lengths is None else np.asarray(point.lengths)
    loss: Any = _number(0.0)
    for turn in range(point.steps):
        rows = np.flatnonzero(lengths > turn)
        if not len(rows):
            break
        times = lengths[rows] - 1 - turn if point.reverse else np.full(len(rows), turn)
        here = torch.as_tensor(rows)
        values = {**consts, **{name: known[name] for name in point.params}}
        values |= {name: known[name][times, rows] for name in point.inputs}
        values |= {name: state[here] for name, state in states.items()}
        for name, tree in text.definitions:
            values[name] = _Evaluator(values).at(tree)
            if name.removesuffix("_next") in states:
                width = widths[name.removesuffix("_next")]
                values[name] = values[name].expand(len(rows), width)
        for name in text.outputs:
            value = values[name].expand(len(rows), widths[name])
            outputs[name][times, rows] = value.detach()
            weight = torch.tensor(np.asarray(point.d_outputs[name])[times, rows])
            loss = loss + _Gated.apply(torch.mul, value.contiguous(), weight).sum()
        states = {
            name: state.index_copy(0, here, values[f"{name}_next"])
            for name, state in states.items()
        }
    for name, state in states.items():
        loss = loss + (state * torch.tensor(np.asarray(point.d_states[name]))).sum()
    if loss.requires_grad:
        loss.sum().backward()
    return Answer(
        {name: array.numpy() for name, array in outputs.items()},
        {name: state.detach().numpy() for name, state in states.items()},
        {
            name: np.zeros(array.shape) if array.grad is None else array.grad.numpy()
            for name, array in known.items()
        },
    )
