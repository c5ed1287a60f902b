"""A loop's text, run on names instead of numbers, leaves an ONNX graph behind.

In: a function `run(arrays)` in the words of emit/python/loop.py, Style.SCAN.  Out: an
onnx.ModelProto.
Not here: the text (emit/python/loop.py), running the graph (bench/peers/onnx_scan.py).

Parameters are arrays, everything else is `Traced`. What follows from parameters alone is computed
while tracing, so the graph holds its matrices stacked and transposed. `scan` becomes the operator
Scan, its step the operator's body; parts of one array that lie side by side become one Split.

A gate is W x + U h + b. W x and b are known before the loop, so their sum is taken there, for all
steps at once, and the product with h takes it along as the third operand of Gemm, for all gates
at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from derive.emit.onnx.value import Gate, Traced
from derive.emit.python.names import meanings
from derive.kernel.signature import Array
from derive.symbolic.closed_set import TABLE

OPSET, IR_VERSION = 17, 8

#: {function: operator and attributes}
_OPERATORS = {name: record.onnx for name, record in TABLE.items() if record.onnx}


class Conflict(Exception):
    """One product is asked for with different things added."""


@dataclass(slots=True)
class _Graph:
    """One graph while it grows. parts: {array: (place of its Split, [(start, end, name)])}.

    Of a body: products: {name: (place, vector, matrix)}; known: {part: what is added to it};
    rows: {name inside: what is scanned}.
    """

    nodes: list[Any] = field(default_factory=list)
    constants: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    parts: dict[str, tuple[int, list[tuple[int, int, str]]]] = field(default_factory=dict)
    products: dict[str, tuple[int, str, Array]] = field(default_factory=dict)
    known: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)


class Tracer:
    def __init__(self, *, gather: bool = True) -> None:
        """gather: sums before the loop, for Gemm; Conflict where that cannot be."""
        self._gather = gather
        self._graphs = [_Graph()]
        self._inputs: list[Any] = []
        self._count = 0

    # --- what the text calls ----------------------------------------------------------------

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Every name of a loop's text; on numbers and arrays they are NumPy's."""
        operators = {name: self._operator(*op) for name, op in _OPERATORS.items()}
        native = operators | {
            "square": lambda v: v * v,
            "log1p": lambda v: operators["log"](1.0 + v),
            "expm1": lambda v: operators["exp"](v) - 1.0,
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
            "product": _either(self.product, lambda vector, matrix: vector @ matrix.T),
            "width_sum": _either(
                lambda v: self.node("ReduceSum", v, np.array([-1], np.int64), keepdims=1),
                lambda v: v.sum(-1, keepdims=True),
            ),
        }

    def cat(self, arrays: Sequence[Any], axis: int) -> Any:
        if any(isinstance(array, Traced) for array in arrays):
            return self.node("Concat", *arrays, axis=axis)
        return np.concatenate(arrays, axis)

    def product(self, vector: Traced, matrix: Array) -> Traced:
        if not self._gather or len(self._graphs) == 1:
            return self.node("MatMul", vector, np.ascontiguousarray(matrix.T))
        graph, made = self._graphs[-1], self._fresh()
        graph.products[made.name] = len(graph.nodes), self._operand(vector), matrix
        graph.nodes.append(None)  # Gemm or MatMul, once it is known what is added
        return Gate(self, made.name)

    def add(self, a: Any, b: Any) -> Traced:
        for gate, other in ((a, b), (b, a)):
            is_row = isinstance(other, Traced) and other.name in self._graphs[-1].rows
            if isinstance(gate, Gate) and (is_row or not isinstance(other, Traced)):
                return Gate(self, gate.name, (*gate.known, other))
        return self.node("Add", a, b)

    def scan(
        self, step: Callable[..., Any], carry: Sequence[Any], rows: Sequence[Any], length: int
    ) -> tuple[tuple[Traced, ...], tuple[Traced, ...]]:
        """Final values of `carry`, and what each step kept, stacked."""
        from onnx import TensorProto, helper

        # The operator takes the number of steps from what it scans.
        scanned = tuple(rows) or (np.zeros((length, 1), np.float32),)
        first, row = (tuple(self._fresh() for _ in group) for group in (carry, scanned))
        pairs = {inside.name: outside for inside, outside in zip(row, scanned, strict=True)}
        self._graphs.append(_Graph(rows=pairs))
        after, kept = step(first, row[: len(rows)])
        outs = [self.node("Identity", value) for value in (*after, *kept)]
        for name, added in self._products():
            row, scanned = (*row, Traced(self, name)), (*scanned, added)
        read = {name for node in self._graphs[-1].nodes if node for name in node.input}
        read.update(self._graphs[-1].parts)
        used = [k for k, inside in enumerate(row) if inside.name in read] or [0]
        row, scanned = tuple(row[k] for k in used), tuple(scanned[k] for k in used)

        def infos(values: Sequence[Traced]) -> list[Any]:
            return [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, None) for v in values]

        body = self._close("step", infos([*first, *row]), infos(outs))
        results = self._nodes(
            "Scan", (*carry, *scanned), len(outs), body=body, num_scan_inputs=len(scanned)
        )
        return tuple(results[: len(after)]), tuple(results[len(after) :])

    # --- products in a body -------------------------------------------------------------------

    def _products(self) -> list[tuple[str, Traced]]:
        """Makes their nodes; what is to be scanned for them, and by which names."""
        from onnx import helper

        body, found = self._graphs[-1], []
        for name, (place, vector, matrix) in body.products.items():
            parts = body.parts[name][1] if name in body.parts else [(0, matrix.shape[0], name)]
            operands = [vector, self._operand(np.ascontiguousarray(matrix.T))]
            kind = "MatMul"
            if any(body.known.get(part) for _, _, part in parts):
                kind = "Gemm"
                operands.append(self._fresh().name)
                found.append((operands[-1], self._known_sum(body, parts)))
            body.nodes[place] = helper.make_node(kind, operands, [name])
        return found

    def _known_sum(self, body: _Graph, parts: Sequence[tuple[int, int, str]]) -> Traced:
        """What is added to a product, computed outside for all steps: [T, B, all parts]."""
        constants, rows = [], []
        for start, end, part in parts:
            known = body.known.get(part, ())
            fixed = [value for value in known if not isinstance(value, Traced)]
            constants.append(sum(fixed, np.zeros(end - start, np.float32)))
            rows.append([body.rows[value.name] for value in known if isinstance(value, Traced)])
        self._graphs.pop()
        outer = self._graphs[-1]
        bias = np.concatenate(constants)
        names = [[value.name for value in values] for values in rows]
        for source, (_, members) in outer.parts.items():
            if [[made] for _, _, made in members] == names and members[-1][1] == bias.size:
                found = self.node("Add", Traced(self, source), bias)
                break
        else:
            sums = []
            for values, constant in zip(rows, constants, strict=True):
                total: Any = constant
                for value in values:
                    total = self.node("Add", value, total)
                sums.append(total)
            whole = [s if isinstance(s, Traced) else self._all_steps(s, body) for s in sums]
            found = whole[0] if len(whole) == 1 else self.node("Concat", *whole, axis=-1)
        self._graphs.append(body)
        return found

    def _all_steps(self, constant: Array, body: _Graph) -> Traced:
        """A vector for every step and row."""
        like = next(iter(body.rows.values()))
        one = self.node("ReduceSum", like, np.array([-1], np.int64), keepdims=1)
        return self.node("Add", self.node("Mul", one, 0.0), constant)

    def _settled(self, gate: Gate) -> str:
        """From here on a part of a product is this gate, and nothing else."""
        known = self._graphs[-1].known
        same = known.setdefault(gate.name, gate.known)
        if [id(value) for value in same] != [id(value) for value in gate.known]:
            raise Conflict
        return gate.name

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
        return Gate(self, made.name) if source.name in graph.products else made

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

        if isinstance(value, Gate):
            return self._settled(value)
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

        read = {name for node in self._graphs[-1].nodes if node for name in node.input}
        for source, (place, parts) in self._graphs[-1].parts.items():
            if not any(made in read for _, _, made in parts):
                continue
            assert [start for start, _, _ in parts] == [0, *(end for _, end, _ in parts[:-1])]
            sizes = self._operand(np.array([end - start for start, end, _ in parts]))
            self._graphs[-1].nodes[place] = helper.make_node(
                "Split", [source, sizes], [made for _, _, made in parts], axis=-1
            )
        graph = self._graphs.pop()
        nodes = [node for node in graph.nodes if node is not None]
        return helper.make_graph(nodes, name, inputs, outputs, list(graph.constants.values()))

    def _operator(self, name: str, attributes: Mapping[str, float]) -> Callable[..., Traced]:
        return lambda *operands: self.node(name, *operands, **attributes)


def _either(traced: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is part of the graph where one of its arguments is."""

    def choose(*arguments: Any) -> Any:
        found = any(isinstance(argument, Traced) for argument in arguments)
        return (traced if found else plain)(*arguments)

    return choose
