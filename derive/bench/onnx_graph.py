"""A loop's text, run on names instead of numbers, leaves an ONNX graph behind.

In: a function `run(arrays)` in the words of loop.py, Style.SCAN.  Out: an onnx.ModelProto.
Not here: the text (loop.py), running the graph (peers/onnx_scan.py).

Parameters are arrays, everything else is `Traced`. What follows from parameters alone is computed
while tracing, so the graph holds its matrices stacked and transposed. `scan` becomes the operator
Scan, its step the operator's body; parts of one array that lie side by side become one Split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from derive.bench.names import meanings
from derive.signature import Array

OPSET, IR_VERSION = 17, 8

_OPERATORS = {
    "tanh": "Tanh", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "abs": "Abs",
    "sign": "Sign", "floor": "Floor", "maximum": "Max", "minimum": "Min", "where": "Where",
    "sqrt": "Sqrt", "sigmoid": "Sigmoid", "relu": "Relu", "erf": "Erf", "softplus": "Softplus",
    "softsign": "Softsign", "elu": "Elu", "selu": "Selu", "clip": "Clip",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """An array that the graph computes."""

    tracer: Tracer
    name: str

    # NumPy leaves operators with one of its numbers on the left to this class.
    __array_ufunc__ = None

    def __getitem__(self, key: tuple[Any, slice]) -> Traced:
        whole, part = key
        assert whole is Ellipsis and part.step is None
        return self.tracer.part(self, part.start, part.stop)

    def __neg__(self) -> Traced:
        return self.tracer.node("Neg", self)

    def __add__(self, other: Any) -> Traced:
        return self.tracer.node("Add", self, other)

    def __radd__(self, other: Any) -> Traced:
        return self.tracer.node("Add", other, self)

    def __sub__(self, other: Any) -> Traced:
        return self.tracer.node("Sub", self, other)

    def __rsub__(self, other: Any) -> Traced:
        return self.tracer.node("Sub", other, self)

    def __mul__(self, other: Any) -> Traced:
        return self.tracer.node("Mul", self, other)

    def __rmul__(self, other: Any) -> Traced:
        return self.tracer.node("Mul", other, self)

    def __truediv__(self, other: Any) -> Traced:
        return self.tracer.node("Div", self, other)

    def __rtruediv__(self, other: Any) -> Traced:
        return self.tracer.node("Div", other, self)

    def __pow__(self, exponent: float) -> Traced:
        return self.tracer.node("Pow", self, exponent)

    def __lt__(self, other: Any) -> Traced:
        return self.tracer.node("Less", self, other)

    def __le__(self, other: Any) -> Traced:
        return self.tracer.node("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Traced:
        return self.tracer.node("Greater", self, other)

    def __ge__(self, other: Any) -> Traced:
        return self.tracer.node("GreaterOrEqual", self, other)

    def __eq__(self, other: object) -> Traced:  # type: ignore[override]
        return self.tracer.node("Equal", self, other)

    def __ne__(self, other: object) -> Traced:  # type: ignore[override]
        return self.tracer.node("Not", self.tracer.node("Equal", self, other))


@dataclass(slots=True)
class _Graph:
    """One graph while it grows. parts: {array: (place of its Split, [(start, end, name)])}."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    parts: dict[str, tuple[int, list[tuple[int, int, str]]]] = field(default_factory=dict)


