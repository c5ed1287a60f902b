"""One layer and direction of a cell as a Scan, with everything around it.

In: a Step, sizes, names of the arrays that are there.  Out: nodes in a graph, and the names of
outputs [T, B, ...] and of last states [B, ...].
Not here: elementwise expressions (elementwise.py), layers and the model (onnx/).

What parameters alone determine, and what no state reaches, is computed before the loop, for all
steps at once. An array is known by how many axes it has before its own: none where all rows share
it, one for rows, two for steps and rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.emit.onnx.elementwise import elementwise
from derive.emit.onnx.nodes import Nodes
from derive.errors import InternalError
from derive.kernel.signature import Sizes
from derive.program import Array, Layout, Map, Matmul, Over, Program, Step, Sum, prune

SHARED, ROWS, STEPS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Known:
    """An array in a graph: its name, and how many axes stand before its own."""

    name: str
    lead: int


@dataclass(slots=True, eq=False)
class Loop:
    """One layer and direction. given: what params, inputs and states are called.  rows, steps:
    names of [B] and [T] as arrays of one number.  lengths: the name of [B] lengths, "" for none.
    docs: {array: its equation}."""

    step: Step
    nodes: Nodes
    sizes: Mapping[str, int]
    given: Mapping[str, Known]
    rows: str
    steps: str
    lengths: str = ""
    reverse: bool = False
    docs: Mapping[str, str] = field(default_factory=dict)

    def write(self) -> tuple[list[str], list[str]]:
        """Names of the outputs, and of the last states."""
        program = prune(self.step.program)
        outside = _Place(self, self.nodes, dict(self.given), self._moving(program))
        inside_equations = []
        for equation in program.equations:
            if equation.out in outside.moving:
                inside_equations.append(equation)
            else:
                outside.equation(equation, program.table())
        return self._scan(program, inside_equations, outside)

    def _moving(self, program: Program) -> set[str]:
        """Arrays that depend on a state."""
        found = set(self.step.states)
        for equation in program.equations:
            if found.intersection(equation.operands):
                found.add(equation.out)
        return found

    def _scan(
        self, program: Program, equations: list[Any], outside: _Place
    ) -> tuple[list[str], list[str]]:
        from onnx import TensorProto, helper

        table = program.table()
        real = helper.np_dtype_to_tensor_dtype(self.nodes.real)
        body = self.nodes.body()
        inside = _Place(self, body, {}, outside.moving, outside)
        carried = []
        for state in self.step.states:
            name = body.fresh(f"{state}_before")
            inside.known[state] = Known(name, ROWS)
            carried.append(helper.make_tensor_value_info(name, real, self._shape(table[state])))
        for equation in equations:
            inside.equation(equation, table)
        alive = ""
        if self.lengths:
            t = body.fresh("t")
            alive = body.node("Less", t, self.lengths)
        after = [
            self._stopped(inside, table[n], inside.full(n, table[n]), alive, inside.known[s].name)
            for s, n in zip(self.step.states, self.step.next_states, strict=True)
        ]
        outs = [
            self._stopped(inside, table[n], inside.full(n, table[n]), alive, "")
            for n in self.step.outputs
        ]
        scanned = [(name, *inside.scanned[name]) for name in inside.scanned]
        infos = [
            helper.make_tensor_value_info(own, real, self._shape(table[name]))
            for name, own, _ in scanned
        ]
        sources = [source for _, _, source in scanned]
        if self.lengths or not scanned:
            zero, one = (self.nodes.constant(np.array(k, np.int64), str(k)) for k in (0, 1))
            limit = self.nodes.node("Squeeze", self.steps, self.nodes.integers(0))
            sources.append(self.nodes.node("Range", zero, limit, one))
            name = t if self.lengths else body.fresh("t")
            infos.append(helper.make_tensor_value_info(name, TensorProto.INT64, []))
        results = [*after, *outs]
        ends = [helper.make_tensor_value_info(n, real, None) for n in results]
        graph = helper.make_graph(body.nodes, "step", [*carried, *infos], ends)
        names = [self.nodes.fresh(f"{s}_end") for s in self.step.states]
        names += [self.nodes.fresh(f"{n}_all") for n in self.step.outputs]
        way = int(self.reverse)
        self.nodes.nodes.append(
            helper.make_node(
                "Scan",
                [*(self.given[s].name for s in self.step.states), *sources],
                names,
                name=self.nodes.fresh("scan"),
                body=graph,
                num_scan_inputs=len(sources),
                scan_input_directions=[way] * len(sources),
                scan_output_directions=[way] * len(outs),
            )
        )
        count = len(self.step.states)
        return names[count:], names[:count]

    def _shape(self, array: Array) -> list[Any]:
        return ["B", *self.lengths_of(array)]

    def lengths_of(self, array: Array) -> list[int]:
        sizes = Sizes(1, 1, self.sizes)
        return [sizes.width(dim) for dim in array.shape]

    def _stopped(self, inside: _Place, array: Array, value: str, alive: str, before: str) -> str:
        """Past a row's length a state stays and an output is zero. A result has a name of its
        own."""
        if not alive:
            return inside.nodes.node("Identity", value)
        axes = [-1 - k for k in range(len(array.shape))]
        flag = inside.nodes.node("Unsqueeze", alive, inside.nodes.integers(*axes))
        other = before or inside.nodes.number(0.0)
        return inside.nodes.node("Where", flag, value, other)


@dataclass(slots=True, eq=False)
class _Place:
    """The graph around a loop, or its body, with the arrays that are known there."""

    loop: Loop
    nodes: Nodes
    known: dict[str, Known]
    moving: set[str]
    outer: _Place | None = None
    scanned: dict[str, tuple[str, str]] = field(default_factory=dict)
    turned: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> Known:
        """An array here; one over time that the body reads is scanned."""
        if name in self.known or self.outer is None:
            return self.known[name]
        found = self.outer.known[name]
        if found.lead != STEPS:
            return found
        own = self.nodes.fresh(f"{name}_now")
        self.scanned[name] = (own, found.name)
        self.known[name] = Known(own, ROWS)
        return self.known[name]

    def equation(self, equation: Any, table: Mapping[str, Array]) -> None:
        out = table[equation.out]
        leads = [self.get(name).lead for name in equation.operands]
        lead = max(leads, default=SHARED)
        if out.per_row and lead == SHARED:
            lead = ROWS
        doc, count = self.loop.docs.get(equation.out, ""), len(self.nodes.nodes)
        if isinstance(equation, Map):
            name = self.map(equation, table, lead, doc)
        elif isinstance(equation, Sum):
            name = self.sum(equation, table)
        else:
            name = self.product(equation, table)
        if len(self.nodes.nodes) > count and name not in self.turned.values():
            name = self.named(name, equation.out)
        self.known[equation.out] = Known(name, lead)

    def named(self, name: str, wanted: str) -> str:
        """The last node's result by the name of the equation."""
        last = self.nodes.nodes[-1]
        if list(last.output) != [name]:
            return name
        last.output[0] = self.nodes.fresh(wanted)
        last.name = f"{last.op_type} {last.output[0]}"
        return str(last.output[0])

    # --- elementwise --------------------------------------------------------------------------

    def map(self, equation: Map, table: Mapping[str, Array], lead: int, doc: str) -> str:
        out = table[equation.out]
        rank = len(out.shape)

        def aligned(name: str) -> str:
            return self.aligned(self.get(name), table[name], equation.place(name), rank)

        value = elementwise(equation.expr, self.nodes, aligned, self.loop.sizes, doc)
        whole = any(
            table[n].shape == out.shape
            and self.get(n).lead == lead
            and equation.place(n) in (None, tuple(range(rank)))
            for n in equation.operands
        )
        return value if whole else self.expanded(value, out, lead)

    def aligned(self, known: Known, array: Array, place: tuple[int, ...] | None, rank: int) -> str:
        if place is None:
            if array.shape != (1,) or rank == 1:
                return known.name
            place = (0,)
        if list(place) != sorted(place):
            return self.turn(known, len(array.shape))
        axes = [k - rank for k in range(rank) if k not in place]
        if not axes:
            return known.name
        return self.nodes.node("Unsqueeze", known.name, self.nodes.integers(*axes))

    def turn(self, known: Known, rank: int) -> str:
        """With the last two axes swapped."""
        if known.name not in self.turned:
            axes = list(range(known.lead + rank))
            axes[-1], axes[-2] = axes[-2], axes[-1]
            self.turned[known.name] = self.nodes.node("Transpose", known.name, perm=axes)
        return self.turned[known.name]

    def expanded(self, value: str, array: Array, lead: int) -> str:
        parts = [self.loop.steps, self.loop.rows][STEPS - lead :] if lead else []
        lengths = self.nodes.integers(*self.loop.lengths_of(array))
        shape = self.nodes.node("Concat", *parts, lengths, axis=0) if parts else lengths
        return self.nodes.node("Expand", value, shape)

    def full(self, name: str, array: Array) -> str:
        """The value with one axis for rows and all of its own."""
        known = self.get(name)
        return known.name if known.lead == ROWS else self.expanded(known.name, array, ROWS)

    # --- sums and products --------------------------------------------------------------------

    def sum(self, equation: Sum, table: Mapping[str, Array]) -> str:
        source, out = table[equation.source], table[equation.out]
        if source.per_row and not out.per_row:
            raise InternalError("a forward pass has no sum over rows")
        value, rank = self.get(equation.source).name, len(source.shape)
        axes = [axis - rank for axis in equation.axes_of(source, out)]
        if equation.over.keeps:
            back = int(equation.over is Over.CUMSUM_BACK)
            axis = self.nodes.constant(np.array(axes[0], np.int64), str(axes[0]))
            return self.nodes.node("CumSum", value, axis, reverse=back)
        operator = "ReduceSum" if equation.over is Over.SUM else "ReduceMax"
        if len(axes) == rank:  # over everything: width 1
            last = self.reduced(operator, value, [max(axes)], keep=1)
            return self.reduced(operator, last, [a for a in axes if a != max(axes)], keep=0)
        return self.reduced(operator, value, axes, keep=0)

    def reduced(self, operator: str, value: str, axes: list[int], keep: int) -> str:
        if not axes:
            return value
        if operator == "ReduceMax" and self.nodes.opset < 18:
            return self.nodes.node(operator, value, axes=axes, keepdims=keep)
        return self.nodes.node(operator, value, self.nodes.integers(*axes), keepdims=keep)

    def product(self, product: Matmul, table: Mapping[str, Array]) -> str:
        left, right = self.get(product.left), self.get(product.right)
        if product.layout is Layout.AXES:
            return self.einsum(product, table, left, right)
        if product.layout is Layout.OUTER:
            raise InternalError("a forward pass has no product over rows")
        matrix = left.name
        if product.layout is Layout.NORMAL:
            place = self if self.outer is None or product.left in self.known else self.outer
            matrix = place.turn(left, 2)  # once, before the loop
        return self.nodes.node("MatMul", right.name, matrix)

    def einsum(self, product: Matmul, table: Mapping[str, Array], left: Known, right: Known) -> str:
        before = {SHARED: "", ROWS: "Z", STEPS: "YZ"}
        lead = before[max(left.lead, right.lead)]
        of_left, of_right, of_out = product.letters()
        names = []
        for known, own in ((left, of_left), (right, of_right)):
            minus = self.nodes.integers(-1)
            names.append(known.name if own else self.nodes.node("Squeeze", known.name, minus))
        text = f"{before[left.lead]}{of_left},{before[right.lead]}{of_right}->{lead}{of_out}"
        found = self.nodes.node("Einsum", *names, equation=text)
        if of_out:
            return found
        return self.nodes.node("Unsqueeze", found, self.nodes.integers(-1))
