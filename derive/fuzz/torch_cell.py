"""The same cell once more, by torch: the text of its equations evaluated with torch's tensors.

In: `.cell` text, shapes of what a user gives, arrays of a call.  Out: outputs, last states and
gradients, in float64, by torch's autograd.
Not here: the text's own parser, shapes, interpreter or derivatives: expressions are read by
Python's parser, so precedence is checked as well, axes are matched by name as they are evaluated,
arrays are never cut into parts, and time is a loop of its own.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from derive.emit.python.names import taking_numbers
from derive.fuzz.running import Given
from derive.fuzz.torch_axes import (
    DROPPING,
    KEEPING,
    LAYER_NORM_EPSILON,
    ONE,
    Gated,
    Named,
    axis_of,
    elementwise,
    joined,
    length_of,
    lying,
    normalised,
    number,
    outer,
    product,
    scaled,
    widest,
)  # fmt: skip
from derive.symbolic.closed_set import TABLE
from derive.widths import Dim


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


# --- text -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """Statements of a cell: consts as (name, tree), definitions as (names, tree), names of its
    outputs, {state: the parameter it starts from}, inputs that are given once."""

    consts: tuple[tuple[str, ast.expr], ...]
    definitions: tuple[tuple[tuple[str, ...], ast.expr], ...]
    outputs: tuple[str, ...]
    starts: Mapping[str, str]
    once: tuple[str, ...]


def read(text: str) -> Text:
    """The parts of a text that a strategy of this folder made, and of others as plain as those."""
    consts, definitions, outputs = [], [], []
    starts: dict[str, str] = {}
    once: list[str] = []
    for line in _statements(text):
        line = re.sub(r"([A-Za-z_]\w*)'", r"\1_next", line)
        word, _, rest = line.partition(" ")
        if word == "const":
            consts += [(name, tree) for (name,), tree in map(_definition, rest.split(", "))]
        elif word == "output":
            outputs += [name.strip() for name in rest.split(",")]
        elif word in ("state", "input"):
            starts |= dict(re.findall(r"(\w+)\s*:[^,=]*=\s*(\w+)", rest))
            once += re.findall(r"(\w+)\s*:[^,=]*\sonce\b", rest)
        elif "=" in line and word not in ("cell", "doc", "param", "fixed"):
            definitions.append(_definition(line))
    return Text(tuple(consts), tuple(definitions), tuple(outputs), starts, tuple(once))


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


def _definition(line: str) -> tuple[tuple[str, ...], ast.expr]:
    names, _, value = line.partition("=")
    tree = ast.parse(value.strip(), mode="eval").body
    return tuple(name.strip() for name in names.split(",")), tree


class _Evaluator:
    """Expressions at given values."""

    def __init__(self, values: dict[str, Named], sizes: Mapping[str, int]) -> None:
        self.values = values
        self.sizes = sizes

    def define(self, names: tuple[str, ...], tree: ast.expr) -> None:
        if len(names) == 1:
            self.values[names[0]] = self.at(tree)
            return
        assert isinstance(tree, ast.Call)
        whole = self.at(tree.args[0])
        last = tuple((name, factor // len(names)) for name, factor in whole.axes[-1])
        for name, part in zip(names, whole.tensor.tensor_split(len(names), -1), strict=True):
            self.values[name] = Named(part, (*whole.axes[:-1], last))

    def at(self, node: ast.expr) -> Named:
        if isinstance(node, ast.Constant):
            return number(float(node.value))  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return self.values[node.id]
        if isinstance(node, ast.UnaryOp):
            value = self.at(node.operand)
            negative = isinstance(node.op, ast.USub)
            return Named(-value.tensor, value.axes) if negative else value
        if isinstance(node, ast.Attribute):
            value = self.at(node.value)
            *lead, rows, columns = value.axes
            return Named(value.tensor.transpose(-1, -2), (*lead, columns, rows))
        if isinstance(node, ast.Subscript):
            return self.cut(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.MatMult):
            return self.product(node)
        left, right = self.at(node.left), self.at(node.right)
        if isinstance(node.op, ast.Pow):
            exponent = float(right.tensor)
            return elementwise(lambda v: v**exponent, left)
        return elementwise(_OPERATORS[type(node.op)], left, right)

    def product(self, node: ast.BinOp) -> Named:
        if (vector := self.diagonal(node.left)) is not None:
            whole = self.at(node.right)
            return scaled(vector, whole, -2 if len(whole.axes) > 1 else -1)
        if (vector := self.diagonal(node.right)) is not None:
            return scaled(vector, self.at(node.left), -1)
        return product(self.at(node.left), self.at(node.right))

    def diagonal(self, node: ast.expr) -> Named | None:
        """v, where an operand is diag(v)."""
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "diag"
        ):
            return self.at(node.args[0])
        return None

    def cut(self, node: ast.Subscript) -> Named:
        value = self.at(node.value)
        assert isinstance(node.slice, ast.Slice) and node.slice.lower and node.slice.upper
        start, stop = axis_of(node.slice.lower), axis_of(node.slice.upper)
        part = value.tensor[..., length_of(start, self.sizes) : length_of(stop, self.sizes)]
        width = Counter(dict(stop))
        width.subtract(dict(start))
        axis = tuple(sorted((name, factor) for name, factor in width.items() if factor))
        return Named(part, (*value.axes[:-1], axis))

    def call(self, node: ast.Call) -> Named:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in DROPPING or name in (*KEEPING, "layer_norm"):
            return self.along(name, node)
        if name == "eye":
            axis = axis_of(node.args[0])
            unit = torch.eye(length_of(axis, self.sizes), dtype=torch.float64)
            return Named(unit[None], (axis, axis))
        if name == "where":
            test = node.args[0]
            assert isinstance(test, ast.Compare)
            sides = [test.left, test.comparators[0], *node.args[1:]]
            values = [self.at(side) for side in sides]
            whole = widest(values)
            a, b, one, other = torch.broadcast_tensors(*(lying(value, whole) for value in values))
            chosen = _OPERATORS[type(test.ops[0])](a, b)
            return Named(torch.where(chosen, one, other), whole)
        args = [self.at(arg) for arg in node.args]
        if name == "clip":
            low, high = float(args[1].tensor), float(args[2].tensor)
            return elementwise(lambda v: torch.clamp(v, low, high), args[0])
        if name == "stop_gradient":
            return Named(args[0].tensor.detach(), args[0].axes)
        if name == "outer":
            return outer(*args)
        if name == "concat":
            return joined(args)
        if name == "diag":
            return Named(torch.diag_embed(args[0].tensor), (*args[0].axes, args[0].axes[-1]))
        return elementwise(_FUNCTIONS[name], *args)

    def along(self, name: str, node: ast.Call) -> Named:
        """Reductions, and what keeps the axis that it acts over."""
        value = self.at(node.args[0])
        last = len(value.axes) - 1
        axis = value.axes.index(axis_of(node.args[1])) if len(node.args) > 1 else last
        eps = LAYER_NORM_EPSILON
        for keyword in node.keywords:
            eps = float(ast.literal_eval(keyword.value))
        if name == "layer_norm":
            return Named(normalised(value.tensor, axis + 1, eps), value.axes)
        if name in KEEPING:
            return Named(KEEPING[name](value.tensor, axis + 1), value.axes)
        left = value.axes[:axis] + value.axes[axis + 1 :]
        tensor = DROPPING[name](value.tensor, axis + 1)
        return Named(tensor, left) if left else Named(tensor[:, None], (ONE,))


# --- a sequence -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """outputs: {name: [T, B, axes]}; states: {name: [B, axes]}; gradients: {name: array}."""

    outputs: Mapping[str, Any]
    states: Mapping[str, Any]
    gradients: Mapping[str, Any]


def run(
    text: Text,
    shapes: Mapping[str, tuple[Dim, ...]],
    states: Sequence[str],
    given: Given,
    reverse: bool,
) -> Answer:
    """shapes: of parameters, inputs, states and outputs; `given.d_outputs` by the text's names."""
    axes = {name: tuple(map(axis_of, shape)) for name, shape in shapes.items()}
    lengths = {name: [length_of(a, given.sizes) for a in own] for name, own in axes.items()}

    def full(name: str, value: Named, rows: int) -> Any:
        return lying(value, axes[name]).expand(rows, *lengths[name])

    known = {name: _leaf(array) for name, array in (*given.params.items(), *given.inputs.items())}
    for name in states:
        if name in text.starts and name not in given.states:
            start = text.starts[name]
            known[name] = full(name, Named(known[start][None], axes[start]), given.rows).clone()
            known[name].retain_grad()
        else:
            zeros = np.zeros((given.rows, *lengths[name]))
            known[name] = _leaf(given.states.get(name, zeros))
    consts = _Evaluator({}, given.sizes)
    for name, tree in text.consts:
        consts.define((name,), tree)
    now = {name: known[name] for name in states}
    outputs = {
        name: torch.zeros((given.steps, given.rows, *lengths[name]), dtype=torch.float64)
        for name in text.outputs
    }
    ends = np.full(given.rows, given.steps) if given.lengths is None else np.asarray(given.lengths)
    loss: Any = torch.zeros(1, dtype=torch.float64)
    for turn in range(given.steps):
        rows = np.flatnonzero(ends > turn)
        if not len(rows):
            break
        times = ends[rows] - 1 - turn if reverse else np.full(len(rows), turn)
        here = torch.as_tensor(rows)
        values = dict(consts.values)
        values |= {name: Named(known[name][None], axes[name]) for name in given.params}
        for name in given.inputs:
            array = known[name][here] if name in text.once else known[name][times, rows]
            values[name] = Named(array, axes[name])
        values |= {name: Named(state[here], axes[name]) for name, state in now.items()}
        evaluator = _Evaluator(values, given.sizes)
        for names, tree in text.definitions:
            evaluator.define(names, tree)
            state = names[0].removesuffix("_next")
            if state in now and state != names[0]:
                values[names[0]] = Named(full(state, values[names[0]], len(rows)), axes[state])
        for name in text.outputs:
            value = full(name, values[name], len(rows))
            outputs[name][times, rows] = value.detach()
            if name in given.d_outputs:
                weight = _tensor(given.d_outputs[name])[times, rows]
                loss = loss + Gated.apply(torch.mul, value.contiguous(), weight).sum()
        now = {
            name: state.index_copy(0, here, values[f"{name}_next"].tensor)
            for name, state in now.items()
        }
    for name, state in now.items():
        if name in given.d_states:
            loss = loss + (state * _tensor(given.d_states[name])).sum()
    if loss.requires_grad:
        loss.sum().backward()
    return Answer(
        {name: array.numpy() for name, array in outputs.items()},
        {name: state.detach().numpy() for name, state in now.items()},
        {
            name: np.zeros(array.shape) if array.grad is None else array.grad.numpy()
            for name, array in known.items()
        },
    )


def _tensor(array: Any) -> Any:
    return torch.tensor(np.asarray(array), dtype=torch.float64)


def _leaf(array: Any) -> Any:
    return _tensor(array).requires_grad_()