class Tracer:
    def __init__(self) -> None:
        self._graphs = [_Graph()]
        self._inputs: list[Any] = []
        self._count = 0

    # --- what the text calls ----------------------------------------------------------------

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Every name of a loop's text; on numbers and arrays they are NumPy's."""
        operators = {name: self._operator(op) for name, op in _OPERATORS.items()}
        native = operators | {
            "square": lambda v: v * v,
            "log1p": lambda v: operators["log"](1.0 + v),
            "expm1": lambda v: operators["exp"](v) - 1.0,
            "leaky_relu": lambda v: self.node("LeakyRelu", v, alpha=0.01),
            "hard_sigmoid": lambda v: self.node("HardSigmoid", v, alpha=1 / 6, beta=0.5),
        }
        traced = meanings(SimpleNamespace(**native), **native)
        erf = np.vectorize(math.erf, otypes=[np.float32])
        plain = meanings(np, erf=erf, clip=np.clip)
        found = {name: _either(traced[name], plain[name]) for name in plain}
        return found | {
            "real": np.float32,
            "full": _either(
                lambda value, shape: self.node("Expand", value, np.array(shape, np.int64)),
                lambda value, shape: np.full(shape, value, np.float32),
            ),
            "cat": self.cat,
            "scan": self.scan,
            "product": _either(
                lambda vector, matrix: self.node("MatMul", vector, np.ascontiguousarray(matrix.T)),
                lambda vector, matrix: vector @ matrix.T,
            ),
            "width_sum": _either(
                lambda v: self.node("ReduceSum", v, np.array([-1], np.int64), keepdims=1),
                lambda v: v.sum(-1, keepdims=True),
            ),
        }

    def cat(self, arrays: Sequence[Any], axis: int) -> Any:
        if any(isinstance(array, Traced) for array in arrays):
            return self.node("Concat", *arrays, axis=axis)
        return np.concatenate(arrays, axis)

    def scan(
        self, step: Callable[..., Any], carry: Sequence[Any], rows: Sequence[Any], length: int
    ) -> tuple[tuple[Traced, ...], tuple[Traced, ...]]:
        """Final values of `carry`, and what each step kept, stacked."""
        from onnx import TensorProto, helper

        # The operator takes the number of steps from what it scans.
        scanned = tuple(rows) or (np.zeros((length, 1), np.float32),)
        first, row = (tuple(self._fresh() for _ in group) for group in (carry, scanned))
        self._graphs.append(_Graph())
        after, kept = step(first, row[: len(rows)])
        outs = [self.node("Identity", value) for value in (*after, *kept)]

        def infos(values: Sequence[Traced]) -> list[Any]:
            return [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, None) for v in values]

        body = self._close("step", infos([*first, *row]), infos(outs))
        results = self._nodes(
            "Scan", (*carry, *scanned), len(outs), body=body, num_scan_inputs=len(scanned)
        )
        return tuple(results[: len(after)]), tuple(results[len(after) :])

    # --- the graph --------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int]) -> Traced:
        from onnx import TensorProto, helper

        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Traced(self, name)

    def model(self, outputs: dict[str, tuple[Any, Sequence[int]]]) -> Any:
        """The graph so far, given {name: (value, shape)} of what it shall give."""
        from onnx import TensorProto, helper

        infos = []
        for name, (value, shape) in outputs.items():
            self._graphs[-1].nodes.append(
                helper.make_node("Identity", [self._operand(value)], [name])
            )
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return helper.make_model(
            self._close("cell", self._inputs, infos),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )

    def node(self, operator: str, *operands: Any, **attributes: Any) -> Traced:
        return self._nodes(operator, operands, 1, **attributes)[0]

    def part(self, source: Traced, start: int, end: int) -> Traced:
        graph, made = self._graphs[-1], self._fresh()
        if source.name not in graph.parts:
            graph.parts[source.name] = len(graph.nodes), []
            graph.nodes.append(None)  # the Split, once all parts are known
        graph.parts[source.name][1].append((start, end, made.name))
        return made

    def _nodes(
        self, operator: str, operands: Sequence[Any], count: int, **attributes: Any
    ) -> list[Traced]:
        from onnx import helper

        names = [self._operand(operand) for operand in operands]
        made = [self._fresh() for _ in range(count)]
        self._graphs[-1].nodes.append(
            helper.make_node(operator, names, [m.name for m in made], **attributes)
        )
        return made

    def _operand(self, value: Any) -> str:
        """The name of a value in the innermost graph; an array becomes one of its constants."""
        from onnx import numpy_helper

        if isinstance(value, Traced):
            return value.name
        array: Array = np.asarray(value)
        if not isinstance(value, np.ndarray) or array.dtype.kind == "f":
            array = array.astype(np.float32)  # numbers too; shapes stay whole
        constants = self._graphs[-1].constants
        key = (array.shape, array.dtype.str, array.tobytes())
        if key not in constants:
            constants[key] = numpy_helper.from_array(array, self._fresh().name)
        return str(constants[key].name)

    def _fresh(self) -> Traced:
        # Names are unique over all graphs: a body sees those around it.
        self._count += 1
        return Traced(self, f"v{self._count}")

    def _close(self, name: str, inputs: list[Any], outputs: list[Any]) -> Any:
        from onnx import helper

        for source, (place, parts) in self._graphs[-1].parts.items():
            assert [start for start, _, _ in parts] == [0, *(end for _, end, _ in parts[:-1])]
            sizes = self._operand(np.array([end - start for start, end, _ in parts]))
            self._graphs[-1].nodes[place] = helper.make_node(
                "Split", [source, sizes], [made for _, _, made in parts], axis=-1
            )
        graph = self._graphs.pop()
        return helper.make_graph(graph.nodes, name, inputs, outputs, list(graph.constants.values()))

    def _operator(self, name: str) -> Callable[..., Traced]:
        return lambda *operands: self.node(name, *operands)


def _either(traced: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is part of the graph where one of its arguments is."""

    def choose(*arguments: Any) -> Any:
        found = any(isinstance(argument, Traced) for argument in arguments)
        return (traced if found else plain)(*arguments)

    return choose
